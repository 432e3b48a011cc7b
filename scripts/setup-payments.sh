#!/usr/bin/env bash
# Makes this machine ready for the payment tests: Node.js, a development chain, real USDC, the official x402 facilitator
# and clients. Safe to run again: what is there already is left alone. Packages go to tests/payments/node_modules, which
# git ignores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/payments
node_minimum=18

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

has_node() {
    local major
    command -v npm >/dev/null && command -v node >/dev/null || return 1
    major=$(node --print 'process.versions.node.split(".")[0]')
    ((major >= node_minimum))
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq "$@" </dev/null >/dev/null
}

setup_node() {
    if has_node; then
        say "Node.js … ok ($(node --version))"
        return
    fi
    if command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]]; then
        say "Node.js … installing Debian's nodejs and npm"
        apt update || say "Debian package lists … could not be fetched, going on with those that are here"
        apt install --yes --no-install-recommends nodejs npm || true
    fi
    has_node || fail "no Node.js $node_minimum or newer with npm: install it, or, on Debian, run this script as root"
}

# What node_modules was installed from.
wanted() {
    (cd "$rig" && cat .npmrc package.json package-lock.json no-wagmi/package.json | sha256sum | cut -d' ' -f1)
}

setup_packages() {
    local stamp=$rig/node_modules/.installed-from
    if [[ -f $stamp && $(<"$stamp") == "$(wanted)" ]]; then
        say "payment test packages … ok"
        return
    fi
    say "payment test packages … installing"
    (cd "$rig" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >/dev/null)
    wanted >"$stamp"
    say "payment test packages … installed"
}

# Two runs at once would install the same things twice and get in each other's way.
if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-payments"
    flock 9
fi
setup_node
setup_packages
