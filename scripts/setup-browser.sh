#!/usr/bin/env bash
# Installs the browser that tests look at the operator's page with: Debian's Chromium without a window. Nothing else of the project needs
# it. Safe to run again.
set -euo pipefail

package=chromium-headless-shell
if command -v "$package" >/dev/null; then
    printf 'setup: %s … ok\n' "$package"
    exit 0
fi
if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    printf 'setup: install %s, or, on Debian, run this script as root\n' "$package" >&2
    exit 1
fi
printf 'setup: installing %s, 100 MB\n' "$package"
apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends "$package" fonts-dejavu-core </dev/null >/dev/null
command -v "$package" >/dev/null || {
    printf 'setup: %s is installed and not there\n' "$package" >&2
    exit 1
}
