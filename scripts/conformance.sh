#!/usr/bin/env bash
# Runs test262 inside the JavaScript component and in the same engine by itself, and fails where the component does worse.
# `conformance.sh record` writes what the engine by itself says of the programs in tests/vectors/javascript.
#
# CONFORMANCE_ONLY  the beginning of the names of the programs to run, such as language/module-code
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
sample=$root/tests/vectors/javascript

# The engine for this machine, a workspace of its own.
cargo build --release --locked --manifest-path "$root/tests/native/Cargo.toml" --target-dir "$target/conformance"
engine=$target/conformance/release/quickjs-native
export HYPERVISOR_TEST_BIN=$target/debug/hypervisor

if [[ ${1:-} == record ]]; then
    "$target/debug/conformance" --record "$sample" "$engine" "$root/tests/native/Cargo.toml" "$sample/native.txt"
    exit
fi
"$root/scripts/setup-conformance.sh"
exec "$target/debug/conformance" "$root/.tools/test262" "$engine" "$sample/differences.txt" "$target/conformance/results" \
    ${CONFORMANCE_ONLY:+"$CONFORMANCE_ONLY"}
