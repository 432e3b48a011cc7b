# How what ships is built. Sourced by build-release.sh, reproduce.sh and trusted.sh.
# shellcheck shell=bash disable=SC2034

# The host is built alone and its features are named, so that nothing that happens to be built beside it adds to what it is.
# Without `simulated`: what ships makes no evidence that proves nothing.
# FEATURES=peers: with the verifier, for fleets whose hosts give each other the key (docs/FLEET.md).
host_features=(--no-default-features ${FEATURES:+--features "$FEATURES"})

# The same bytes from any folder: no path of this machine goes into a binary. ROOT is the project's directory.
use_release_flags() {
    local root=$1 cargo_home sysroot commit target prefix separator=$'\x1f'
    cargo_home=$(realpath -m "${CARGO_HOME:-$HOME/.cargo}")
    sysroot=$(rustc --print sysroot)
    commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
    target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
    local flags= cflags=
    # The last one that matches counts.
    for prefix in "$root=." "$target=target" "$cargo_home=cargo" "$sysroot/lib/rustlib/src/rust=/rustc/$commit"; do
        flags+=${flags:+$separator}--remap-path-prefix=$prefix
        cflags+=" -ffile-prefix-map=$prefix"
    done
    unset RUSTFLAGS
    # Encoded: the flags are apart by 0x1f, so paths may hold spaces.
    export CARGO_ENCODED_RUSTFLAGS=$flags CARGO_INCREMENTAL=0
    export CFLAGS="${CFLAGS:-}$cflags"
}
