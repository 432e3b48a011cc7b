#!/usr/bin/env bash
# Tests the guest image: image-test.sh BIN, where BIN has hypervisor (with simulated quotes), hypervisor-ctl, hypervisor-image and hv.
# Builds an image with simulated quotes in two folders, starts it in QEMU, runs a program in it, and holds what its TPM was told and what
# it attests against what `hypervisor-ctl measure image` says of the file.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(realpath "$1")
mkdir -p "$root/target/image"
work=$(mktemp -d "$root/target/image/test.XXXXXX")
began=$SECONDS
guest=

finish() {
    [[ -z $guest ]] || kill "$guest" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

say() { printf 'image-test: %s\n' "$*"; }

fail() {
    printf 'image-test: %s\n' "$*" >&2
    exit 1
}

digests=()
for folder in "$work/one" "$work/another/folder"; do
    "$root/scripts/image.sh" simulated "$folder/simulated"
    IMAGE=$folder/simulated IMAGE_HOST=$bin/hypervisor IMAGE_TOOL=$bin/hypervisor-image "$root/scripts/image.sh" build
    cp "$root/target/image/simulated.efi" "$folder/"
    digests+=("$(sha256sum <"$folder/simulated.efi" | cut -d' ' -f1)")
done
[[ ${digests[0]} == "${digests[1]}" ]] || fail 'two builds of the same image differ'
say "two builds are the same: ${digests[0]}"
image=$work/one/simulated.efi

# value JSON FIELD BANK
value() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["registers"][sys.argv[2]][sys.argv[3]])' "$@"; }

# hold BOOT: what the TPM was told against what was predicted.
hold() {
    local register bank read
    "$bin/hypervisor-ctl" measure image "$image" --boot "$1" --output json >"$work/$1.json"
    for bank in sha256 sha384; do
        for register in 4 9 11; do
            read=$(tr -d '\r' <"$state/console" | sed -n "s/^init: PCR $register $bank //p")
            [[ -n $read ]] || fail "the guest has no PCR $register of $bank"
            [[ $read == "$(value "$work/$1.json" "pcr$register" "$bank")" ]] || fail "PCR $register ($bank, $1) is $read, which was not predicted"
        done
        for register in 12 13; do
            read=$(tr -d '\r' <"$state/console" | sed -n "s/^init: PCR $register $bank //p")
            [[ -n $read && -z ${read//0/} ]] || fail "PCR $register ($bank, $1) is $read: something was added to the image"
        done
    done
    say "PCR 4, 9 and 11 are as predicted, in SHA-256 and SHA-384 ($1)"
}

for boot in disk direct; do
    state=$work/$boot
    IMAGE_STATE=$state "$root/scripts/image-boot.sh" "$image" "$boot" >"$work/$boot.log" 2>&1 &
    guest=$!
    until [[ -e $state/address ]]; do
        kill -0 "$guest" 2>/dev/null || { cat "$work/$boot.log" >&2 && fail "the guest ended ($boot)"; }
        ((SECONDS - began < 900)) || { cat "$work/$boot.log" >&2 && fail "the guest does not serve ($boot)"; }
        sleep 1
    done
    say "$(grep -a 'image-boot: serving' "$work/$boot.log" | sed 's/image-boot: //')"
    hold "$boot"
    server=$(<"$state/address")
    if [[ $boot == disk ]]; then
        [[ $("$bin/hv" run "$root/target/guests/hello.wasm" --server "$server") == hello ]] || fail 'hello does not run in the guest'
        "$bin/hv" run "$root/target/guests/echo.wasm" --server "$server" >/dev/null 2>&1 && fail 'the image'"'"'s rules do not hold'
        say 'hello runs, and what the rules in the image do not list does not'
        "$bin/hypervisor-ctl" measure image "$image" >"$work/policy.toml"
        "$bin/hv" verify "$server" --policy "$work/policy.toml" >"$work/verdict" || { cat "$work/verdict" >&2 && fail 'the policy made from the image refuses the guest'; }
        # A configuration of one other value, and its policy refuses this guest.
        mkdir "$work/other" && cp -r "$work/one/simulated" "$work/other/" && sed -i 's/^compile = .*/compile = "4m"/' "$work/other/simulated/hypervisor.toml"
        IMAGE=$work/other/simulated IMAGE_HOST=$bin/hypervisor IMAGE_TOOL=$bin/hypervisor-image "$root/scripts/image.sh" build >/dev/null
        mv "$root/target/image/simulated.efi" "$work/other/"
        "$bin/hypervisor-ctl" measure image "$work/other/simulated.efi" >"$work/other.toml"
        "$bin/hv" verify "$server" --policy "$work/other.toml" >/dev/null 2>&1 && fail 'the policy of another image accepts the guest'
        say 'the policy made from the image accepts the guest, and that of another image does not'
    fi
    kill "$guest" && { wait "$guest" || true; }
    guest=
done

# The image that ships, where there is no TEE: the TPM is told what was predicted, and the host does not serve.
IMAGE_HOST=$bin/hypervisor IMAGE_TOOL=$bin/hypervisor-image "$root/scripts/image.sh" build >/dev/null
image=$work/production.efi
cp "$root/target/image/production.efi" "$image"
state=$work/production
IMAGE_STATE=$state timeout 900 "$root/scripts/image-boot.sh" "$image" disk >"$work/production.log" 2>&1 || { cat "$work/production.log" >&2 && fail 'the production image does not end by itself'; }
grep -qF 'run inside a confidential guest' "$state/console" || { cat "$work/production.log" >&2 && fail 'the production image does not say what is missing'; }
[[ ! -e $state/address ]] || fail 'the production image serves without a TEE'
hold disk
say 'the production image ends where there is no TEE'
say "passed in $((SECONDS - began)) seconds"
