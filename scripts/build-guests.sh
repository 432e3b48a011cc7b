#!/usr/bin/env bash
# Builds every guest, and the plugins in Rust, for wasm32-wasip2: into target/guests and target/components.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"

guests=$root/guests

if ! use_guest_target; then
    printf 'guests: no %s target: run scripts/setup.sh first\n' "$guest_target" >&2
    exit 1
fi

(cd "$guests" && cargo build "${guest_arguments[@]}" "$@" </dev/null)

# publish FOLDER OUT: copies what was built from the packages in FOLDER to OUT.
publish() {
    local folder=$1 out=$2 manifest name built
    mkdir -p "$out"
    for manifest in "$folder"/*/Cargo.toml; do
        name=$(basename "$(dirname "$manifest")")
        built=$guests/target/$guest_target/release/$name.wasm
        # A library's file has underscores where its package has hyphens.
        [[ -e $built ]] || built=$guests/target/$guest_target/release/${name//-/_}.wasm
        [[ -e $built ]] || continue
        # Replaced in one step and only where it changed, so that a reader never meets half a file.
        if ! cmp -s "$built" "$out/$name.wasm"; then
            cp "$built" "$out/.$name.wasm.$$"
            mv "$out/.$name.wasm.$$" "$out/$name.wasm"
            printf 'guests: %s.wasm %s bytes\n' "$name" "$(wc -c <"$built")"
        fi
    done
}

publish "$guests" "$root/target/guests"
publish "$root/components" "$root/target/components"
