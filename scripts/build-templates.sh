#!/usr/bin/env bash
# Builds what `hv new` makes projects from into target/templates: build-templates.sh [rust|python|js]…, all of them if none is
# named. What is up to date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/target/templates

say() { printf 'templates: %s\n' "$*"; }

fail() {
    printf 'templates: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"
# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"
# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"

# build NAME INPUT…: makes target/templates/template-NAME.wasm from a project as `hv new` would write it, unless it was made
# from the same template and inputs. What the project is built with is up to build_NAME, which leaves agent.wasm in it.
build() {
    local name=$1 template=$root/templates/$1 project=$out/.$1 component=$out/template-$1.wasm stamp file
    shift
    stamp=$(cd "$root" && find "templates/$name" scripts/build-templates.sh "$@" -type f -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
    [[ -e $component && $(cat "$project/.inputs" 2>/dev/null) == "$stamp" ]] && return
    say "template-$name.wasm … building"
    rm -rf "$project"
    cp -R "$template" "$project"
    while IFS= read -r -d '' file; do
        sed -i "s/{{name}}/template-$name/g" "$file"
    done < <(find "$project" -type f -print0)
    "build_$name" "$project"
    mv "$project/agent.wasm" "$component"
    printf '%s' "$stamp" >"$project/.inputs"
    say "template-$name.wasm $(wc -c <"$component") bytes"
}

build_rust() (
    cd "$1"
    use_guest_target || fail "no $guest_target target: run scripts/setup.sh first"
    cargo build --quiet "${guest_arguments[@]}" </dev/null
    cp "$root/guests/target/$guest_target/release/agent.wasm" .
)

build_python() (
    cd "$1"
    grep -qxF "$(grep '^componentize-py==' requirements.txt) \\" "$venv_requirements" ||
        fail "templates/python/requirements.txt and components/policy-python/requirements.txt name different versions"
    setup_venv
    cp -R "$root/wit/deps" wit/deps
    ln -s "$venv" .venv
    sh build.sh </dev/null >/dev/null
)

build_js() (
    cd "$1"
    setup_node 20.19
    local packages=$root/.tools/template-js
    mkdir -p "$packages"
    cp package.json "$packages"
    install_packages "$packages" "$(sha256sum <package.json | cut -d' ' -f1)" 'packages for JavaScript'
    ln -s "$packages/node_modules" node_modules
    npm run --silent build </dev/null >/dev/null
)

(($#)) || set -- rust python js
mkdir -p "$out" "$root/.tools"
# Two builds at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/.tools/.lock-templates"
    flock 9
fi
for name; do
    case $name in
        rust) build rust scripts/toolchain.sh ;;
        python) build python scripts/python.sh wit/deps components/policy-python/requirements.txt ;;
        js) build js scripts/node.sh ;;
        *) fail "unknown template \`$name\`: rust, python or js" ;;
    esac
done
