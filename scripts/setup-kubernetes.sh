#!/usr/bin/env bash
# Makes this machine ready for the tests of what is in deploy/: the schemas of Kubernetes and the Compose Specification, from PyPI by
# digest, in a virtual environment that git ignores. Safe to run again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/kubernetes

say() { printf 'setup: %s\n' "$*"; }

# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-kubernetes"
    flock 9
fi
install_requirements "$rig/.venv" "$rig/requirements.txt" 'schemas of Kubernetes'
say 'schemas of Kubernetes … ok'
