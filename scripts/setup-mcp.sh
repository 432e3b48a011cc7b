#!/usr/bin/env bash
# Makes this machine ready for the tests of MCP: the official clients, and the official conformance suite, which takes Node.js 22.
set -euo pipefail

# shellcheck source=scripts/clients.sh
source "$(dirname "${BASH_SOURCE[0]}")/clients.sh"

setup_clients mcp 22 .venv=requirements.txt .venv-1=requirements-1.txt
