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

# describe NAME PACKAGE MANIFEST [FEATURES…]: the tool writes beside each manifest of a workspace, so it gets a copy.
describe() {
    local name=$1 package=$2 manifest=$3 missing
    shift 3
    rm -rf "$work/source" && mkdir "$work/source"
    git archive HEAD | tar -x -C "$work/source"
    .tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --target "$target" \
        --manifest-path "$work/source/$manifest" "$@" </dev/null
    # No path of this machine.
    sed "s|$work/source|/source|g" "$work/source/$(dirname "$manifest")/$package.cdx.json" >"$folder/$name.cdx.json"
    # All that cargo links is in it.
    missing=$(comm -23 \
        <(cargo tree --locked --manifest-path "$work/source/Cargo.toml" --package "$package" --target "$target" "$@" --edges normal \
            --prefix none --format '{p}' </dev/null | awk '{ sub(/^v/, "", $2); print $1 "@" $2 }' | grep -vxF "$package@$(version)" | sort -u) \
        <(python3 -c 'import json, sys
for it in json.load(open(sys.argv[1]))["components"]: print(it["name"] + "@" + it["version"])' "$folder/$name.cdx.json" | sort -u))
    if [[ -n $missing ]]; then
        printf 'sbom: %s does not name what is linked:\n%s\n' "$name.cdx.json" "$missing" >&2
        exit 1
    fi
    printf 'sbom: %s\n' "$folder/$name.cdx.json"
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1; }

describe hypervisor hypervisor host/Cargo.toml "${host_features[@]}"
describe hypervisor-ctl hypervisor-ctl ctl/Cargo.toml "${host_features[@]}"
describe hv hypervisor-client crates/client/Cargo.toml
