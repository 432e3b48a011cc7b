#!/usr/bin/env bash
# What has to hold before a change is merged, apart from the tests: format, sizes, lints, documentation, dependencies.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf 'check: %s\n' "$*"
    "$@" </dev/null
}

case ${CHECK_ADVISORIES:-} in
    '' | require) ;;
    *)
        printf 'check: CHECK_ADVISORIES is `require` or nothing\n' >&2
        exit 2
        ;;
esac

step cargo fmt --all --check
step cargo fmt --manifest-path guests/Cargo.toml --all --check
step cargo fmt --manifest-path components/Cargo.toml --all --check
step cargo fmt --manifest-path fuzz/Cargo.toml --check
step cargo fmt --manifest-path image/init/Cargo.toml --check
step cargo fmt --manifest-path tests/native/Cargo.toml --check
step rustfmt --check --edition 2024 packages/rust/src/lib.rs
step scripts/budgets.sh
step scripts/trusted.sh

workspaces=({,guests/,components/,fuzz/,image/init/,tests/native/}Cargo.toml)

scripts/setup.sh check
deny=.tools/bin/cargo-deny

if [[ ${RUSTC_WORKSPACE_WRAPPER:-} == clippy-driver ]]; then
    # Lints while it builds what the tests are going to need: see .ci/run.
    step cargo build --workspace --all-targets --locked
    # Rustdoc takes one crate after the other on one core. What follows has others.
    documented=target/check-doc.log
    printf 'check: cargo test --workspace --doc --locked, beside the next\n'
    HYPERVISOR_DOC=$PWD/target/doc RUSTDOC=$PWD/scripts/rustdoc-lint.sh cargo test --workspace --doc --locked </dev/null >"$documented" 2>&1 &
    documenting=$!
    trap 'kill "$documenting" 2>/dev/null || true' EXIT
else
    step cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --locked
fi
for manifest in guests/Cargo.toml components/Cargo.toml; do
    step cargo clippy --manifest-path "$manifest" --target-dir guests/target --workspace --all-targets --locked -- -D warnings
done

# The first process of the guest image: a workspace of its own.
step cargo clippy --manifest-path image/init/Cargo.toml --target-dir target/image/check --all-targets --locked -- -D warnings

for manifest in "${workspaces[@]}"; do
    step "$deny" --config deny.toml --locked --manifest-path "$manifest" check bans licenses sources
done

if [[ -n ${documenting:-} ]]; then
    wait "$documenting" || {
        cat "$documented"
        exit 1
    }
    trap - EXIT
fi

# The advisory database comes over the network. Without it the other checks still count, and the last line says what is missing; with
# CHECK_ADVISORIES=require, which a machine sets that reaches the database, nothing passes without it.
mkdir -p target
rm -f target/check-skipped
if timeout 120 "$deny" --config deny.toml fetch db </dev/null >/dev/null 2>&1; then
    for manifest in "${workspaces[@]}"; do
        step "$deny" --config deny.toml --locked --manifest-path "$manifest" check advisories
    done
    printf 'check: passed\n'
elif [[ ${CHECK_ADVISORIES:-} == require ]]; then
    printf 'check: the advisory database cannot be fetched, and CHECK_ADVISORIES says that it has to be\n' >&2
    exit 1
else
    printf 'ADVISORIES SKIPPED: the advisory database cannot be fetched from here' >target/check-skipped
    printf 'check: passed, but %s\n' "$(cat target/check-skipped)"
fi
