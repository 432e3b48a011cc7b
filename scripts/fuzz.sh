#!/usr/bin/env bash
# Fuzzes: each target for FUZZ_SECONDS (60), or only the one that is named; `seeds` reads the seeds of all, without a fuzzer. Prints what came of each, and fails where something was found.
# What libFuzzer keeps goes to target/fuzz/corpus, what it found to target/fuzz/crashes, its words to target/fuzz/logs; seeds stay as they are.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
seconds=${FUZZ_SECONDS:-60}
wanted=${1:-}

# target, manifest, package, test, folder of seeds
targets() {
    local name
    for name in bodies fields streams evidence_documents verification quotes event_logs transparency components images manifests binary_http cards plugin_answers engine_answers; do
        echo "$name fuzz hypervisor-fuzz $name fuzz/targets"
    done
    for name in mcp_requests mcp_answers; do
        echo "$name components mcp tests::fuzz::$name components/mcp/src/tests"
    done
    for name in a2a_requests a2a_answers; do
        echo "$name components a2a tests::fuzz::$name components/a2a/src/tests"
    done
    for name in x402_headers x402_facilitators x402_chains solana_messages; do
        echo "$name components payments tests::fuzz::$name components/payments/src/tests"
    done
    echo "server_sent_events components front events::tests::server_sent_events components/front/src"
    echo "strict_json components strict-json tests::strict_json components/strict-json/src"
}

say() { printf 'fuzz: %s\n' "$*"; }

# The flags that count coverage belong to the fuzzer's build alone.
unset RUSTC_WORKSPACE_WRAPPER RUSTFLAGS
export CARGO_INCREMENTAL=0
work=target/fuzz
mkdir -p "$work/logs"

# run NAME MANIFEST PACKAGE TEST SEEDS
run() {
    local name=$1 manifest=$2 package=$3 test=$4 seeds=$5/__fuzz__/$1/corpus log=$work/logs/$1 status=0
    local corpus=$root/$work/corpus/$name crashes=$root/$work/crashes/$name
    mkdir -p "$corpus" "$crashes"
    .tools/bin/cargo-bolero bolero test "$test" --manifest-path "$manifest/Cargo.toml" --package "$package" --target-dir "$work/$manifest" \
        --sanitizer NONE --engine libfuzzer --corpus-dir "$corpus" --crashes-dir "$crashes" -T "${seconds}s" --timeout 5s \
        -E "$root/$seeds" </dev/null >"$log" 2>&1 || status=$?
    awk -v name="$name" -v seconds="$seconds" '
        function value(key,    i) { for (i = 1; i < NF; i++) if ($i == key) return $(i + 1) }
        /^#[0-9]+\tINITED/ { first = value("cov:") }
        /^#[0-9]+\t(INITED|DONE|NEW|REDUCE|RELOAD|pulse)/ { last = value("cov:"); features = value("ft:"); number = substr($1, 2) }
        END { printf "fuzz: %-20s %10s executions, coverage %s to %s, %s features\n", name, number, first, last, features }
    ' "$log"
    if ((status != 0)); then
        say "$name: found something, or was not built: the end of $log"
        tail -n 40 "$log"
        return 1
    fi
}

# Programs that nobody wrote, inside a host and in the bare engine.
differential() {
    cargo build --workspace --bins --locked
    cargo build --manifest-path fuzz/Cargo.toml --target-dir "$work/check" --locked --package hypervisor-fuzz-kit --bin programs
    # The first of the pipe ends when the last has had enough.
    "$work/check/debug/programs" "${FUZZ_SEED:-0}" |
        HYPERVISOR_TEST_BIN=$root/target/debug/hypervisor target/debug/differential "$seconds"
}

case $wanted in
    differential)
        differential
        exit
        ;;
    seeds)
        # As tests, without a fuzzer. Those of the components are among their own tests.
        cargo test --manifest-path fuzz/Cargo.toml --target-dir "$work/check" --locked
        exit
        ;;
esac
scripts/setup.sh fuzz
known= failed=
while read -r name manifest package test seeds; do
    [[ -z $wanted || $wanted == "$name" ]] || continue
    known=1
    run "$name" "$manifest" "$package" "$test" "$seeds" || failed+=" $name"
done < <(targets)
if [[ -z $known ]]; then
    say "no target \`$wanted\`: $(targets | cut -d' ' -f1 | xargs) differential seeds" >&2
    exit 2
fi
if [[ -z $wanted ]]; then
    differential || failed+=" differential"
fi
if [[ -n $failed ]]; then
    say "found something in:$failed" >&2
    exit 1
fi
