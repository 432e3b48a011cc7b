#!/usr/bin/env bash
# Compiles the Python plugin ahead of time, once: compile-components.sh HYPERVISOR. Beside the component it leaves the
# machine code and, in policy-python.toml, the lines that a configuration needs to use both.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
hypervisor=$1
component=$root/target/components/policy-python
# What the code depends on, apart from the component: the engine's version and its settings.
stamp=$(cat "$component.wasm" "$root/Cargo.lock" "$root/host/src/executor/engine.rs" "$root/host/src/executor/native.rs" | sha256sum)
if [[ -e $component.cwasm && $(cat "$component.stamp" 2>/dev/null) == "$stamp" ]]; then
    exit 0
fi
printf 'components: policy-python.cwasm … compiling, some seconds\n'
"$hypervisor" compile "$component.wasm" --to "$component.cwasm" >"$component.toml" </dev/null
printf '%s' "$stamp" >"$component.stamp"
