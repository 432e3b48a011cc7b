#!/usr/bin/env bash
# Makes this machine ready for the tests of metrics and traces: the parsers of metrics, of PromQL and of YAML and a collector of
# OpenTelemetry, from PyPI by digest, in a virtual environment that git ignores; and Prometheus, Debian's, unpacked in .tools, so that no
# service is installed. Safe to run again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rig=$root/tests/metrics

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"

# The collector is linked with Python, and its wheel does not bring it.
install_collector() {
    local program version
    program=$(compgen -G "$rig/.venv/lib/python3*/site-packages/rotel/rotel-agent") || fail 'the collector is not in its wheel'
    chmod +x "$program"
    ln -sf "$program" "$rig/.venv/bin/rotel-agent"
    "$program" --version >/dev/null 2>&1 && return
    version=$(basename "$(dirname "$(dirname "$(dirname "$program")")")")
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        fail "the collector needs lib$version, the shared library: install it and run this again"
    fi
    say "installing Debian's lib$version"
    apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends "lib$version" </dev/null >/dev/null
    "$program" --version >/dev/null || fail 'the collector does not start'
}

# apt holds the package to the digest in Debian's signed lists.
install_prometheus() {
    local folder=$root/.tools/prometheus
    [[ -x $folder/usr/bin/prometheus ]] && return
    command -v apt-get >/dev/null || fail "no Prometheus: put one at $folder/usr/bin/prometheus, or run this on Debian"
    say 'Prometheus … unpacking, 100 MB'
    rm -rf "$folder"
    mkdir -p "$folder"
    if [[ $(id -u) -eq 0 ]]; then
        apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
    fi
    # As root, apt would fetch as a user who may not write here.
    (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download prometheus </dev/null >/dev/null)
    dpkg-deb --extract "$folder"/prometheus_*.deb "$folder"
    rm -f "$folder"/prometheus_*.deb
    [[ -x $folder/usr/bin/prometheus ]] || fail 'Prometheus is unpacked and not there'
}

if command -v flock >/dev/null; then
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/.lock-metrics"
    flock 9
fi
install_requirements "$rig/.venv" "$rig/requirements.txt" 'parsers of metrics and PromQL, a collector'
install_collector
say 'parsers of metrics and PromQL, a collector … ok'
install_prometheus
say 'Prometheus … ok'
