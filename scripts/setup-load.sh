#!/usr/bin/env bash
# Installs what moves a host's clock in `make chaos`: Debian's libfaketime. Without it that scenario is left out, and says so.
set -euo pipefail

say() { printf 'load: %s\n' "$*"; }

if [[ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 ]]; then
    say "libfaketime … ok"
elif command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]]; then
    say "installing Debian's libfaketime"
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends libfaketime </dev/null >/dev/null
else
    say "no libfaketime: on Debian, \`apt-get install libfaketime\`"
fi
