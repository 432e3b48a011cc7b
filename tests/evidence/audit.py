#!/usr/bin/env python3
"""A second verifier of audit trails, written from docs/AUDIT.md alone, with Python's standard library and nothing else.

    audit.py --identity HEX --proof FILE COMMITMENT
    audit.py --identity HEX --consistency FILE --old CHECKPOINT [--old-identity HEX]

HEX is the identity key of the host, from evidence that was verified. It prints what it found as JSON; exit status 3 says that something
does not hold.
"""

import argparse
import base64
import json
import sys

from verify import Refused, check, der, point, sha256, signed

SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
KINDS = {1: "execution", 2: "call", 3: "swap", 4: "admin", 5: "start", 6: "stop"}


def node(left, right):
    return sha256(b"\1", left, right)


def checkpoint(text, identity):
    """Origin, size and root, once the identity key was found to have signed them."""
    note, _, lines = text.rpartition("\n\n")
    note += "\n"
    origin, size, root = note.split("\n")[:3]
    x, y = point(identity)
    spki = SPKI + b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
    name = f"\u2014 {origin} "
    found = [base64.b64decode(line[len(name):]) for line in lines.splitlines() if line.startswith(name)]
    found = [line[4:] for line in found if line[:4] == sha256(spki)[:4]]
    check(found, "the identity key did not sign the head")
    for signature in found:
        tag, start, end = der(signature)
        check(tag == 0x30 and end == len(signature), "the head: no signature of this form")
        _, first, middle = der(signature, start)
        _, second, last = der(signature, middle)
        pair = [int.from_bytes(signature[a:b], "big").to_bytes(32, "big") for a, b in ((first, middle), (second, last))]
        signed(identity, note.encode(), b"".join(pair), "the head")
    return origin, int(size), base64.b64decode(root)


def included(index, leaf, path, size, root):
    """RFC 9162, 2.1.3.2."""
    check(index < size, "the index is beyond the tree")
    fn, sn, hash = index, size - 1, leaf
    for sibling in path:
        check(sn, "the path is too long")
        if fn & 1 or fn == sn:
            hash = node(sibling, hash)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash = node(hash, sibling)
        fn, sn = fn >> 1, sn >> 1
    check(sn == 0 and hash == root, "the entry is not in the tree")


def consistent(old, old_root, new, new_root, path):
    """RFC 9162, 2.1.4.2."""
    check(0 < old <= new, "the trail is shorter than it was")
    if old == new:
        check(not path and old_root == new_root, "the trail was forked")
        return
    if old & (old - 1) == 0:
        path = [old_root] + path
    check(path, "the path is too short")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for sibling in path[1:]:
        check(sn, "the path is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(sibling, fr), node(sibling, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, sibling)
        fn, sn = fn >> 1, sn >> 1
    check(sn == 0 and fr == old_root and sr == new_root, "the trail does not continue the old head")


def read(name):
    with open(name, encoding="utf-8") as file:
        return file.read()


def proof(arguments, identity):
    head, _, rest = read(arguments.proof).partition("\n\n")
    first, extra, index, *path = head.split("\n")
    check(first == "c2sp.org/tlog-proof@v1" and extra.startswith("extra ") and index.startswith("index "), "no proof")
    entry = base64.b64decode(extra[6:])
    check(len(entry) == 41 and entry[9:].hex() == arguments.commitment, "the proof is of another entry")
    origin, size, root = checkpoint(rest, identity)
    index = int(index[6:])
    included(index, sha256(b"\0", entry), [base64.b64decode(line) for line in path], size, root)
    kind, time = KINDS[entry[0]], int.from_bytes(entry[1:9], "big")
    return {"origin": origin, "size": size, "index": index, "kind": kind, "time_ms": time}


def consistency(arguments, identity):
    head, _, rest = read(arguments.consistency).partition("\n\n")
    first, *path = head.split("\n")
    check(first.startswith("old "), "no proof of consistency")
    old_identity = bytes.fromhex(arguments.old_identity) if arguments.old_identity else identity
    origin, old, old_root = checkpoint(read(arguments.old), old_identity)
    check(first == f"old {old}", "the proof is from another head")
    now, size, root = checkpoint(rest, identity)
    check(origin == now, "it is another trail")
    consistent(old, old_root, size, root, [base64.b64decode(line) for line in path])
    return {"origin": origin, "old": old, "size": size}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("commitment", nargs="?")
    for name in ("--identity", "--proof", "--consistency", "--old", "--old-identity"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    identity = bytes.fromhex(arguments.identity)
    try:
        found = (proof if arguments.proof else consistency)(arguments, identity)
    except (Refused, ValueError, KeyError, IndexError) as error:
        print(f"REFUSED: {error}", file=sys.stderr)
        sys.exit(3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
