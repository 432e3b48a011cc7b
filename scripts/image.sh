#!/usr/bin/env bash
# Builds a guest image: `image.sh build` puts target/image/NAME.efi together for the configuration in image/NAME (IMAGE=folder: another),
# the same bytes wherever and whenever it is built from the same things. `image.sh packages` fetches and unpacks the Debian packages of
# image/packages.lock, `image.sh lock` writes that file anew with what the suites have today, `image.sh simulated FOLDER` makes the configuration of the
# image for tests. docs/IMAGE.md
#
# IMAGE_HOST   the host's program; by default target/release/hypervisor, which `make release` builds
# IMAGE_TOOL   hypervisor-image, where it is built already
# IMAGE_MIRROR where packages come from; by default this machine's own source of Debian packages, where old versions are not kept
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/target/image
lock=$root/image/packages.lock
# Kernel, stub and C library are of the suite that has a kernel with TDX and SEV-SNP in it.
suites=(trixie trixie-security)
wanted=(linux-image-cloud-amd64 systemd-boot-efi libc6 libgcc-s1)

say() { printf 'image: %s\n' "$*"; }

fail() {
    printf 'image: %s\n' "$*" >&2
    exit 1
}

# An apt of our own, which sees the suites of the image and neither reads nor changes the machine's lists.
use_apt() {
    local mirror=${IMAGE_MIRROR:-} suite archive
    command -v apt-get >/dev/null || fail "apt-get is not here: fetch the packages of $lock into $work/packages by hand"
    if [[ -z $mirror ]]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
        [[ -n $mirror ]] || fail 'this machine has no source of Debian packages: set IMAGE_MIRROR'
    fi
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
    for suite in "${suites[@]}"; do
        archive=${mirror%/}
        [[ $suite != *-security ]] || archive=$archive-security
        printf 'deb [arch=amd64] %s %s main\n' "$archive" "$suite"
    done >"$work/apt/sources.list"
    cat >"$work/apt/conf" <<EOF
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt";
APT::Architecture "amd64";
APT::Sandbox::User "root";
EOF
    export APT_CONFIG=$work/apt/conf
    apt-get -qq update </dev/null
}

# The newest version of a package, and the name of the kernel's package that its metapackage stands for.
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p'; }
kernel_package() { apt-cache show "linux-image-cloud-amd64=$(candidate linux-image-cloud-amd64)" | sed -n 's/^Depends: \(linux-image-[^ ]*\).*/\1/p'; }

write_lock() {
    local package version digest
    use_apt
    {
        printf '# What of Debian is in the image: package, version, SHA-256 of its file. `scripts/image.sh lock` writes it.\n'
        for package in "${wanted[@]}"; do
            [[ $package != linux-image-cloud-amd64 ]] || package=$(kernel_package)
            version=$(candidate "$package")
            digest=$(apt-cache show "$package=$version" | sed -n 's/^SHA256: //p')
            printf '%s %s %s\n' "$package" "$version" "$digest"
        done
    } >"$lock.new"
    mv "$lock.new" "$lock"
    cat "$lock"
}

locked() { grep -v '^#' "$lock"; }

has_digest() { [[ -e $1 && $(sha256sum <"$1" | cut -d' ' -f1) == "$2" ]]; }

# Fetches what is not there yet, and holds everything to its digest.
packages() {
    local package version digest file ready=
    mkdir -p "$work/packages"
    while read -r package version digest; do
        file=$work/packages/$digest.deb
        has_digest "$file" "$digest" && continue
        [[ -n $ready ]] || use_apt
        ready=yes
        say "$package $version … fetching"
        (cd "$work/packages" && apt-get -qq download "$package=$version" </dev/null) ||
            fail "$package $version is not to be had: \`scripts/image.sh lock\` takes today's versions, IMAGE_MIRROR names an archive of old ones"
        for found in "$work/packages/${package}"_*.deb; do mv "$found" "$file"; done
        has_digest "$file" "$digest" || fail "$package $version is not the file that $lock names"
    done < <(locked)
    rm -rf "$work/system"
    mkdir -p "$work/system"
    while read -r _ _ digest; do dpkg-deb --extract "$work/packages/$digest.deb" "$work/system"; done < <(locked)
}

