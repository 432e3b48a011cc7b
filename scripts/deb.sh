#!/usr/bin/env bash
# Makes the Debian packages `hypervisor` and `hypervisor-client` in target/deb, of what `make release` built, or of the binaries in the
# folder DEB_BINARIES. DEB_MAINTAINER is who answers for them, `Name <address>`. Arguments go to cargo-deb.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh deb

maintainer=${DEB_MAINTAINER:-Nobody in particular <nobody@localhost>}
binaries=${DEB_BINARIES:-target/release}
stage=target/deb
rm -rf "$stage"
mkdir -p "$stage/bin"
install -m 755 "$binaries"/{hypervisor,hypervisor-ctl,hv} "$stage/bin"
"$stage/bin/hypervisor-ctl" manual "$stage/manual"
"$stage/bin/hv" manual "$stage/manual"

# The same bytes of the same commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
cat >"$stage/changelog" <<CHANGES
hypervisor ($version-1) unstable; urgency=medium

  * Made of the commit $(git rev-parse HEAD).

 -- $maintainer  $(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
CHANGES

for package in hypervisor hypervisor-client; do
    # Stripped already, and to be the bytes that a policy names.
    .tools/bin/cargo-deb --no-build --no-strip --quiet --locked --maintainer "$maintainer" --package "$package" --output "$stage/" "$@" </dev/null
done
