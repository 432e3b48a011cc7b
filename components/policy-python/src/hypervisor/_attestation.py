"""`hypervisor:plugin/attestation`, for Python."""

from dataclasses import dataclass

from hypervisor._errors import raises_host_error
from wit_world.imports import attestation as _host


@dataclass(frozen=True, slots=True)
class Measurement:
    """One component that the host loaded with authority: its name, the SHA-384 of its bytes, and what it may import."""

    name: str
    digest: bytes
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComponentLog:
    """All components loaded with authority, the oldest first, and the hash over them that quotes bind (SHA-384)."""

    entries: tuple[Measurement, ...]
    head: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """The host: the P-256 key that signs its receipts (33 bytes), what makes its quotes, and whether these are simulated."""

    public_key: bytes
    backend: str
    simulated: bool


@raises_host_error
def evidence(claim: bytes = b"") -> bytes:
    """Evidence, as a CBOR document, that this script's engine, in this host, made `claim` (at most 64 bytes)."""
    return _host.evidence(bytes(claim))


@raises_host_error
def measurements() -> ComponentLog:
    """The components that this host has loaded with authority since it started."""
    log = _host.measurements()
    return ComponentLog(tuple(Measurement(e.name, e.digest, tuple(e.imports)) for e in log.entries), log.head)


@raises_host_error
def identity() -> Identity:
    """Who the host is."""
    found = _host.identity()
    return Identity(found.public_key, found.backend, found.simulated)
