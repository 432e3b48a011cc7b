#!/usr/bin/env bash
# What has to be trusted: what is linked into the host's binary as `make release` builds it. Lines of Rust of this project,
# comments and unit tests included, and the crates of others.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/release.sh
source scripts/release.sh

linked=$(cargo tree --locked --package hypervisor "${host_features[@]}" --edges normal,no-proc-macro --prefix none \
    --format '{p}' </dev/null | sed 's/ (\*)$//' | sort -u)
total=0
while read -r name _ path; do
    folder=${path#"("} folder=${folder%")"}
    count=$(find "$folder/src" -name '*.rs' -exec cat {} + | wc -l)
    total=$((total + count))
    printf '%7s  %s\n' "$count" "$name"
done < <(grep -F "($PWD/" <<<"$linked")
printf '%7s  lines of Rust of this project\n' "$total"
printf '%7s  crates of others\n' "$(grep -cvF "($PWD/" <<<"$linked")"
