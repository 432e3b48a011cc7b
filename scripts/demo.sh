#!/usr/bin/env bash
# A host and its client on this machine, from start to stop: see README.md. HYPERVISOR_BIN names another folder of binaries.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(realpath -m "${HYPERVISOR_BIN:-${CARGO_TARGET_DIR:-$root/target}/demo}")
work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-demo.XXXXXX")
host=
services=()

bold='' dim='' green='' red='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# Runs at every end; a failure shows what the host said.
finish() {
    local status=$?
    if [[ -n $host ]] && kill -TERM "$host" 2>/dev/null; then
        wait "$host" || true
    fi
    if ((${#services[@]})); then
        kill -TERM "${services[@]}" 2>/dev/null || true
    fi
    if ((status != 0)) && [[ -s $work/host.log ]]; then
        printf '\n%sdemo: failed with status %s; the log of the host:%s\n' "$red" "$status" "$plain" >&2
        cat "$work/host.log" >&2
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf '%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

number=0
section() {
    number=$((number + 1))
    printf '\n%s%s. %s%s\n' "$bold" "$number" "$1" "$plain"
}

say() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
good() { printf '%s✓ %s%s\n' "$green" "$*" "$plain"; }

# Prints a command so that it could be pasted.
show() {
    local word line=
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=@-]*) line+=" '$word'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s$%s%s\n' "$bold" "$line" "$plain"
}

# try COMMAND…: shows it and its output; its exit status is in $status, its streams are in out and err.
try() {
    show "$@"
    status=0
    "$@" >out 2>err </dev/null || status=$?
    cat out err
}

# service SCRIPT ARGUMENTS…: starts one of the payment services; its first line, JSON, is in $facts.
service() {
    local script=$root/tests/payments/$1
    shift
    # The services end when their standard input does: a pipe that stays open and has nothing to say.
    [[ -p silence ]] || mkfifo silence
    exec 7<>silence
    exec 6< <(exec node "$script" "$@" <&7)
    services+=("$!")
    read -r -t 120 -u 6 facts || fail "$script did not start"
}

# field NAME: of $facts.
field() { node --print "JSON.parse(process.argv[1]).$1" "$facts" </dev/null; }

for program in "$bin/hypervisor" "$bin/hypervisor-ctl" "$bin/hv"; do
    [[ -x $program ]] || fail "$program is not built: run \`make demo\`"
done
for guest in jq sign spin oom; do
    [[ -e $root/target/guests/$guest.wasm ]] || fail "target/guests/$guest.wasm is not built: run \`make guests\`"
done

cd "$work"
ln -s "$root/target/guests" guests
PATH=$bin:$PATH
unset HYPERVISOR_CONFIG HYPERVISOR_HOST HYPERVISOR_LOG_FORMAT
export PATH NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

section 'A chain with real USDC, and a facilitator, to be paid on'
service chain.mjs
rpc=$(field rpc) pay_to=$(field payTo)
field 'payers[0].privateKey' >payer.key
chmod 600 payer.key
printf 'anvil at %s: chain %s, USDC at %s\n' "$rpc" "$(field chainId)" "$(field usdc)"
service facilitator.mjs "$rpc"
facilitator=$(field url)
printf 'the official x402 facilitator at %s\n' "$facilitator"

section 'A host on a free port, with the log as talkative as it gets'
cat >rules.py <<'PYTHON'
def authorize(action):
    if action.sizes.arguments > 8:
        return Deny("more arguments than this operator likes")
    return True
PYTHON
cat >demo.toml <<TOML
executor_path = "$work/state"
[limits]
cpu = "2s"
memory = "128 MiB"
[runtime.python]
$(cat "$root/target/components/policy-python.toml")
[runtime.javascript]
$(cat "$root/target/components/runtime-javascript.toml")
[policy]
rules = "rules.py"
$(cat "$root/target/components/policy-python.toml")
[payments]
price = "0.01 USDC"
networks = ["base-sepolia"]
pay_to = "$pay_to"
facilitators = ["$facilitator"]
rpc = { "eip155:84532" = "$rpc" }
$(cat "$root/target/components/payments.toml")
[agents]
deploy = true
[environments]
setup = true
[attestation]
backend = "simulated"
simulated_seed = "demo"
[[protocols]]
name = "a2a"
$(cat "$root/target/components/a2a.toml")
paths = ["/a2a/"]
background = "2m"
[[protocols]]
name = "mcp"
$(cat "$root/target/components/mcp.toml")
paths = ["/mcp", "/mcp/"]
[admin]
listening = "127.0.0.1:0"
TOML
say "(the paths and digests of the plugins are left out here)"
sed '/^comp/d' demo.toml
show RUST_LOG=trace hypervisor --config demo.toml --listening 127.0.0.1:0
mkfifo announcement
RUST_LOG=trace hypervisor --config demo.toml --listening 127.0.0.1:0 >announcement 2>host.log </dev/null &
host=$!
# The first line comes when the port is open; an end of file instead means that the host did not start.
exec 3<announcement
read -r -t 60 -u 3 line || fail 'the host did not start'
printf '%s\n' "$line"
[[ $line == 'listening on http://'* ]] || fail "the host announced itself with \`$line\`"
export HYPERVISOR_SERVER=${line#listening on }
show export "HYPERVISOR_SERVER=$HYPERVISOR_SERVER"
read -r -t 60 -u 3 admin || fail 'the host does not say where its admin port is'
printf '%s\n' "$admin"
admin=${admin#admin on http://}

section 'A real document: what this project depends on, from cargo'
show cargo metadata --format-version 1 --locked
(cd "$root" && cargo metadata --format-version 1 --locked --quiet) >metadata.json
size=$(wc -c <metadata.json)
((size >= 1000000)) || fail "cargo metadata gave $size bytes, and the demo wants a megabyte"
printf 'metadata.json: %s bytes\n' "$size"

section 'A private program over private data: jq, its filter and its input are sealed for the host'
filter='.packages
    | "\(length) packages",
      (group_by(.license // "none") | sort_by(-length) | .[:6][]
        | "\(length)  \(.[0].license // "none"): \([.[].name] | unique | .[:4] | join(", ")), …")'
try hv run -v guests/jq.wasm --stdin metadata.json -- -r "$filter"
((status == 0)) || fail "jq ended with $status"
packages=$(grep -c '^\[\[package\]\]' "$root/Cargo.lock")
grep -qx "$packages packages" out || fail "Cargo.lock has $packages packages"
good "Cargo.lock has $packages packages too"
grep -q 'request commitment .* matches what was sent' err || fail 'the request commitment was not checked'
grep -q 'result commitment .* matches what was received' err || fail 'the result commitment was not checked'
good 'hv recomputed both commitments: this answer belongs to exactly this program, input and filter'

section 'A private script over the same data, in a CPython of its own'
cat >licences.py <<'PYTHON'
import collections, json, sys
packages = json.load(sys.stdin)["packages"]
words = collections.Counter(word for package in packages for word in (package["description"] or "").lower().split())
print(len(packages), "packages; the commonest long words:", *[w for w, _ in words.most_common(200) if len(w) > 7][:5])
PYTHON
try hv python -v licences.py --stdin metadata.json
((status == 0)) || fail "the script ended with $status"
grep -q "^$packages packages" out || fail "Cargo.lock has $packages packages"
good 'the same count, by another language'
cat >licences.ts <<'TYPESCRIPT'
import { readFileSync } from "node:fs";
interface Package { name: string; license: string | null }
const { packages }: { packages: Package[] } = JSON.parse(readFileSync(0, "utf8"));
const permissive = packages.filter(({ license }) => /\b(MIT|Apache|BSD|ISC)/.test(license ?? ""));
console.log(`${packages.length} packages, ${permissive.length} under MIT, Apache, BSD or ISC`);
TYPESCRIPT
try hv js -v licences.ts --stdin metadata.json
((status == 0)) || fail "the script ended with $status"
grep -q "^$packages packages" out || fail "Cargo.lock has $packages packages"
good 'and by a third, whose types were taken away in the sandbox'

section 'What the operator does not allow'
try hv python licences.py -- 1 2 3 4 5 6 7 8 9
grep -q 'denied by the host.s policy: more arguments' err || fail 'the policy did not deny'
good "denied, with the reason, before anything ran (hv exits with $status)"

section 'A program that signs: the key is made in the host and never enters the sandbox'
try hv run guests/sign.wasm --stdin metadata.json
((status == 0)) || fail "sign ended with $status"
digest=$(sha256sum metadata.json | cut -d' ' -f1)
grep -qx "sha256  *$digest" out || fail "sha256sum says $digest"
good 'sha256sum gives the same digest here'

section 'A program that never ends'
try hv run guests/spin.wasm
grep -q 'stopped at the limit of processor time' err || fail 'spin was not stopped at its limit'
good "stopped, and the limit is named (hv exits with $status)"

section 'A program that takes all memory'
try hv run guests/oom.wasm
grep -q 'stopped at the limit of memory' err || fail 'oom was not stopped at its limit'
good "stopped, and the limit is named (hv exits with $status)"
try hv ping
((status == 0)) || fail 'the host does not answer'

section 'The same program, paid for: verified, run, settled on the chain, and only then released'
try hv run guests/jq.wasm --stdin metadata.json --pay payer.key --max-price 0.05 -- '.packages | length'
((status == 0)) || fail "the paid run ended with $status"
grep -qx "$packages" out || fail "Cargo.lock has $packages packages"
grep -q 'paid 0.01 USDC on base-sepolia, transaction 0x' err || fail 'the payment was not made'
good 'one cent moved from the payer to the operator, and the receipt names the transaction'
try hv run guests/jq.wasm --stdin metadata.json --pay payer.key --max-price 0.001 -- '.packages | length'
((status != 0)) || fail 'hv paid more than it was allowed to'
good 'hv pays no more than it was told'

section 'Evidence: what the operator published, held against what answers; a simulation here, which proves nothing about hardware'
hypervisor-ctl measure --config demo.toml --output json >measure.json </dev/null
hypervisor-ctl check --config demo.toml --output json >checked.json </dev/null
simulated_root=$(node --print 'JSON.parse(require("fs").readFileSync("checked.json")).attestation.simulated_root' </dev/null)
say 'hypervisor-ctl measure --output json says what this configuration and its components are measured as'
try hv attest "$HYPERVISOR_SERVER" --to evidence.cbor
try hv policy init --measure measure.json --simulated-root "$simulated_root" --evidence evidence.cbor --to policy.toml
((status == 0)) || fail 'no policy was written'
try hv python licences.py --stdin metadata.json --verify policy.toml
((status == 0)) || fail "the attested run ended with $status"
grep -q "^$packages packages" out || fail "Cargo.lock has $packages packages"
good 'the host verified before it got the script; so did the result, its place under a quote, and the receipt'
sed 's/^simulated = .*/vendors = ["intel", "amd"]/' policy.toml >hardware.toml
try hv python licences.py --stdin metadata.json --verify hardware.toml
((status == 3)) || fail "hv took a simulation for hardware (status $status)"
good 'a policy for real hardware refuses it, and nothing was sent (hv exits with 3)'

section 'An agent: a component that is deployed once and called many times'
cp "$root/guests/http-echo/agent.toml" echo.toml
try hv deploy guests/http-echo.wasm --manifest echo.toml --owner owner.key
((status == 0)) || fail "the deployment ended with $status"
if command -v curl >/dev/null; then
    try curl --silent --show-error --fail "$HYPERVISOR_SERVER/agents/http-echo/info"
    ((status == 0)) || fail 'the agent did not answer'
    good 'plain HTTP, to a new instance for each request'
fi
try hv call http-echo /reverse -X POST -d 'between the client and the agent only'
((status == 0)) || fail "the sealed call ended with $status"
grep -q 'between the client and the agent only' out || fail 'the agent answered something else'
good 'the same agent, request and response sealed'
try hv search streams a body back
grep -q http-echo out || fail 'the agent was not found'
good 'found by what it says that it does'

section 'Agents elsewhere, and AI programs: official clients of A2A and MCP, which know nothing of this host'
sed 's/^name = .*/name = "paid-echo"/; 1i price = "0.02 USDC"' echo.toml >paid.toml
try hv deploy guests/http-echo.wasm --manifest paid.toml --owner owner.key
((status == 0)) || fail "the deployment ended with $status"
# asks CLIENT JSON: runs an official client of tests/; its answer, JSON, is in $facts.
asks() { facts=$(node "$root/tests/$1" <<<"$2"); }
message() { printf '{"send": {"message": {"messageId": "%s", "role": "ROLE_USER", "parts": [{"text": "hello from elsewhere"}]%s}}}' "$1" "${2:-}"; }
asked() { printf '{"url": "%s/a2a/%s/", "binding": "JSONRPC", "extensions": ["%s"], "calls": [%s]}' "$HYPERVISOR_SERVER" "$1" "$x402" "$2"; }
x402=https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2
asks a2a/client.mjs "$(asked http-echo "$(message free)")"
printf 'the card of %s says: %s\n' "$(field card.name)" "$(field card.description)"
printf 'A2A: %s, %s\n' "$(field 'results[0].events[0].task.status.state')" "$(field 'results[0].events[0].task.artifacts[0].parts[0].text')"
[[ $facts == *'hello from elsewhere'*TASK_STATE_COMPLETED* || $facts == *TASK_STATE_COMPLETED*'hello from elsewhere'* ]] || fail "the agent answered something else: $facts"
good 'the card was signed by the front, and the task is kept: it outlives this client, and the host'
asks a2a/client.mjs "$(asked paid-echo "$(message priced)")"
task=$(field 'results[0].events[0].task.id') payer=$(<payer.key)
required=$(node --print "JSON.stringify(JSON.parse(process.argv[1]).results[0].events[0].task.status.message.metadata['x402.payment.required'])" "$facts" </dev/null)
printf 'A2A: %s, for %s\n' "$(field 'results[0].events[0].task.status.state')" "$(node --print 'JSON.parse(process.argv[1]).accepts[0].amount' "$required" </dev/null)"
payload=$(node "$root/tests/payments/payload.mjs" <<<"{\"required\": $required, \"privateKey\": \"$payer\"}")
paid=", \"taskId\": \"$task\", \"metadata\": {\"x402.payment.status\": \"payment-submitted\", \"x402.payment.payload\": $payload}"
asks a2a/client.mjs "$(asked paid-echo "$(message payment "$paid")")"
[[ $facts == *TASK_STATE_COMPLETED* && $facts == *payment-completed* ]] || fail "the paid task did not complete: $facts"
good 'found, paid in the message by the official x402 client, and answered with the receipt'
asks mcp/client.mjs "{\"url\": \"$HYPERVISOR_SERVER/mcp\", \"era\": \"modern\", \"calls\": [{\"name\": \"run_python\", \"arguments\": {\"code\": \"print(6 * 7)\"}}]}"
[[ $(field 'results[0].content[0].text') == 42* ]] || fail "the MCP client got something else: $facts"
good "MCP $(field version): run_python answered 42; hv mcp and hv proxy do the same end to end sealed"

section 'Environments: code that is set up once, and called from the memory that its setup left'
export HYPERVISOR_OWNER=$work/owner.key
cat >squares.ts <<'TYPESCRIPT'
const table = new Map<number, number>();
for (let n = 0; n < 10_000; n++) table.set(n, n * n);   // once, in the setup

export function handler(event: { data: number }): { square: number | undefined } {
  return { square: table.get(event.data) };
}
TYPESCRIPT
try hv env create squares.ts --name squares
((status == 0)) || fail "the setup ended with $status"
try hv env run squares --data 12 --repeat 1000
((status == 0)) || fail "the call ended with $status"
grep -q '^hv: 1000 calls in ' err || fail 'it was not called a thousand times'
grep -qx '{"square":144}' out || fail 'the handler does not know the square of 12'
mkdir -p wheel/slugs slugs
printf 'def slug(text):\n    return "-".join(text.lower().split())\n' >wheel/slugs/__init__.py
(cd wheel && python3 -m zipfile -c ../slugs-1.0-py3-none-any.whl slugs)
cat >titles.py <<'PYTHON'
import slugs

def handler(event, context):
    return [slugs.slug(title) for title in event["data"]]
PYTHON
try hv env create titles.py --package slugs-1.0-py3-none-any.whl --name titles
((status == 0)) || fail "the setup ended with $status"
try hv env run titles --data '["A Private Title"]'
grep -qx '\["a-private-title"\]' out || fail 'the package was not imported'
good 'a package, sent sealed with the code, imported in the setup and never again'
printf 'globalThis.seen = []\nseen.push(1)\nseen.length\n' >turns.js
printf '$ hv repl <turns.js\n'
hv repl <turns.js
try hv env log squares --from 998
try hv env list
try hv env rm titles
((status == 0)) || fail 'the environment could not be removed'

section 'Another plugin in the place of the one in use, while the host serves'
try hypervisor-ctl swap payments "$root/target/components/payments.wasm" --admin "$admin" --token-file state/admin.token
((status == 0)) || fail "the swap ended with $status"
try hv python licences.py --stdin metadata.json --verify policy.toml
((status == 3)) || fail "who verified the host before was not told (status $status)"
good 'swapped in one step; the manifest has changed, and a policy for the old one says so'

section 'What the operator saw: the whole log of the host'
sed -E 's/^[^ ]+ +//; s/request_id="?[0-9a-f]+"? //' host.log
# Every string of the document that is long enough not to be there by chance, and the filter line by line.
hv run guests/jq.wasm --stdin metadata.json -- -r '[.. | strings | split("\n")[] | select(length >= 16)] | unique[]' >secrets
grep -oE '[^ ].{15,}' <<<"$filter" >>secrets
secrets=$(wc -l <secrets)
in_document=$(grep -oFf secrets metadata.json | wc -l)
in_log=$(grep -cFf secrets host.log || true)
say "$secrets strings of the document and the filter: $in_document hits in the document, $in_log hits in the log"
((in_document > 0)) || fail 'the search finds nothing where there is something'
((in_log == 0)) || fail "the log has plaintext: $(grep -oFf secrets host.log | head -1)"
good 'sizes, times and limits, and nothing of what was computed'
say 'Memory is another matter: what keeps an operator out of it is a TEE, and this demo runs without one.'

section 'The end: SIGTERM lets running programs finish'
show kill -TERM "$host"
kill -TERM "$host"
status=0
wait "$host" || status=$?
host=
((status == 0)) || fail "the host ended with $status"
good 'drained, exit status 0'
