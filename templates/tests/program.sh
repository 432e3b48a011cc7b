#!/bin/sh
# Runs program.wasm on a host of its own, and looks at the result. `hv build` comes first; `hypervisor` and `hv` are on PATH.
set -eu
cd "$(dirname "$0")"

folder=$(mktemp -d)
trap 'kill "$host" 2>/dev/null || true; rm -rf "$folder"' EXIT
printf 'executor_path = "%s"\n' "$folder" >"$folder/hypervisor.toml"
mkfifo "$folder/said"
hypervisor --config "$folder/hypervisor.toml" --listening 127.0.0.1:0 >"$folder/said" 2>"$folder/log" &
host=$!
exec 3<"$folder/said"
read -r _ _ HYPERVISOR_SERVER <&3 || { cat "$folder/log" >&2 && exit 1; }
export HYPERVISOR_SERVER

result=$(hv run program.wasm -- Ada)
case $result in
    *'hello, Ada'*) echo "ok: $result" ;;
    *) echo "not what was expected: $result" >&2 && exit 1 ;;
esac
