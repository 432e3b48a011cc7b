//! What is kept of an agent.

use std::fmt;

use hypervisor_protocol::PublicKey;
use zeroize::Zeroizing;

use crate::manifest::Manifest;
use crate::name::{Address, Owner};

/// Most bytes of [`Record::details`].
pub const MAX_DETAILS: usize = 64 << 10;

/// Most bytes of [`Record::code_fingerprint`].
pub const MAX_FINGERPRINT: usize = 1 << 10;

/// An agent to be kept.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its owner's key; none for the operator.
    pub owner: Option<&'a PublicKey>,
    /// Its manifest's text.
    pub manifest_text: &'a str,
    /// Its component.
    pub component: &'a [u8],
    /// The machine code made from it; what it looks like is the engine's affair.
    pub code: &'a [u8],
    /// What made the machine code: it is given out only to who names the same.
    pub code_fingerprint: &'a str,
    /// When it was deployed: Unix time, microseconds.
    pub deployed_at: u64,
    /// What the caller found out about the component and wants to know after a restart without reading it. Opaque here.
    pub details: &'a [u8],
}

/// What is known of a kept agent without reading its component.
pub struct Head {
    /// Its owner's key; none for the operator.
    pub owner: Option<PublicKey>,
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest's text.
    pub manifest_text: Zeroizing<String>,
    /// When it was deployed: Unix time, microseconds.
    pub deployed_at: u64,
    /// SHA-256 of the component.
    pub digest: [u8; 32],
    /// SHA-384 of the component.
    pub sha384: [u8; 48],
    /// Bytes of the component.
    pub component_length: u64,
    /// Bytes of the machine code.
    pub code_length: u64,
    /// What made the machine code.
    pub code_fingerprint: String,
    /// [`Record::details`].
    pub details: Vec<u8>,
    /// The writing of its component: another one with each deployment.
    pub writing: [u8; 16],
}

impl Head {
    /// The agent's address.
    pub fn address(&self) -> Address {
        Address {
            name: self.manifest.name.clone(),
            owner: self.owner.as_ref().map_or(Owner::Operator, Owner::from),
        }
    }
}

impl fmt::Debug for Record<'_> {
    /// Sizes alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("component_length", &self.component.len())
            .field("code_length", &self.code.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Head {
    /// Sizes alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("component_length", &self.component_length)
            .field("code_length", &self.code_length)
            .finish_non_exhaustive()
    }
}
