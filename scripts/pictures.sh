#!/usr/bin/env bash
# Makes the pictures of the documentation: `hv` in a terminal, and the operator's page. HYPERVISOR_BIN names the folder of the binaries.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(realpath "${HYPERVISOR_BIN:-${CARGO_TARGET_DIR:-$root/target}/demo}")
pictures=$root/docs/pictures
browser=chromium-headless-shell
work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-pictures.XXXXXX")
host=

finish() {
    local status=$?
    ((status == 0)) || cat "$work/host.log" >&2
    [[ -z $host ]] || kill "$host" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

cd "$work"
ln -s "$root/target/guests" guests
cat >host.toml <<TOML
listening = "127.0.0.1:0"
executor_path = "$work/state"
[limits]
cpu = "2s"
[agents]
deploy = true
[runtime.python]
$(cat "$root/target/components/policy-python.toml")
[attestation]
backend = "simulated"
simulated_seed = "pictures"
[admin]
listening = "127.0.0.1:0"
page = "$root/target/components/status.wasm"
TOML
# Both addresses are on its standard output, each on a line of its own.
mkfifo lines
"$bin/hypervisor" --config host.toml >lines 2>host.log &
host=$!
exec 5<lines
read -r -t 120 -u 5 line
server=${line#listening on }
read -r -t 120 -u 5 line
admin=${line#admin on }

export HYPERVISOR_SERVER=$server XDG_CONFIG_HOME=$work/config XDG_STATE_HOME=$work/state-of-hv NO_COLOR=1
PATH=$bin:$PATH
printf 'import sys\nprint(sum(int(line) for line in sys.stdin))\n' >sum.py
seq 100 >numbers
printf 'name = "weather"\nversion = "1.0.0"\ndescription = "Weather, by city"\n' >agent.toml
hypervisor-ctl measure --config host.toml --output json >measure.json
simulated=$(hypervisor-ctl check --config host.toml --output json | python3 -c 'import json, sys; print(json.load(sys.stdin)["attestation"]["simulated_root"])')
hv attest "$server" --to evidence.cbor >/dev/null 2>&1
hv policy init --measure measure.json --evidence evidence.cbor --simulated-root "$simulated" --to policy.toml >/dev/null 2>&1

# shown COMMAND: the command as it is typed, and what comes of it.
shown() {
    printf '$ %s\n' "$1"
    bash -c "$1" 2>&1 || true
}
# The first one makes the owner's key, and says where.
hv deploy guests/http-echo.wasm --manifest <(sed 's/weather/echo/' agent.toml) >/dev/null 2>&1
{
    shown 'hv run guests/hello.wasm --verify policy.toml'
    shown "echo '{\"items\": [1, 2, 3]}' | hv run guests/jq.wasm --stdin - -- '.items | add'"
    shown 'hv python sum.py --stdin numbers'
    shown 'hv run guests/spin.wasm'
    shown 'hv deploy guests/http-hello.wasm --manifest agent.toml | head -5'
    shown 'hv call weather /forecast?city=Oslo'
} >terminal
for _ in $(seq 40); do hv run guests/hello.wasm >/dev/null; done

python3 - terminal terminal.html <<'PYTHON'
import html
import sys

lines = open(sys.argv[1]).read().splitlines()
row = lambda line: f"<b>{html.escape(line)}</b>" if line.startswith("$ ") else html.escape(line)
page = "\n".join(map(row, lines))
style = "margin:0;padding:20px 24px;background:#16181d;color:#c8ccd4;font:14px/1.5 'DejaVu Sans Mono',monospace;white-space:pre-wrap"
open(sys.argv[2], "w").write(f"<meta charset=utf-8><style>body{{margin:0}}b{{color:#fff}}</style><pre style=\"{style}\">{page}</pre>")
PYTHON
rows=$(fold -s -w 108 terminal | wc -l)
"$browser" --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1 --window-size="960,$((rows * 21 + 44))" \
    --screenshot="$work/hv.png" "file://$work/terminal.html" >/dev/null 2>&1
python3 "$root/tests/page/look.py" "$browser" "$admin/" "$work/state/admin.token" "$work" >/dev/null
mkdir -p "$pictures"
install -m 644 hv.png "$pictures/hv.png"
install -m 644 light-wide.png "$pictures/status.png"
ls -l "$pictures"
