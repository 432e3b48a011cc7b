"""`hypervisor:plugin/crypto`, for Python. Checks raise `HostError` where they do not hold; none returns False."""

from types import TracebackType
from typing import Literal, Self

from hypervisor._errors import HostError, raises_host_error
from wit_world.imports import crypto as _host

type Algorithm = Literal["sha256", "sha384", "sha512", "keccak256"]
"""A hash function. `keccak256` is Ethereum's, with the original padding, not SHA3-256."""


def _algorithm(name: Algorithm) -> _host.DigestAlgorithm:
    try:
        return _host.DigestAlgorithm[name.upper()]
    except (KeyError, AttributeError):
        raise ValueError(f"no such algorithm: {name!r}; there are sha256, sha384, sha512, keccak256") from None


@raises_host_error
def digest(data: bytes, algorithm: Algorithm = "sha256") -> bytes:
    """The digest of `data`: 32, 48 or 64 bytes."""
    return _host.digest(_algorithm(algorithm), bytes(data))


@raises_host_error
def hmac(key: bytes, data: bytes, algorithm: Algorithm = "sha256") -> bytes:
    """HMAC (RFC 2104) of `data` under `key`. Compare tags with `verify_hmac`, not with `==`."""
    return _host.hmac(_algorithm(algorithm), bytes(key), bytes(data))


@raises_host_error
def verify_hmac(key: bytes, data: bytes, tag: bytes, algorithm: Algorithm = "sha256") -> None:
    """Checks an HMAC tag, whole and in constant time."""
    _host.hmac_verify(_algorithm(algorithm), bytes(key), bytes(data), bytes(tag))


@raises_host_error
def hkdf(ikm: bytes, length: int, *, salt: bytes = b"", info: bytes = b"", algorithm: Algorithm = "sha256") -> bytes:
    """HKDF (RFC 5869), extract and expand: `length` bytes from the keying material `ikm`."""
    return _host.hkdf(_algorithm(algorithm), bytes(ikm), bytes(salt), bytes(info), length)


@raises_host_error
def verify_p256(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Checks ECDSA on P-256 with SHA-256 (ES256). `public_key` is a SEC 1 point, `signature` is `r || s`, 64 bytes."""
    _host.p256_verify(bytes(public_key), bytes(message), bytes(signature))


@raises_host_error
def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Checks an Ed25519 signature (RFC 8032), strictly. `public_key` is 32 bytes, `signature` 64."""
    _host.ed25519_verify(bytes(public_key), bytes(message), bytes(signature))


@raises_host_error
def verify_secp256k1(public_key: bytes, prehash: bytes, signature: bytes) -> None:
    """Checks ECDSA on secp256k1 over a 32-byte hash. `signature` is `r || s` with the low `s`."""
    _host.secp256k1_verify(bytes(public_key), bytes(prehash), bytes(signature))


@raises_host_error
def recover_secp256k1(prehash: bytes, signature: bytes, recovery_id: int) -> bytes:
    """The secp256k1 key that made `signature`, uncompressed: 65 bytes. `recovery_id` is 0 or 1 (an Ethereum v minus 27)."""
    return _host.secp256k1_recover(bytes(prehash), bytes(signature), recovery_id)


@raises_host_error
def seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Encrypts with AES-256-GCM-SIV (RFC 8452). `key` is 32 bytes, `nonce` 12. Gives ciphertext and 16-byte tag."""
    return _host.aes_gcm_siv_seal(bytes(key), bytes(nonce), bytes(aad), bytes(plaintext))


@raises_host_error
def open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """Checks and decrypts what `seal` made."""
    return _host.aes_gcm_siv_open(bytes(key), bytes(nonce), bytes(aad), bytes(ciphertext))


class SigningKey:
    """A P-256 private key that the host made and that never leaves it. It is erased when closed or forgotten.

    To let others trust it, pass a digest of `public_key` to `hypervisor.evidence`.
    """

    def __init__(self, resource: _host.SigningKey) -> None:
        self._resource: _host.SigningKey | None = resource

    @classmethod
    @raises_host_error
    def generate(cls) -> Self:
        """Makes a new random key. The host bounds how many there may be at one time."""
        return cls(_host.SigningKey.generate())

    def _open(self) -> _host.SigningKey:
        if self._resource is None:
            raise ValueError("the key was closed")
        return self._resource

    @raises_host_error
    def sign(self, message: bytes) -> bytes:
        """Signs `message` with ECDSA and SHA-256 (ES256): 64 bytes, `r || s`."""
        return self._open().sign(bytes(message))

    @property
    def public_key(self) -> bytes:
        """The public key: a SEC 1 point, compressed, 33 bytes."""
        return self._open().public_key()

    def close(self) -> None:
        """Erases the key."""
        resource, self._resource = self._resource, None
        if resource is not None:
            resource.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = [
    "Algorithm",
    "HostError",
    "SigningKey",
    "digest",
    "hkdf",
    "hmac",
    "open",
    "recover_secp256k1",
    "seal",
    "verify_ed25519",
    "verify_hmac",
    "verify_p256",
    "verify_secp256k1",
]
