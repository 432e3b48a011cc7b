#!/usr/bin/env bash
# Builds the host, the guests and the plugins of the commit that is checked out in two folders, from nothing, and compares: the same
# bytes, or a failure. `reproduce.sh components` leaves the host out.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-reproduce.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
    printf 'reproduce: what is not committed is not in it\n'
fi
what=${1:-all}
count=0
for folder in "$work/one" "$work/another/folder/of-another-length"; do
    count=$((count + 1))
    mkdir -p "$folder" "$work/$count"
    git -C "$root" archive HEAD | tar -x -C "$folder"
    # The toolchain is the same: what is compared is what it makes.
    ln -s "$root/.tools" "$folder/.tools"
    if [[ $what == all ]]; then
        (unset CARGO_TARGET_DIR && "$folder/scripts/build-release.sh" host)
        cp "$folder/target/release/hypervisor" "$work/$count"
    fi
    (unset CARGO_TARGET_DIR && "$folder/scripts/build-guests.sh" && "$folder/scripts/build-components.sh") >/dev/null
    cp "$folder"/target/{guests,components}/*.wasm "$work/$count"
    for file in "$work/$count"/*; do
        if grep -qaF "$work" "$file"; then
            printf 'reproduce: %s has paths of its folder:\n' "$(basename "$file")" >&2
            grep -aoE "$work[[:graph:]]{0,80}" "$file" | sort -u | head >&2
        fi
    done
    rm -rf "$folder"
done
(cd "$work/1" && sha256sum -- *)
if ! diff <(cd "$work/1" && sha256sum -- *) <(cd "$work/2" && sha256sum -- *) >"$work/differ"; then
    printf 'reproduce: these differ:\n' >&2
    sed -n 's/^[<>] //p' "$work/differ" >&2
    exit 1
fi
printf 'reproduce: the same\n'