# Puts the folder together that becomes the initial file system.
tree() {
    local tree=$1 config=$2 host=$3 init=$4 system=$work/system library libraries name module component
    local of_libraries=usr/lib/x86_64-linux-gnu
    mkdir -p "$tree"/{dev,etc,proc,run,sys,usr/bin,usr/lib/hypervisor,usr/lib64,"$of_libraries"}
    ln -s usr/lib usr/lib64 "$tree/"
    install -m 755 "$init" "$tree/init"
    install -m 755 "$host" "$tree/usr/bin/hypervisor"
    # What they are linked with, and what that is linked with.
    libraries=$(objdump -p "$host" "$init" | awk '$1 == "NEEDED" { print $2 }' | sort -u)
    for library in $libraries; do
        [[ -e $system/$of_libraries/$library ]] || fail "no package of $lock has $library, which the host or the first process needs"
        install -m 755 "$(realpath "$system/$of_libraries/$library")" "$tree/$of_libraries/$library"
    done
    install -m 755 "$(realpath "$system/$of_libraries/ld-linux-x86-64.so.2")" "$tree/usr/lib64/ld-linux-x86-64.so.2"
    name=$(basename "$system"/usr/lib/modules/*)
    while read -r module; do
        [[ -n $module && $module != '#'* ]] || continue
        install -D -m 644 "$system/usr/lib/modules/$name/kernel/$module.ko.xz" "$tree/usr/lib/modules/$(basename "$module").ko.xz"
        printf '/usr/lib/modules/%s.ko.xz\n' "$(basename "$module")"
    done <"$root/image/modules" >"$tree/etc/modules"
    printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
    printf 'hosts: files dns\n' >"$tree/etc/nsswitch.conf"
    ln -s ../run/resolv.conf "$tree/etc/resolv.conf"
    cp -r "$config" "$tree/etc/hypervisor"
    mkdir -p "$tree/etc/hypervisor/agents"
    rm -f "$tree/etc/hypervisor/components"
    while read -r component; do
        [[ -n $component && $component != '#'* ]] || continue
        [[ -e $root/target/components/$component ]] || fail "target/components/$component is missing: run \`make components\`"
        install -m 644 "$root/target/components/$component" "$tree/usr/lib/hypervisor/$component"
    done < <(cat "$config/components" 2>/dev/null)
}

build() {
    local config name host=${IMAGE_HOST:-$root/target/release/hypervisor} init=$work/init/release/hypervisor-init tree
    config=$(realpath "${IMAGE:-$root/image/production}")
    name=$(basename "$config")
    [[ -e $config/hypervisor.toml ]] || fail "$config has no hypervisor.toml"
    [[ -e $host ]] || fail "$host is missing: run \`make release\`, or name another with IMAGE_HOST"
    packages
    # shellcheck source=scripts/release.sh
    (source "$root/scripts/release.sh" && export CARGO_TARGET_DIR=$work/init && use_release_flags "$root" &&
        cargo build --quiet --release --locked --manifest-path "$root/image/init/Cargo.toml" </dev/null)
    [[ -n ${IMAGE_TOOL:-} ]] || cargo build --quiet --locked --package hypervisor-image --manifest-path "$root/Cargo.toml" </dev/null
    tree=$(mktemp -d "$work/tree.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$tree'" EXIT
    tree "$tree/root" "$config" "$host" "$init"
    "${IMAGE_TOOL:-${CARGO_TARGET_DIR:-$root/target}/debug/hypervisor-image}" --stub "$work/system/usr/lib/systemd/boot/efi/linuxx64.efi.stub" \
        --kernel "$work"/system/boot/vmlinuz-* --command-line "$root/image/command-line" --root "$tree/root" --to "$work/$name.efi"
    say "$(du -h "$work/$name.efi" | cut -f1) $(sha256sum "$work/$name.efi" | sed "s| $root/| |")"
}

# The configuration of the image for tests: with the programs that may run.
simulated() {
    mkdir -p "$1"
    cp "$root"/image/simulated/* "$1/"
    [[ -e $root/target/guests/hello.wasm ]] || fail 'target/guests/hello.wasm is missing: run `make guests`'
    { printf '# hello\n' && sha256sum "$root/target/guests/hello.wasm" | cut -d' ' -f1; } >"$1/rules.txt"
}

case ${1:-build} in
    simulated) simulated "$2" ;;
    build) build ;;
    packages) packages ;;
    lock) write_lock ;;
    *) fail "unknown command \`$1\`: build, simulated, packages or lock" ;;
esac
