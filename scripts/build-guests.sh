#!/usr/bin/env bash
# Builds every guest, and the plugins in Rust, for wasm32-wasip2: into target/guests and target/components.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"

guests=$root/guests
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# A component's digest should not depend on where it was built. (Encoded: the flags are apart by 0x1f, so paths may hold spaces.)
export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=."$'\x1f'"--remap-path-prefix=$cargo_home=cargo"

arguments=(build --release --locked --target "$guest_target" --target-dir "$guests/target")
if rustc_has_target; then
    :
elif debian_is_ready; then
    # Debian ships the standard library as sources: cargo's -Zbuild-std, which asks for RUSTC_BOOTSTRAP.
    PATH=$(linker_path):$PATH
    export PATH RUSTC=$debian_rustc RUSTC_BOOTSTRAP=1
    arguments+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=")
else
    printf 'guests: no %s target: run scripts/setup.sh first\n' "$guest_target" >&2
    exit 1
fi

(cd "$guests" && cargo "${arguments[@]}" "$@" </dev/null)

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
