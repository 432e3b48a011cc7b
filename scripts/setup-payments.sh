#!/usr/bin/env bash
# Makes this machine ready for the payment tests: Node.js, a development chain, real USDC, the official x402 facilitator
# and clients. Safe to run again: what is there already is left alone. Packages go to tests/payments/node_modules, which
# git ignores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/payments
# The packages run on 18. Debian's npm for 18 cannot read the lock file, though, and with 20 there is a newer one.
node_minimum=20

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"

# What node_modules is installed from.
wanted() {
    (cd "$rig" && cat .npmrc package.json package-lock.json no-wagmi/package.json nothing/package.json | sha256sum | cut -d' ' -f1)
}

# Two runs at once would install the same things twice and get in each other's way.
if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-payments"
    flock 9
fi
setup_node "$node_minimum"
say "Node.js … ok ($(node --version))"
install_packages "$rig" "$(wanted)" 'payment test packages'
node "$rig/permit2.mjs"
# Each script with what it imports in one file: Node.js takes a third of the time to start it, and tests start hundreds.
bundler=$rig/node_modules/@esbuild/linux-x64/bin/esbuild
if [[ -x $bundler ]]; then
    (cd "$rig" && "$bundler" chain.mjs facilitator.mjs solana.mjs client.mjs client-v1.mjs client-solana.mjs extensions.mjs payload.mjs \
        --bundle --platform=node --format=esm --outdir=. --out-extension:.js=.bundled.mjs --log-level=warning \
        --banner:js="import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);")
fi
say 'payment test packages … ok'
