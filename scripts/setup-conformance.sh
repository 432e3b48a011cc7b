#!/usr/bin/env bash
# Fetches test262, the conformance suite of ECMAScript, for `make conformance`: Debian's sources of SpiderMonkey have a copy of it, under its
# own licence (BSD). 157 MB are fetched, 250 MB kept, in .tools/test262. Nothing else of the project needs it.
#
# CONFORMANCE_MIRROR  where Debian's packages come from; by default this machine's own source, where old versions are not kept
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
package=mozjs128
version=128.14.0
digest=41cca35149710ce45fbabc5fefcf86a01fdf833fdb783941964fca3a55fb72dd
suite=$root/.tools/test262

say() { printf 'setup: %s\n' "$*"; }

fail() {
    say "$*" >&2
    exit 1
}

if [[ $(cat "$suite/.installed-from" 2>/dev/null) == "$digest" ]]; then
    say "test262 of $package $version … ok"
    exit 0
fi

mirror=${CONFORMANCE_MIRROR:-}
if [[ -z $mirror ]]; then
    command -v apt-get >/dev/null || fail 'apt-get is not here: set CONFORMANCE_MIRROR'
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
    [[ -n $mirror ]] || fail 'this machine has no source of Debian packages: set CONFORMANCE_MIRROR'
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
file=${package}_$version.orig.tar.xz
say "test262 of $package $version … fetching"
curl --fail --silent --show-error --location --output "$work/$file" "${mirror%/}/pool/main/m/$package/$file" ||
    fail "$package $version is not to be had: CONFORMANCE_MIRROR names an archive of old packages"
printf '%s  %s\n' "$digest" "$work/$file" | sha256sum --check --quiet || fail "$file is not the file that this script names"

rm -rf "$suite"
mkdir -p "$suite"
tar --extract --xz --file "$work/$file" --directory "$suite" --strip-components=5 --wildcards \
    'firefox-*/js/src/tests/test262/shell.js' 'firefox-*/js/src/tests/test262/LICENSE' 'firefox-*/js/src/tests/test262/GIT-INFO' \
    'firefox-*/js/src/tests/test262/annexB' 'firefox-*/js/src/tests/test262/built-ins' 'firefox-*/js/src/tests/test262/language'
printf '%s\n' "$digest" >"$suite/.installed-from"
say "test262 … ok ($(sed -n 's/^Date: *//p' "$suite/GIT-INFO"))"
