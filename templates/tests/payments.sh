#!/bin/sh
# Loads payment.wasm as a host does, asks it for an offer, and pays with a voucher. `hv build` comes first; `hypervisor-ctl` is on PATH.
set -eu
cd "$(dirname "$0")"

# Three credits for the shop until 2100, signed with the key that hypervisor.toml names.
voucher=eyJpZCI6ImZpcnN0IiwiYW1vdW50IjoiMyIsInBheV90byI6InNob3AiLCJ2YWxpZF9iZWZvcmUiOjQxMDI0NDQ4MDB9.Q2tpP9gDYHO6lZNqbJmE59SLZK75ZWg0oiHT93UdJDy-Gwi0NPkUnwKGN8P0cDBF_imXWMzW5PMXxBSbmo_maA
asked=$(hypervisor-ctl payments try --config hypervisor.toml)
case $asked in
    *'3 of voucher on voucher:issuer to shop'*) ;;
    *) echo "not what was expected: $asked" >&2 && exit 1 ;;
esac
paid=$(hypervisor-ctl payments try --config hypervisor.toml --header "x-voucher: $voucher")
case $paid in
    *authorized*) ;;
    *) echo "not what was expected: $paid" >&2 && exit 1 ;;
esac
# A signature of somebody else's.
if refused=$(hypervisor-ctl payments try --config hypervisor.toml --header "x-voucher: ${voucher%.*}.AAAA"); then
    echo "not what was expected: $refused" >&2 && exit 1
fi
echo "ok: a voucher pays"
