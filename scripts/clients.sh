# What the tests of a protocol need to run its official clients: Node.js, Python, and packages of both. Sourced by setup-mcp.sh and
# setup-a2a.sh, which name the protocol. Safe to run again: what is there already is left alone. Packages go to tests/PROTOCOL/node_modules
# and virtual environments beside it, which git ignores.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"
# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

# setup_clients PROTOCOL NODE ENVIRONMENT=REQUIREMENTS…: what tests/PROTOCOL is installed with, on Node.js of at least this version.
setup_clients() {
    local rig=$root/tests/$1 node=$2 wanted pair
    # Two runs at once would install the same things twice and get in each other's way.
    if command -v flock >/dev/null; then
        mkdir -p "$root/.tools"
        exec 9>"$root/.tools/.lock-$1"
        flock 9
    fi
    setup_node "$node"
    wanted=$(cd "$rig" && cat .npmrc package.json package-lock.json | sha256sum | cut -d' ' -f1)
    install_packages "$rig" "$wanted" "official packages of $1 in JavaScript"
    # What is on PATH for the tests may be older than what these packages need.
    ln -sfn "$(command -v node)" "$rig/node_modules/.bin/node"
    say "official packages of $1 in JavaScript … ok"
    for pair in "${@:3}"; do
        install_requirements "$rig/${pair%%=*}" "$rig/${pair#*=}" "official client of $1 in Python (${pair#*=})"
    done
    say "official clients of $1 in Python … ok"
}
