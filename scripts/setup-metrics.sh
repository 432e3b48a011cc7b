#!/usr/bin/env bash
# Makes this machine ready for the tests of metrics: the parsers of metrics, of PromQL and of YAML, from PyPI by digest, in a virtual
# environment that git ignores. Safe to run again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/metrics

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-metrics"
    flock 9
fi
install_requirements "$rig/.venv" "$rig/requirements.txt" 'parsers of metrics and PromQL'
say 'parsers of metrics and PromQL … ok'
