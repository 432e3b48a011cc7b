#!/usr/bin/env bash
# Builds what ships into target/release: the host alone, then the operator's and the client's programs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/release.sh
source scripts/release.sh
use_release_flags "$PWD"

cargo build --release --locked --package hypervisor "${host_features[@]}" </dev/null
if [[ ${1:-} != host ]]; then
    cargo build --release --locked --package hypervisor-ctl "${host_features[@]}" </dev/null
    cargo build --release --locked --package hypervisor-client </dev/null
fi
(cd "${CARGO_TARGET_DIR:-target}/release" && sha256sum $(for name in hypervisor hypervisor-ctl hv; do [[ -e $name ]] && echo $name; done))
