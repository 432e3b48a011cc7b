#!/usr/bin/env bash
# Builds a workspace of Rust for wasm32-wasip2 and copies its components to the folder of that name in target:
# build-guests.sh [guests|components] [ARGUMENT of cargo build]…
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"

workspace=${1:-guests}
shift || true

if ! use_guest_target; then
    printf 'guests: no %s target: run scripts/setup.sh first\n' "$guest_target" >&2
    exit 1
fi

(cd "$root/$workspace" && cargo build "${guest_arguments[@]}" "$@" </dev/null)

out=$root/target/$workspace
mkdir -p "$out"
for manifest in "$root/$workspace"/*/Cargo.toml; do
    name=$(basename "$(dirname "$manifest")")
    built=$root/guests/target/$guest_target/release/$name.wasm
    # A library's file has underscores where its package has hyphens.
    [[ -e $built ]] || built=$root/guests/target/$guest_target/release/${name//-/_}.wasm
    [[ -e $built ]] || continue
    # Replaced in one step and only where it changed, so that a reader never meets half a file.
    if ! cmp -s "$built" "$out/$name.wasm"; then
        cp "$built" "$out/.$name.wasm.$$"
        mv "$out/.$name.wasm.$$" "$out/$name.wasm"
        printf 'guests: %s.wasm %s bytes\n' "$name" "$(wc -c <"$built")"
    fi
done
