#!/usr/bin/env bash
# Installs what starts a guest image on this machine: QEMU, firmware, a TPM in software. Nothing else of the project needs it.
set -euo pipefail

wanted=(qemu-system-x86 ovmf swtpm)
missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    printf 'setup: %s … ok\n' "${wanted[*]}"
    exit 0
fi
if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    printf 'setup: install %s, or, on Debian, run this script as root\n' "${missing[*]}" >&2
    exit 1
fi
printf 'setup: installing %s\n' "${missing[*]}"
apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null
