#!/usr/bin/env bash
# sbom.sh FOLDER: writes what each released binary is made of, as CycloneDX in JSON: FOLDER/NAME.cdx.json, of the commit that is checked out.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/release.sh
source scripts/release.sh
folder=${1:?a folder}
scripts/setup.sh sbom
work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-sbom.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
target=$(rustc --print host-tuple)

# describe NAME PACKAGE MANIFEST [FEATURES…]
describe() {
    local name=$1 package=$2 manifest=$3
    shift 3
    # crates EDGES: of this package with these features.
    crates() {
        cargo tree --locked --manifest-path "$work/source/Cargo.toml" --package "$package" --target "$target" "${features[@]}" \
            --edges "$1" --prefix none --format '{p}' </dev/null | awk '{ sub(/^v/, "", $2); print $1 "@" $2 }' | sort -u
    }
    local features=("$@")
    # The tool writes beside each manifest of a workspace, so it gets a copy.
    rm -rf "$work/source" && mkdir "$work/source"
    git archive HEAD | tar -x -C "$work/source"
    .tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --target "$target" \
        --manifest-path "$work/source/$manifest" "$@" </dev/null
    crates normal,build >"$work/built"
    crates normal,no-proc-macro >"$work/linked"
    python3 scripts/sbom.py "$work/source/$(dirname "$manifest")/$package.cdx.json" "$work/source" "$work/built" "$work/linked" \
        >"$folder/$name.cdx.json"
    printf 'sbom: %s\n' "$folder/$name.cdx.json"
}

describe hypervisor hypervisor host/Cargo.toml "${host_features[@]}"
describe hypervisor-ctl hypervisor-ctl ctl/Cargo.toml "${host_features[@]}"
describe hv hypervisor-client crates/client/Cargo.toml
