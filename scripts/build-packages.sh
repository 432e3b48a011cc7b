#!/usr/bin/env bash
# Builds what authors of components take from registries: build-packages.sh WIT-PACKAGE [DIR], with the program of that name, into
# target/packages or another folder. The same bytes from two runs. What is up to date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'packages: %s\n' "$*"; }

fail() {
    printf 'packages: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"
# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"

(($# == 1 || $# == 2)) || fail 'build-packages.sh WIT-PACKAGE [DIR]'
wit_package=$(realpath "$1")
out=$(realpath -m "${2:-$root/target/packages}")
stage=$out/.stage

# A digest over all that the packages are made from.
inputs() {
    (cd "$root" && find packages wit LICENSE-* tests/src/bin/wit-package.rs scripts/build-packages.sh scripts/packages.py scripts/{python,node}.sh \
        templates/js/package.json components/policy-python/requirements.txt -type f -not -name '*.pyc' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

mkdir -p "$out" "$root/.tools"
# Two builds at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/.tools/.lock-packages"
    flock 9
fi
stamp=$(inputs)
[[ $(cat "$out/.inputs" 2>/dev/null) == "$stamp" ]] && exit
rm -rf "${out:?}"/* "$out/.inputs" "$stage"
setup_venv
setup_template_packages
# Of today's files, none of which says when it was written.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800}

# The definitions, as `hv wit` writes them.
mkdir -p "$stage/wit"
cp "$root"/wit/*.wit "$stage/wit"
cp -R "$root/wit/deps" "$stage/wit/deps"

say 'types for Python and JavaScript'
while read -r world; do
    "$venv/bin/componentize-py" --quiet --wit-path "$stage/wit" --world "$world" bindings "$stage/python/$world" </dev/null
    "$template_packages/node_modules/.bin/jco" guest-types "$stage/wit" --world-name "$world" \
        --name "$world" --quiet --out-dir "$stage/js" </dev/null
done < <(sed -n 's/^world \(.*\) {$/\1/p' "$root"/wit/*.wit)

say 'hypervisor-plugin for crates.io'
mkdir "$stage/rust"
cp -R "$root"/packages/rust/* "$root"/LICENSE-* "$stage/wit" "$stage/rust"
(cd "$stage/rust" && cargo package --quiet --no-verify --exclude-lockfile --allow-dirty --target-dir "$stage/cargo" </dev/null)
cp "$stage"/cargo/package/*.crate "$out"

say 'hypervisor-plugin for PyPI, npm and registries of OCI'
"$wit_package" "$stage/wit" "$stage/package.wasm" >"$stage/names"
"$venv/bin/python" "$root/scripts/packages.py" "$root" "$stage" "$out"
rm -rf "$stage"
printf '%s' "$stamp" >"$out/.inputs"
(cd "$out" && sha256sum hypervisor* oci/index.json)
