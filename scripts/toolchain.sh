# Which toolchain builds guests for wasm32-wasip2. Sourced by setup.sh, build-guests.sh and build-templates.sh.
# The sourcing script sets root, the project's directory.
# shellcheck shell=bash disable=SC2034,SC2154

guest_target=wasm32-wasip2
tools=$root/.tools

# Where Debian's packages rustc-web, rust-web-src, lld-19 and wasi-libc put their files.
debian_rustc=/usr/bin/rustc
debian_std=/usr/lib/rustlib/src/rust/library/std/Cargo.toml
debian_wasm_ld=/usr/bin/wasm-ld-19
debian_libc=/usr/lib/wasm32-wasi
debian_startup=/usr/lib/rustlib/$guest_target/lib/self-contained
startup_objects=(crt1-command.o crt1-reactor.o libc.a)

# The rustc on PATH carries the target's standard library: `rustup target add` was run, or the distribution has it.
rustc_has_target() {
    compgen -G "$(rustc --print sysroot)/lib/rustlib/$guest_target/lib/libstd-*.rlib" >/dev/null
}

# The oldest rustc that builds the guests and what they depend on: `rust-version` in guests/Cargo.toml.
guest_rustc_minimum=1.95

# is_at_least VERSION MINIMUM
is_at_least() {
    [[ $(printf '%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]
}

# Debian's rustc knows the target but has no standard library for it; cargo builds that from the packaged sources.
# Debian's first release of rustc-web is too old, its security updates are not.
debian_has_packages() {
    [[ -x $debian_rustc && -e $debian_std && -x $debian_wasm_ld && -e $debian_libc/libc.a ]] &&
        is_at_least "$("$debian_rustc" --version | cut -d' ' -f2)" "$guest_rustc_minimum" &&
        "$debian_rustc" --print target-list | grep -qx "$guest_target"
}

# The linker driver wasm-component-ld and the wasm-ld it calls: rustup's toolchains carry both, .tools has them elsewhere.
linker_path() {
    local bin
    bin=$(rustc --print sysroot)/lib/rustlib/$(rustc --print host-tuple)/bin
    if [[ -x $bin/wasm-component-ld && -x $bin/gcc-ld/wasm-ld ]]; then
        printf '%s:%s' "$bin" "$bin/gcc-ld"
    elif [[ -x $tools/bin/wasm-component-ld && -x $tools/bin/wasm-ld ]]; then
        printf '%s' "$tools/bin"
    else
        return 1
    fi
}

debian_is_ready() {
    debian_has_packages && linker_path >/dev/null || return 1
    local object
    for object in "${startup_objects[@]}"; do
        [[ -e $debian_startup/$object ]] || return 1
    done
}

# Makes cargo build for the target: sets the environment, and guest_arguments for `cargo build`.
use_guest_target() {
    local cargo_home=${CARGO_HOME:-$HOME/.cargo}
    # A wrapper belongs to the toolchain that builds the host.
    unset RUSTC_WORKSPACE_WRAPPER
    # A component's digest should not depend on where it was built. (Encoded: the flags are apart by 0x1f, so paths may
    # hold spaces.)
    export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=."$'\x1f'"--remap-path-prefix=$cargo_home=cargo"
    guest_arguments=(--release --locked --target "$guest_target" --target-dir "$root/guests/target")
    rustc_has_target && return
    debian_is_ready || return 1
    # Debian ships the standard library as sources: cargo's -Zbuild-std, which asks for RUSTC_BOOTSTRAP.
    PATH=$(linker_path):$PATH
    export PATH RUSTC=$debian_rustc RUSTC_BOOTSTRAP=1
    guest_arguments+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=")
}
