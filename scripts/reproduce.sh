#!/usr/bin/env bash
# Builds the host of the commit that is checked out in two folders, from nothing, and compares: the same bytes, or a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-reproduce.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
    printf 'reproduce: what is not committed is not in it\n'
fi
digests=()
for folder in "$work/one" "$work/another/folder/of-another-length"; do
    mkdir -p "$folder"
    git -C "$root" archive HEAD | tar -x -C "$folder"
    (unset CARGO_TARGET_DIR && "$folder/scripts/build-release.sh" host)
    digests+=("$(sha256sum <"$folder/target/release/hypervisor" | cut -d' ' -f1)")
    if grep -qaF "$work" "$folder/target/release/hypervisor"; then
        printf 'reproduce: the binary has paths of its folder:\n' >&2
        grep -aoE "$work[[:graph:]]{0,80}" "$folder/target/release/hypervisor" | sort -u | head >&2
    fi
    cp "$folder/target/release/hypervisor" "$work/hypervisor-${#digests[@]}"
    rm -rf "$folder/target"
done
printf 'reproduce: %s\n' "${digests[@]}"
if [[ ${digests[0]} != "${digests[1]}" ]]; then
    printf 'reproduce: the two differ\n' >&2
    exit 1
fi
printf 'reproduce: the same\n'
