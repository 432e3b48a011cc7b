#!/usr/bin/env bash
# zig's archiver, as the build scripts of Rust's crates call one.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ZIG_GLOBAL_CACHE_DIR=$root/.tools/zig ZIG_LOCAL_CACHE_DIR=$root/.tools/zig
exec "$root/.tools/venv/bin/python" -m ziglang ar "$@"
