"""What the host offers a script beyond the standard library: cryptography at native speed, and evidence of what runs.

    import hypervisor

    key = hypervisor.SigningKey.generate()
    statement = b"the answer is 42"
    signature = key.sign(statement)
    proof = hypervisor.evidence(hypervisor.digest(key.public_key))

Every refusal of the host is a `HostError`. All functions take and give `bytes`; integers inside them are big-endian.
"""

from hypervisor._attestation import ComponentLog, Identity, Measurement, evidence, identity, measurements
from hypervisor._crypto import (
    Algorithm,
    SigningKey,
    digest,
    hkdf,
    hmac,
    open,
    recover_secp256k1,
    seal,
    verify_ed25519,
    verify_hmac,
    verify_p256,
    verify_secp256k1,
)
from hypervisor._errors import HostError

# Without `open`, which would hide the built-in one.
__all__ = [
    "Algorithm",
    "ComponentLog",
    "HostError",
    "Identity",
    "Measurement",
    "SigningKey",
    "digest",
    "evidence",
    "hkdf",
    "hmac",
    "identity",
    "measurements",
    "recover_secp256k1",
    "seal",
    "verify_ed25519",
    "verify_hmac",
    "verify_p256",
    "verify_secp256k1",
]

# Where a reader of a traceback, or of help(), would look for them.
for _class in (ComponentLog, HostError, Identity, Measurement, SigningKey):
    _class.__module__ = __name__
del _class
