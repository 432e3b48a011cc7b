//! What the component needs of the world outside: the host's crypto, HTTP, the time.

/// Signatures, at native speed.
pub trait Crypto {
    /// The public key, 65 bytes uncompressed, that made the signature `r || s` (low `s`) over `prehash`.
    ///
    /// `None` if no key belongs to it. An error is a failure of the host and says nothing about the signature.
    fn recover(
        &self,
        prehash: &[u8; 32],
        signature: &[u8; 64],
        recovery_id: u8,
    ) -> Result<Option<[u8; 65]>, String>;

    /// Signs, by a new key that the host vouches for, what `message` makes of it (ES256). Gives both. `None` where the host proves
    /// nothing.
    fn sign_vouched(&self, message: &dyn Fn(&Vouched) -> String) -> Option<(String, Vec<u8>)>;
    /// Whether an Ed25519 signature is of this message and key.
    fn ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64])
    -> Result<bool, String>;
}

/// A key that was made for one signature, and what the host says of it.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// P-256, a SEC 1 point, compressed.
    pub key: Vec<u8>,
    /// The host's statement, whose claim is SHA-256 of the key: COSE_Sign1 by the host's identity key.
    pub statement: Vec<u8>,
}

/// An HTTP answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no HTTP answer. The texts name no URL and hold nothing of a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// It is certain that no byte of the request was sent.
    #[error("{0}")]
    NotSent(String),
    /// The request was sent, or may have been.
    #[error("{0}")]
    Broken(String),
}

/// HTTP.
pub trait Http {
    /// Posts JSON and reads at most `limit` bytes of an answer. It all takes at most `timeout_ms`.
    fn post(
        &self,
        url: &str,
        body: &[u8],
        timeout_ms: u64,
        limit: usize,
    ) -> Result<Answer, HttpError>;
}

/// The time.
pub trait Clock {
    /// Seconds since 1970-01-01 UTC.
    fn now(&self) -> u64;
    /// Waits.
    fn pause(&self, milliseconds: u64);
}

/// All three.
pub struct Ports<C, H, T> {
    /// Signatures.
    pub crypto: C,
    /// HTTP.
    pub http: H,
    /// The time.
    pub clock: T,
}
