#!/usr/bin/env bash
# Makes the Debian packages of the binaries in DEB_BINARIES and tries them: what is in them, what Debian's and systemd's own tools say, and
# the packaged host with the packaged configuration, as an ordinary user under the unit's system call filter.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh deb-test

work=$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-deb.XXXXXX")
host_pid=
finish() {
    [[ -z $host_pid ]] || kill "$host_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

say() { printf 'deb-test: %s\n' "$*"; }

fail() {
    printf 'deb-test: %s\n' "$*" >&2
    exit 1
}

# As `make release` strips them: development builds would take minutes to pack.
mkdir "$work/bin"
for name in hypervisor hypervisor-ctl hv; do
    strip --strip-debug -o "$work/bin/$name" "${DEB_BINARIES:-target/debug}/$name"
done
DEB_BINARIES=$work/bin scripts/deb.sh --fast

host_deb=$(compgen -G 'target/deb/hypervisor_*.deb') || fail 'no package hypervisor'
client_deb=$(compgen -G 'target/deb/hypervisor-client_*.deb') || fail 'no package hypervisor-client'

# Whose, how open, and where: DEB EXPECTED….
holds() {
    local deb=$1 listed expected
    shift
    listed=$(dpkg-deb --contents "$deb" | awk '{ print $1, $2, $6 }')
    for expected in "$@"; do
        grep -qxF -- "$expected" <<<"$listed" || fail "$(basename "$deb") has no \`$expected\` but:"$'\n'"$listed"
    done
    if grep -vE '^[-d]rw[-x]r-[-x]r-[-x] 0/0 ' <<<"$listed"; then
        fail "$(basename "$deb") has the files above, which others may write or which run as somebody else"
    fi
}
holds "$host_deb" \
    '-rwxr-xr-x 0/0 ./usr/bin/hypervisor' \
    '-rwxr-xr-x 0/0 ./usr/bin/hypervisor-ctl' \
    '-rw-r--r-- 0/0 ./etc/hypervisor/hypervisor.toml' \
    '-rw-r--r-- 0/0 ./usr/lib/systemd/system/hypervisor.service' \
    '-rw-r--r-- 0/0 ./usr/lib/systemd/system/hypervisor-telemetry.service' \
    '-rw-r--r-- 0/0 ./usr/lib/sysusers.d/hypervisor.conf' \
    '-rw-r--r-- 0/0 ./usr/share/man/man1/hypervisor.1.gz' \
    '-rw-r--r-- 0/0 ./usr/share/man/man1/hypervisor-ctl-check.1.gz' \
    '-rw-r--r-- 0/0 ./usr/share/bash-completion/completions/hypervisor-ctl' \
    '-rw-r--r-- 0/0 ./usr/share/zsh/vendor-completions/_hypervisor' \
    '-rw-r--r-- 0/0 ./usr/share/fish/vendor_completions.d/hypervisor-ctl.fish'
holds "$client_deb" \
    '-rwxr-xr-x 0/0 ./usr/bin/hv' \
    '-rw-r--r-- 0/0 ./usr/share/man/man1/hv-run.1.gz' \
    '-rw-r--r-- 0/0 ./usr/share/bash-completion/completions/hv'
[[ $(dpkg-deb --info "$host_deb" conffiles) == /etc/hypervisor/hypervisor.toml ]] || fail 'an upgrade would replace the configuration'
for deb in "$host_deb" "$client_deb"; do
    dpkg-deb --field "$deb" Depends | grep -q 'libc6' || fail "$(basename "$deb") does not say which C library it needs"
done
say 'contents … ok'

# Names of functions stay in a release, for traps and profiles; no package closes a request of Debian's; and nobody has put a name to these.
lintian --allow-root --fail-on error,warning \
    --suppress-tags unstripped-binary-or-object,initial-upload-closes-no-bugs,bogus-mail-host,bogus-mail-host-in-debian-changelog "$host_deb" "$client_deb"
say 'lintian … ok'

root=$work/root
dpkg-deb --extract "$host_deb" "$root"
dpkg-deb --extract "$client_deb" "$root"
for page in "$root"/usr/share/man/man1/*.gz; do
    warnings=$(MANROFFSEQ='' MANWIDTH=100 man --warnings --encoding=UTF-8 --local-file "$page" 2>&1 >/dev/null)
    [[ -z $warnings ]] || fail "$(basename "$page"): $warnings"
done
for file in "$root"/usr/share/bash-completion/completions/*; do
    bash -n "$file"
done
if command -v zsh >/dev/null; then
    for file in "$root"/usr/share/zsh/vendor-completions/*; do zsh -n "$file"; done
fi
if command -v fish >/dev/null; then
    for file in "$root"/usr/share/fish/vendor_completions.d/*; do fish --no-execute "$file"; done
fi
say 'pages and completions … ok'

# The units as they will be read, but for where their programs are.
for name in hypervisor hypervisor-telemetry; do
    unit=$work/$name.service
    sed "s|^ExecStart=/usr|ExecStart=$root/usr|" "$root/usr/lib/systemd/system/$name.service" >"$unit"
    systemd-analyze verify --man=no "$unit"
    # Of 100, 0 the tightest: what is left is the network, and code that the host makes executable.
    systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" >"$work/exposure" || {
        cat "$work/exposure"
        fail "the sandbox of $name is wider than it was"
    }
    say "$(tail -n 1 "$work/exposure" | sed 's/^[^A-Za-z]*//')"
done
unit=$work/hypervisor.service

# The packaged configuration, but for where its folders are.
sed "s|\"/var/lib/hypervisor\"|\"$work/state\"|; s|\"/etc/|\"$root/etc/|" "$root/etc/hypervisor/hypervisor.toml" >"$work/hypervisor.toml"
mkdir -m 700 "$work/state"
as_user=()
if [[ $(id -u) -eq 0 ]]; then
    chmod 755 "$work"
    chown nobody:nogroup "$work/state"
    as_user=(/usr/bin/setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --bounding-set=-all)
fi
mkfifo "$work/said"
"${as_user[@]}" /usr/bin/python3 scripts/under-filter.py "$unit" \
    "$root/usr/bin/hypervisor" --config "$work/hypervisor.toml" --listening 127.0.0.1:0 >"$work/said" 2>"$work/log" &
host_pid=$!
read -r -t 60 said <"$work/said" || {
    cat "$work/log"
    fail 'the packaged host did not start'
}
address=${said#listening on }
[[ $("$root/usr/bin/hv" --server "$address" ping) == pong ]] || fail 'the packaged host does not answer'
[[ $("$root/usr/bin/hv" --server "$address" run target/guests/hello.wasm) == hello ]] || fail 'the packaged host runs no program'
if grep -i 'not fully hardened' "$work/log"; then
    fail 'the sandbox takes from the host what it confines its compilers with'
fi
# As far as a collector that is not there.
if OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 "${as_user[@]}" \
    /usr/bin/python3 scripts/under-filter.py "$work/hypervisor-telemetry.service" \
    "$root/usr/bin/hypervisor-ctl" telemetry --once --admin "unix:$work/state/admin.sock" 2>"$work/exported"; then
    fail 'something was exported to nowhere'
fi
grep -q 'no answer' "$work/exported" || {
    cat "$work/exported"
    fail 'the packaged exporter does not reach the host'
}
open=$(find "$work/state" -perm /077)
[[ -z $open ]] || fail "others can open $open"
kill "$host_pid"
wait "$host_pid" || {
    cat "$work/log"
    fail 'the packaged host did not end when it was told to'
}
host_pid=
say 'the packaged host … ok'
