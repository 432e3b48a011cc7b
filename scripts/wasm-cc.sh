#!/usr/bin/env bash
# zig's C compiler for wasm32-wasi, from .tools/venv, as the build scripts of Rust's crates call one.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where it keeps what it compiled: the C library among it.
export ZIG_GLOBAL_CACHE_DIR=$root/.tools/zig ZIG_LOCAL_CACHE_DIR=$root/.tools/zig
arguments=(-target wasm32-wasi "-ffile-prefix-map=$root=." "-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=cargo")
for argument in "$@"; do
    # Rust's name of the target, which is none of clang's.
    [[ $argument == --target=* ]] || arguments+=("$argument")
done
exec "$root/.tools/venv/bin/python" -m ziglang cc "${arguments[@]}"
