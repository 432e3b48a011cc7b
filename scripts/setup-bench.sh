#!/usr/bin/env bash
# Sets up what `make bench` compares with: the load generator wrk, wasmtime's own server, and a package for Python. None is needed by anything else.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=48.0.8

say() { printf 'bench: %s\n' "$*"; }

if ! command -v wrk >/dev/null; then
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        printf 'bench: no wrk: install it (on Debian `apt-get install wrk`) and run this again\n' >&2
        exit 1
    fi
    say "installing Debian's wrk"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
    apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends wrk </dev/null >/dev/null
fi

if [[ $("$root/.tools/bin/wasmtime" --version 2>/dev/null) != "wasmtime $version"* ]]; then
    say "building wasmtime $version, ten minutes"
    cargo install --quiet --root "$root/.tools" --version "$version" --locked --no-default-features \
        --features run,serve,cranelift,pooling-allocator,parallel-compilation,component-model,component-model-async,cache,addr2line,demangle,wat,threads,gc,gc-drc \
        wasmtime-cli </dev/null
fi

# A package that a script can only bring as its own source: its wheel, and the one file that is in it.
package=$root/target/bench
requirements=$root/scripts/bench-requirements.txt
if ! cmp -s "$requirements" "$package/.requirements"; then
    say "fetching a package for Python"
    fail() {
        say "$*" >&2
        exit 1
    }
    # shellcheck source=scripts/python.sh
    source "$root/scripts/python.sh"
    setup_venv
    rm -rf "$package"
    mkdir -p "$package"
    "$venv/bin/pip" download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: --require-hashes \
        --requirement "$requirements" --dest "$package" </dev/null
    "$venv/bin/python" -m zipfile -e "$package"/*.whl "$package"
    cp "$requirements" "$package/.requirements"
fi
