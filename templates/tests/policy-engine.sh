#!/bin/sh
# Loads policy.wasm with its rules as a host does, and asks it. `hv build` comes first; `hypervisor-ctl` is on PATH.
set -eu
cd "$(dirname "$0")"

hypervisor-ctl check --config hypervisor.toml >/dev/null
# A program of zeros is on no list.
if answer=$(hypervisor-ctl policy ask --config hypervisor.toml --kind execute-wasm); then
    echo "not what was expected: $answer" >&2 && exit 1
fi
case $answer in
    *'is not on the list'*) echo "ok: $answer" ;;
    *) echo "not what was expected: $answer" >&2 && exit 1 ;;
esac
