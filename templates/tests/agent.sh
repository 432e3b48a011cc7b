#!/bin/sh
# Deploys agent.wasm on a host of its own, calls it, and looks at the answer. `hv build` comes first; `hypervisor` and `hv` are on PATH.
set -eu
cd "$(dirname "$0")"

folder=$(mktemp -d)
trap 'kill "$host" 2>/dev/null || true; rm -rf "$folder"' EXIT
printf 'executor_path = "%s"\n[agents]\ndeploy = true\n' "$folder" >"$folder/hypervisor.toml"
mkfifo "$folder/said"
hypervisor --config "$folder/hypervisor.toml" --listening 127.0.0.1:0 >"$folder/said" 2>"$folder/log" &
host=$!
exec 3<"$folder/said"
read -r _ _ HYPERVISOR_SERVER <&3 || { cat "$folder/log" >&2 && exit 1; }
export HYPERVISOR_SERVER HYPERVISOR_OWNER="$folder/owner.key"

hv deploy agent.wasm
answer=$(hv call {{name}} / -d '{"name": "Ada"}')
case $answer in
    *'hello, Ada'*) echo "ok: $answer" ;;
    *) echo "not what was expected: $answer" >&2 && exit 1 ;;
esac
