#!/usr/bin/env bash
# Compiles the plugins that tests and demo load ahead of time, once: compile-components.sh HYPERVISOR-CTL. Beside each component it
# leaves the machine code and, in NAME.toml, the lines that a configuration needs to use both.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ctl=$1

# compile NAME
compile() {
    local component=$root/target/components/$1 stamp
    # What the code depends on, apart from the component: the engine's version, its settings, and what instruments the component.
    stamp=$({ cat "$component.wasm" "$root/Cargo.lock" && find "$root"/host/src "$root"/crates/*/src \
        \( -name engine.rs -o -name native.rs -o -path '*/instrument/*.rs' \) -exec sha256sum {} +; } | sha256sum)
    if [[ -e $component.cwasm && $(cat "$component.stamp" 2>/dev/null) == "$stamp" ]]; then
        return
    fi
    printf 'components: %s.cwasm … compiling\n' "$1"
    "$ctl" compile "$component.wasm" --to "$component.cwasm" >"$component.toml" </dev/null
    printf '%s' "$stamp" >"$component.stamp"
}

compile policy-python
compile runtime-javascript
compile payments
compile mcp
compile a2a
