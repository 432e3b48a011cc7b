#!/bin/sh
# Builds program.wasm. What requirements.txt lists is installed into .venv first, where that is missing.
set -eu
cd "$(dirname "$0")"
[ -x .venv/bin/componentize-py ] || { python3 -m venv .venv && .venv/bin/pip install --requirement requirements.txt; }
VIRTUAL_ENV=.venv .venv/bin/componentize-py --wit-path wit --world component componentize app --output program.wasm
