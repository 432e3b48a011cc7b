//! Statements of components: a claim that the host vouches for.
//!
//! A component never chooses bytes that a quote signs. Its claim goes into a COSE_Sign1 (ES256) by the host's identity key,
//! beside the component's own digest, which the host states; the evidence that it travels in binds that key. The payload is
//! a CBOR map with text keys; the content type is [`CONTENT_TYPE`].

use hypervisor_protocol::{HexArray, HexBytes, PublicKey};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cose::Signed;
use crate::document::VERSION;

/// The content type in the protected header.
pub const CONTENT_TYPE: &str = "application/vnd.hypervisor.statement+cbor";
/// The most bytes of a claim.
pub const MAX_CLAIM: usize = 64;

/// That a component, in this host, made a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    version: u32,
    /// The claim; the host does not read it.
    pub claim: HexBytes,
    /// SHA-384 of the component that made it.
    pub component: HexArray<48>,
    /// When it was signed, by the host's clock: Unix time, seconds.
    pub issued_at: u64,
}

impl Statement {
    /// A statement.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a claim over [`MAX_CLAIM`] bytes.
    pub fn new(
        claim: impl Into<Vec<u8>>,
        component: [u8; 48],
        issued_at: u64,
    ) -> Result<Self, Error> {
        let statement = Self {
            version: VERSION,
            claim: HexBytes(claim.into()),
            component: HexArray(component),
            issued_at,
        };
        statement.check()?;
        Ok(statement)
    }

    /// Signs the statement; `sign` is as for [`crate::Receipt::sign`].
    ///
    /// # Errors
    /// [`Error::Signer`] when `sign` fails, [`Error::Encode`].
    pub fn sign<E: std::fmt::Display>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    ) -> Result<Vec<u8>, Error> {
        self.sign_with(sign)
    }

    /// Reads a statement and verifies its signature under `identity`, which must come from verified evidence.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Malformed`], [`Error::Signature`], [`Error::Version`].
    pub fn verify(bytes: &[u8], identity: &PublicKey) -> Result<Self, Error> {
        Self::verified(bytes, identity)
    }
}

impl Signed for Statement {
    const WHAT: &'static str = "statement";
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn check(&self) -> Result<(), Error> {
        crate::error::bound("claim", self.claim.as_ref(), MAX_CLAIM)
    }
}
