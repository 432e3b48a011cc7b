#!/usr/bin/env bash
# Stands in for rustdoc where cargo would run the doctests of a library: documents the library instead, from what was built for the
# tests already, and takes no warning. `cargo doc` would want the metadata of every dependency once more.
set -euo pipefail

arguments=()
tests=
while (($#)); do
    case $1 in
        --test) tests=1 ;;
        --test-run-directory | --test-args) shift ;;
        --test-run-directory=* | --test-args=* | --no-run | --nocapture) ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
if [[ -n $tests ]]; then
    arguments+=(-D warnings --out-dir "$HYPERVISOR_DOC")
fi
exec rustdoc "${arguments[@]}"
