#!/usr/bin/env bash
# Builds the plugins into target/components: those in Rust with the guests' toolchain, the one in Python with componentize-py.
# What is up to date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/target/components
plugin=$root/components/policy-python
venv=$root/.tools/venv
work=$out/.policy-python
component=$out/policy-python.wasm

say() { printf 'components: %s\n' "$*"; }

fail() {
    printf 'components: %s\n' "$*" >&2
    exit 1
}

# A digest over all that the Python plugin is made from: paths and contents.
inputs() {
    (cd "$root" && find components/policy-python/{src,wit,requirements.txt} wit scripts/build-components.sh \
        -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

install_python() {
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        fail "no python3 with its venv module: install it (on Debian \`apt-get install python3-venv\`) and run this again"
    fi
    say "installing Debian's python3-venv"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
    apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends python3-venv </dev/null >/dev/null
}

# A virtual environment of the project's own that holds what requirements.txt names, by digest, and nothing else.
environment() {
    local wanted
    wanted=$(sha256sum <"$plugin/requirements.txt")
    [[ -x $venv/bin/componentize-py && $(cat "$venv/.requirements" 2>/dev/null) == "$wanted" ]] && return
    say "installing componentize-py into .tools/venv"
    rm -rf "$venv"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_python
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --require-hashes --requirement "$plugin/requirements.txt" </dev/null
    printf '%s' "$wanted" >"$venv/.requirements"
}

policy_python() {
    local stamp
    stamp=$(inputs)
    if [[ -e $component && $(cat "$work/inputs" 2>/dev/null) == "$stamp" ]]; then
        return
    fi
    environment
    say "policy-python.wasm … building, half a minute"
    rm -rf "$work"
    # A copy, because the interpreter leaves __pycache__ behind, and an empty site-packages, because componentize-py would
    # otherwise put that of whatever python3 is on PATH into reach of the snapshot.
    mkdir -p "$work/lib/site-packages"
    cp -R "$plugin/src" "$work/src"
    find "$work/src" -name __pycache__ -prune -exec rm -rf {} +
    cp -R "$("$venv/bin/python" -c 'import os, tzdata; print(os.path.dirname(tzdata.__file__))')" "$work/src/tzdata"
    find "$work/src/tzdata" -name __pycache__ -prune -exec rm -rf {} +
    VIRTUAL_ENV=$work "$venv/bin/componentize-py" --quiet \
        --wit-path "$root/wit" --wit-path "$plugin/wit" --world hypervisor:policy-python/policy-python \
        componentize _engine --python-path "$work/src" --output "$work/component.wasm" </dev/null
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
"$root/scripts/build-guests.sh" --package policy-rust --package payments --package payments-voucher
policy_python
