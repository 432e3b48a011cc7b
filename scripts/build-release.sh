#!/usr/bin/env bash
# Builds what ships into target/release: the host alone, then the operator's and the client's programs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/release.sh
source scripts/release.sh
use_release_flags "$PWD"
scripts/setup.sh release

# Each binary carries the list of the crates that it is made of, in its section .dep-v0.
build() {
    PATH=$PWD/.tools/bin:$PATH cargo auditable build --release --locked "$@" </dev/null
}

build --package hypervisor "${host_features[@]}"
if [[ ${1:-} != host ]]; then
    build --package hypervisor-ctl "${host_features[@]}"
    build --package hypervisor-client
fi
(cd "${CARGO_TARGET_DIR:-target}/release" && sha256sum $(for name in hypervisor hypervisor-ctl hv; do [[ -e $name ]] && echo $name; done))
