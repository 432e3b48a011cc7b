#!/usr/bin/env bash
# Makes this machine ready for the tests of A2A: the official clients.
set -euo pipefail

# shellcheck source=scripts/clients.sh
source "$(dirname "${BASH_SOURCE[0]}")/clients.sh"

setup_clients a2a 20 .venv=requirements.txt .venv-0.3=requirements-0.3.txt
