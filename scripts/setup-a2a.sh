#!/usr/bin/env bash
# Makes this machine ready for the tests of A2A: Node.js, Python, and the official clients of both. Safe to run again: what is there already
# is left alone. Packages go to tests/a2a/node_modules and virtual environments beside it, which git ignores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/a2a

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"
# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

# Two runs at once would install the same things twice and get in each other's way.
if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-a2a"
    flock 9
fi
setup_node 20
wanted=$(cd "$rig" && cat .npmrc package.json package-lock.json | sha256sum | cut -d' ' -f1)
install_packages "$rig" "$wanted" 'official A2A client'
say 'official A2A client in JavaScript … ok'
install_requirements "$rig/.venv" "$rig/requirements.txt" 'official A2A client in Python'
install_requirements "$rig/.venv-0.3" "$rig/requirements-0.3.txt" 'official client of A2A 0.3'
say 'official A2A clients in Python … ok'
