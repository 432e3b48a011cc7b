#!/usr/bin/env bash
# Puts what is published of a release into target/dist: the binaries and Debian packages of the commit that is checked out, what they are
# made of (CycloneDX), where they come from (SLSA provenance), and the digests of all of it. RELEASE_KEY names the SSH key that signs the
# digests, RELEASE_BUILDER and RELEASE_SOURCE are URIs of who builds and of the repository. DIST_BINARIES takes binaries that are built
# already, for trying this; nothing is signed then.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'dist: %s\n' "$*" >&2
    exit 1
}

if [[ -n $(git status --porcelain) ]]; then
    fail "what is not committed would be in it: commit or remove it first"
fi
if [[ -n ${RELEASE_KEY:-} && -n ${DIST_BINARIES:-} ]]; then
    fail "binaries of DIST_BINARIES are not signed: nobody saw them built"
fi
started=$(date --utc +%Y-%m-%dT%H:%M:%SZ)
dist=target/dist
rm -rf "$dist"
mkdir -p "$dist"

[[ -n ${DIST_BINARIES:-} ]] || scripts/build-release.sh
binaries=${DIST_BINARIES:-target/release}
cp "$binaries"/{hypervisor,hypervisor-ctl,hv} "$dist"
DEB_BINARIES=$binaries scripts/deb.sh
cp target/deb/*.deb "$dist"
scripts/sbom.sh "$dist"

# What was built is what is checked out still.
[[ -z $(git status --porcelain) ]] || fail "the source changed meanwhile"
statement=$(python3 scripts/provenance.py "$dist" "$(git rev-parse HEAD)" "$started")
printf '%s\n' "$statement" >"$dist/provenance.json"
(cd "$dist" && sha256sum -- *) >target/SHA256SUMS
mv target/SHA256SUMS "$dist"
if [[ -n ${RELEASE_KEY:-} ]]; then
    ssh-keygen -Y sign -f "$RELEASE_KEY" -n hypervisor-release "$dist/SHA256SUMS"
else
    printf 'dist: not signed: RELEASE_KEY names no key\n'
fi
printf 'dist: %s\n' "$dist"
