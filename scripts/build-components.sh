#!/usr/bin/env bash
# Builds the plugins into target/components: those in Rust with the guests' toolchain, QuickJS' C with zig's compiler, the one in Python
# with componentize-py.
# What is up to date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/target/components
plugin=$root/components/policy-python
work=$out/.policy-python
component=$out/policy-python.wasm

say() { printf 'components: %s\n' "$*"; }

fail() {
    printf 'components: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

# A digest over all that the Python plugin is made from: paths and contents.
inputs() {
    (cd "$root" && find components/policy-python/{src,wit,requirements.txt} components/runtime-javascript/requirements.txt wit scripts/{build-components,python}.sh scripts/reproducible.c \
        -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

policy_python() {
    local stamp
    stamp=$(inputs)
    if [[ -e $component && $(cat "$work/inputs" 2>/dev/null) == "$stamp" ]]; then
        return
    fi
    say "policy-python.wasm … building, half a minute"
    rm -rf "$work"
    # A copy, because the interpreter leaves __pycache__ behind, and an empty site-packages, because componentize-py would
    # otherwise put that of whatever python3 is on PATH into reach of the snapshot.
    mkdir -p "$work/lib/site-packages"
    cp -R "$plugin/src" "$work/src"
    find "$work/src" -name __pycache__ -prune -exec rm -rf {} +
    cp -R "$("$venv/bin/python" -c 'import os, tzdata; print(os.path.dirname(tzdata.__file__))')" "$work/src/tzdata"
    find "$work/src/tzdata" -name __pycache__ -prune -exec rm -rf {} +
    # What clock, chance and file system say while it runs stays in the snapshot.
    local preload=()
    if [[ $(uname -sm) == "Linux x86_64" ]]; then
        "$venv/bin/python" -m ziglang cc -target x86_64-linux-gnu.2.28 -shared -fPIC -O1 -Wall -Wextra -Werror \
            -o "$work/reproducible.so" "$root/scripts/reproducible.c"
        preload=("LD_PRELOAD=$work/reproducible.so")
    else
        say "policy-python.wasm will be other bytes than elsewhere: only Linux on x86-64 makes the same"
    fi
    (cd / && env -i PATH="$PATH" HOME="$HOME" VIRTUAL_ENV="$work" "${preload[@]}" "$venv/bin/componentize-py" --quiet \
        --wit-path "$root/wit" --wit-path "$plugin/wit" --world hypervisor:policy-python/policy-python \
        componentize _engine --python-path "$work/src" --output "$work/component.wasm" </dev/null)
    mv "$work/component.wasm" "$component"
    rm -rf "${work:?}/src" "${work:?}/lib"
    printf '%s' "$stamp" >"$work/inputs"
    say "policy-python.wasm $(wc -c <"$component") bytes"
}

mkdir -p "$out" "$root/.tools"
# Two builds at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/.tools/.lock-components"
    flock 9
fi
setup_venv
# Asked for by the build script of rquickjs-sys, which would download a compiler else.
export RQUICKJS_SYS_NO_WASI_SDK=1
export CC_wasm32_wasip2=$root/scripts/wasm-cc.sh AR_wasm32_wasip2=$root/scripts/wasm-ar.sh
"$root/scripts/build-guests.sh" components --workspace
policy_python
