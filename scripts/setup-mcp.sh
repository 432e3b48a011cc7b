#!/usr/bin/env bash
# Makes this machine ready for the tests of MCP: Node.js, Python, and the official clients of both. Safe to run again: what is there already
# is left alone. Packages go to tests/mcp/node_modules and virtual environments beside it, which git ignores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/mcp

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
    exec 9>"$root/.tools/.lock-mcp"
    flock 9
fi
setup_node 20
wanted=$(cd "$rig" && cat .npmrc package.json package-lock.json | sha256sum | cut -d' ' -f1)
install_packages "$rig" "$wanted" 'official MCP client'
say 'official MCP client in JavaScript … ok'
install_requirements "$rig/.venv" "$rig/requirements.txt" 'official MCP client in Python'
install_requirements "$rig/.venv-1" "$rig/requirements-1.txt" 'official MCP client in Python, version 1'
say 'official MCP clients in Python … ok'
