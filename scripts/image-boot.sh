#!/usr/bin/env bash
# Starts a guest image in QEMU, with OVMF and a TPM in software, and without hardware virtualisation: image-boot.sh FILE [disk|direct].
# The host is at http://127.0.0.1:PORT, which is printed once it serves. Ends with the guest.
#
# IMAGE_PORT   the port on this machine; by default one that is free
# IMAGE_STATE  folder for the guest's console (`console`), its address (`address`) and the TPM's socket; by default one that goes at the end
set -euo pipefail

image=$(realpath "$1")
boot=${2:-disk}
state=${IMAGE_STATE:-$(mktemp -d "${TMPDIR:-/tmp}/hypervisor-image.XXXXXX")}
firmware=/usr/share/OVMF
guest= tpm=

finish() {
    [[ -z $guest ]] || kill "$guest" 2>/dev/null || true
    [[ -z $tpm ]] || kill "$tpm" 2>/dev/null || true
    wait
    [[ -n ${IMAGE_STATE:-} ]] || rm -rf "$state"
}
trap finish EXIT
trap 'exit 1' INT TERM

fail() {
    printf 'image-boot: %s\n' "$*" >&2
    exit 1
}

[[ -e $firmware/OVMF_CODE_4M.fd ]] || fail 'no firmware: run scripts/setup-image.sh'
mkdir -p "$state/tpm" "$state/disk/EFI/BOOT"
cp "$firmware/OVMF_VARS_4M.fd" "$state/variables"
case $boot in
    # A disk that firmware starts from by itself; QEMU makes it of a folder.
    disk)
        cp "$image" "$state/disk/EFI/BOOT/BOOTX64.EFI"
        start=(-drive "if=none,id=disk,format=raw,readonly=on,file=fat:$state/disk" -device virtio-blk-pci,drive=disk,bootindex=0)
        ;;
    direct) start=(-kernel "$image") ;;
    *) fail "unknown way to boot \`$boot\`: disk or direct" ;;
esac
swtpm socket --tpm2 --tpmstate "dir=$state/tpm" --ctrl "type=unixio,path=$state/tpm/socket" --flags startup-clear --terminate &
tpm=$!
until [[ -S $state/tpm/socket ]]; do
    kill -0 "$tpm" 2>/dev/null || fail 'the TPM did not start'
    read -rt 0.1 <> <(:) || true
done
began=$SECONDS
: >"$state/console"
qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 2048 -nodefaults -display none -no-reboot \
    -serial "file:$state/console" -monitor "unix:$state/monitor,server,nowait" \
    -drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.fd" \
    -drive "if=pflash,format=raw,unit=1,file=$state/variables" \
    -chardev "socket,id=tpm,path=$state/tpm/socket" -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 \
    "${start[@]}" -netdev "user,id=net,hostfwd=tcp:127.0.0.1:${IMAGE_PORT:-0}-:8080" -device virtio-net-pci,netdev=net,romfile= </dev/null &
guest=$!

# The port that QEMU took, by the sockets of its process.
port() {
    local inodes
    inodes=$(find "/proc/$guest/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n')
    awk -v inodes="$inodes" 'BEGIN { split(inodes, list, "\n"); for (i in list) mine[list[i]] = 1 }
        $4 == "0A" && ($10 in mine) { split($2, address, ":"); print address[2]; exit }' /proc/net/tcp
}
# Lines of the console as they come, without the firmware's screen control.
tail --pid="$guest" --lines=+1 --follow "$state/console" 2>/dev/null | stdbuf -oL tr -cd '\11\12\40-\176' | while read -r line; do
    printf '%s\n' "$line"
    if [[ $line == *'listening on http://'* ]]; then
        address=http://127.0.0.1:$((16#$(port)))
        printf 'image-boot: serving at %s after %s seconds\n' "$address" $((SECONDS - began))
        printf '%s\n' "$address" >"$state/address.new"
        mv "$state/address.new" "$state/address"
    fi
done &
# Not the lines: bash hears a signal while it waits, and not while a pipeline runs.
wait "$guest" || fail 'QEMU failed'
guest=
