#!/usr/bin/env python3
"""A second verifier of evidence, written from docs/EVIDENCE.md alone, with Python's standard library and nothing else.

    verify.py FILE --root SHA256-OF-THE-ROOT-CERTIFICATE [--nonce HEX]

FILE is evidence (`hv attest`) or a record (`hv run --keep`), CBOR. It checks what ties the parts together: the quote's signatures up
to the root, the report data, the component log and RTMR3, the manifest, the receipt and the proof of inclusion. It does not judge TCB
levels, revocation lists or measurements; those need Intel's collateral and reference values. It prints what it found as JSON; exit
status 3 says that something does not hold.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys


class Refused(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Refused(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def sha384(*parts):
    return hashlib.sha384(b"".join(parts)).digest()


def lp(data):
    return struct.pack(">I", len(data)) + data


# CBOR (RFC 8949), as much of it as is used: definite lengths, no floats.


def cbor(data):
    value, rest = item(data)
    check(not rest, "something follows the CBOR document")
    return value


def item(data):
    check(data, "the CBOR document is cut off")
    major, info, rest = data[0] >> 5, data[0] & 31, data[1:]
    if 24 <= info <= 27:
        size = 1 << (info - 24)
        number, rest = int.from_bytes(rest[:size], "big"), rest[size:]
    else:
        check(info < 24, "CBOR of indefinite length")
        number = info
    if major in (0, 1):
        return (number if major == 0 else -1 - number), rest
    if major in (2, 3):
        check(len(rest) >= number, "a CBOR string is cut off")
        text = rest[:number]
        return (text.decode() if major == 3 else text), rest[number:]
    if major == 4:
        items = []
        for _ in range(number):
            value, rest = item(rest)
            items.append(value)
        return items, rest
    if major == 5:
        pairs = {}
        for _ in range(number):
            key, rest = item(rest)
            check(key not in pairs, f"the key {key!r} stands twice")
            pairs[key], rest = item(rest)
        return pairs, rest
    if major == 6:
        value, rest = item(rest)
        return (number, value), rest
    return {20: False, 21: True, 22: None}[number], rest


def bstr(data, major=2):
    size = len(data)
    if size < 24:
        return bytes([major << 5 | size]) + data
    head = struct.pack(">BH", major << 5 | 25, size) if size > 255 else bytes([major << 5 | 24, size])
    return head + data


# ECDSA on P-256 (FIPS 186-5), slow and for verifying only.

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    total = None
    while k:
        if k & 1:
            total = add(total, point)
        point, k = add(point, point), k >> 1
    return total


def point(sec1):
    x = int.from_bytes(sec1[1:33], "big")
    y = pow(x * x * x - 3 * x + B, (P + 1) // 4, P)
    if sec1[0] == 4:
        y = int.from_bytes(sec1[33:65], "big")
    elif y & 1 != sec1[0] & 1:
        y = P - y
    check((y * y - x * x * x + 3 * x - B) % P == 0, "a public key is not on the curve")
    return x, y


def signed(key, message, signature, what, low_s=False):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    check(0 < r < N and 0 < s < N and not (low_s and s > N // 2), f"{what}: no signature of this form")
    e, w = int.from_bytes(sha256(message), "big"), pow(s, -1, N)
    found = add(times(e * w % N, G), times(r * w % N, point(key)))
    check(found is not None and found[0] % N == r, f"{what}: the signature does not hold")


# X.509: a certificate's signed part, its key and its signature.


def der(data, at=0):
    """Tag, start of the content, end."""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    return data[at], start, start + length


def certificate(data):
    _, tbs, _ = der(data)
    _, fields, tbs_end = der(data, tbs)
    at, spki = fields, None
    while at < tbs_end:
        tag, start, end = der(data, at)
        # SubjectPublicKeyInfo is the one SEQUENCE that ends with a BIT STRING of an uncompressed point.
        if tag == 0x30 and end - start > 66 and data[end - 68 : end - 64] == b"\x03\x42\x00\x04":
            spki = data[end - 65 : end]
        at = end
    _, _, algorithm_end = der(data, tbs_end)
    _, bits, _ = der(data, algorithm_end)
    _, r, r_end = der(data, der(data, bits + 1)[1])
    _, s, s_end = der(data, r_end)
    number = lambda a, b: int.from_bytes(data[a:b], "big").to_bytes(32, "big")
    return data[tbs:tbs_end], spki, number(r, r_end) + number(s, s_end)


def chain(pem, root):
    blocks = pem.decode().strip("\0\n").split("-----END CERTIFICATE-----")[:-1]
    found = [base64.b64decode(block.split("-----BEGIN CERTIFICATE-----")[1]) for block in blocks]
    check(len(found) == 3 and sha256(found[-1]) == root, "the certificates lead to another root")
    parts = [certificate(data) for data in found]
    for (tbs, _, signature), (_, key, _) in zip(parts, parts[1:] + parts[-1:]):
        signed(key, tbs, signature, "a certificate")
    return parts[0][1]


# TDX quotes (Intel DCAP), versions 4 and 5.


def quote(data, root):
    version = struct.unpack_from("<H", data)[0]
    check(version in (4, 5), "no TDX quote of a version that is known")
    body, size = (48, 584) if version == 4 else (54, struct.unpack_from("<I", data, 50)[0])
    end = body + size
    auth = data[end + 4 : end + 4 + struct.unpack_from("<I", data, end)[0]]
    check(end + 4 + len(auth) == len(data), "something follows the quote")
    signature, key, qe = auth[:64], auth[64:128], auth[134:]
    signed(b"\4" + key, data[:end], signature, "the quote")
    report, report_signature = qe[:384], qe[384:448]
    extra = qe[450 : 450 + struct.unpack_from("<H", qe, 448)[0]]
    check(report[320:] == sha256(key, extra) + bytes(32), "the quoting enclave does not vouch for the key")
    kind, length = struct.unpack_from("<HI", qe, 450 + len(extra))
    check(kind == 5, "the quote holds no chain of certificates")
    pem = qe[456 + len(extra) : 456 + len(extra) + length]
    signed(chain(pem, root), report, report_signature, "the quoting enclave's report")
    td = data[body:end]
    rtmrs = [td[at : at + 48] for at in range(328, 520, 48)]
    return {"report_data": td[520:584], "mrtd": td[136:184], "rtmrs": rtmrs}


PURPOSES = {1: "session", 2: "result-batch", 3: "identity", 4: "session-batch"}


def binding(data):
    check(data[:9] == b"HYPERVSR\1" and data[10] == 1, "no binding of a version that is known")
    return PURPOSES[data[9]], data[11], tlvs_of(data, 16)


def tlvs_of(data, at):
    tlvs = {}
    while at < len(data):
        tag, length = struct.unpack_from(">HI", data, at)
        check(not tlvs or tag > max(tlvs), "the tags do not ascend")
        tlvs[tag], at = data[at + 6 : at + 6 + length], at + 6 + length
    check(at == len(data), "the binding is cut off")
    return tlvs


def session_in(batch, proof):
    """The tags of a session, which stands in the batch in the place that the proof says."""
    proof = cbor(proof)
    leaf = sha256(b"hypervisor/v1 session-entry\0", proof["entry"])
    check(included(proof["inclusion"], leaf) == batch[0x22], "the session is not in the batch")
    return {tag: value for tag, value in batch.items() if tag != 0x22} | tlvs_of(proof["entry"], 0)


def booted(log, rtmrs):
    """The digests of what was booted, by register; none for a register of the quote that the log does not lead to."""
    replayed, events, at = [bytes(48)] * 4, [[] for _ in range(4)], 32 + int.from_bytes(log[28:32], "little")
    sizes = dict(struct.unpack_from("<HH", log, 60 + 4 * n) for n in range(int.from_bytes(log[56:60], "little")))
    while any(byte not in (0, 255) for byte in log[at:]):
        index, kind, count = struct.unpack_from("<III", log, at)
        digests, at = {}, at + 12
        for _ in range(count):
            (name,) = struct.unpack_from("<H", log, at)
            digests[name], at = log[at + 2 : at + 2 + sizes[name]], at + 2 + sizes[name]
        at += 4 + int.from_bytes(log[at : at + 4], "little")
        if kind != 3 and 1 <= index <= 4:
            replayed[index - 1] = sha384(replayed[index - 1], digests[0xC])
            events[index - 1].append(digests[0xC].hex())
    check(at <= len(log), "the boot log is cut off")
    return [found if replayed[n] == rtmrs[n] else None for n, found in enumerate(events[:3])]


def log_of(document, bound, rtmr3, register_bound):
    log = cbor(document)
    head, names = bytes(48), []
    register = log.get("register_start", bytes(48))
    for entry in log["entries"]:
        imports = [lp(name.encode()) for name in entry["imports"]]
        digest = sha384(
            b"hypervisor/v1 component-log\0", lp(entry["name"].encode()), entry["digest"],
            struct.pack(">I", len(imports)), *imports,
        )
        head, register = sha384(head, digest), sha384(register, digest)
        names.append({"name": entry["name"], "sha384": entry["digest"].hex()})
    check(bound == head + struct.pack(">Q", len(names)), "the log is not the one that is bound")
    check(not register_bound or register == rtmr3, "RTMR3 is not what the log leads to")
    return names


def evidence(document, root, fill=None):
    parts = cbor(document)
    check(parts.pop("__cmwc_t", None) == "urn:hypervisor:evidence:v1", "no evidence")
    part = lambda name: parts[name][1] if name in parts else (fill or {}).get(name)
    bound = part("binding")
    quoted = quote(part("tdx-quote"), root)
    expected = bound[:16] + sha384(b"hypervisor/v1 report-data\0", bound)
    check(quoted["report_data"] == expected, "the quote is over another binding")
    purpose, flags, tlvs = binding(bound)
    if purpose == "session-batch":
        purpose, tlvs = "session", session_in(tlvs, part("inclusion"))
    log = log_of(part("log"), tlvs[0x31], quoted["rtmrs"][3], flags & 4)
    manifest = part("manifest")
    check(manifest is None or sha384(manifest) == tlvs[0x30], "the manifest is not the one that is bound")
    return {
        "purpose": purpose, "simulated": bool(flags & 0x80), "tlvs": tlvs, "components": log,
        "booted": booted(part("boot-log"), quoted["rtmrs"]) if part("boot-log") else None,
        "mrtd": quoted["mrtd"].hex(), "log": part("log"), "manifest": manifest, "inclusion": part("inclusion"),
    }


def receipt(document, identity):
    tag, (protected, unprotected, payload, signature) = cbor(document)
    kind = "application/vnd.hypervisor.receipt+cbor"
    check(tag == 18 and not unprotected and cbor(protected) == {1: -7, 3: kind}, "no receipt of this form")
    message = b"\x84" + bstr(b"Signature1", 3) + bstr(protected) + bstr(b"") + bstr(payload)
    signed(identity, message, signature, "the receipt", low_s=True)
    return cbor(payload)


def included(proof, commitment):
    """The root and the count that a proof leads to (RFC 9162, 2.1.3.2)."""
    place, last, node = proof["index"], proof["count"] - 1, sha256(b"\0", commitment)
    check(0 <= place <= last, "a proof of no place")
    for sibling in proof["path"]:
        check(last > 0, "the path is too long")
        if place & 1 or place == last:
            node = sha256(b"\1", sibling, node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = sha256(b"\1", node, sibling)
        place, last = place >> 1, last >> 1
    check(last == 0, "the path is too short")
    return node + struct.pack(">Q", proof["count"])


def record(kept, root):
    response = kept["response"]
    found = evidence(kept["session_evidence"], root)
    tlvs, session_id = found["tlvs"], response["session_id"]
    check(found["purpose"] == "session", "the evidence is of no session")
    x, y = times(int.from_bytes(kept["client_key"], "big"), G)
    check(tlvs[0x12] == bytes([2 + y % 2]) + x.to_bytes(32, "big"), "the session is of another client")
    check(tlvs[0x01] == kept["nonce"], "the evidence answers another nonce")
    check((tlvs[0x10], tlvs[0x11]) == (kept["session_pubkey"], session_id), "the evidence is of another session")
    request = response["request_commitment"]
    result = sha256(
        b"hypervisor/v1 result-commitment", request, lp(response["result_nonce"]),
        lp(response["encrypted_result"]), lp(response["encrypted_report"]),
    )
    check(result == response["result_commitment"], "the answer was altered")
    stated = receipt(response["receipt"], tlvs[0x13])
    check(
        (stated["session_id"], stated["request_commitment"], stated["result_commitment"])
        == (session_id, request, result),
        "the receipt is of another exchange",
    )
    manifests = [tlvs[0x30]]
    if kept["quoted"]:
        later = evidence(response["result_evidence"], root, found)
        check(later["tlvs"][0x13] == tlvs[0x13] and later["tlvs"][0x41] == tlvs[0x41], "the result is of another host")
        check(included(cbor(later["inclusion"]), result) == later["tlvs"][0x21], "the result is not in the batch")
        manifests.append(later["tlvs"][0x30])
    check(stated["manifest_digest"] in manifests, "the receipt names another manifest")
    return found | {"receipt": stated, "quoted": kept["quoted"], "server": kept["server"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--root", required=True, type=bytes.fromhex)
    parser.add_argument("--nonce", type=bytes.fromhex)
    arguments = parser.parse_args()
    with open(arguments.file, "rb") as file:
        document = file.read()
    try:
        kept = cbor(document)
        is_record = kept.get("kind") == "urn:hypervisor:record:v1"
        found = record(kept, arguments.root) if is_record else evidence(document, arguments.root)
        check(arguments.nonce in (None, found["tlvs"].get(1)), "the evidence answers another nonce")
    except (Refused, KeyError, IndexError, ValueError, TypeError, struct.error) as error:
        print(f"REFUSED: {error}", file=sys.stderr)
        return 3
    shown = {
        "purpose": found["purpose"], "simulated": found["simulated"], "components": found["components"],
        "identity_key": found["tlvs"][0x13].hex(), "manifest_sha384": found["tlvs"][0x30].hex(), "mrtd": found["mrtd"],
    }
    if found["booted"]:
        shown["booted"] = found["booted"]
    if "receipt" in found:
        shown["receipt_issued_at"] = found["receipt"]["issued_at"]
        shown["result_commitment"] = found["receipt"]["result_commitment"].hex()
        shown["quoted"] = found["quoted"]
    json.dump(shown, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
