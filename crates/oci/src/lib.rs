//! Components in registries of OCI artifacts, in the layout of `wkg`: a configuration
//! (`application/vnd.wasm.config.v0+json`) and the component as the one layer (`application/wasm`).
//!
//! A registry is trusted with nothing. What is fetched is named by the SHA-256 of its manifest, or signed with a key that the caller
//! names; a tag alone is refused, since whoever keeps the registry can move it. Every answer is bounded, and compared with its digest.
//!
//! It is for clients and operators' desks: a host has no part in it, and is sent what they fetched.

mod access;
mod artifact;
mod error;
mod reference;
mod registry;
mod signature;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use artifact::Pulled;
pub use error::Error;
pub use reference::{Digest, Pin, Reference, SCHEME};

/// Bytes of a component at most: as much as a host takes of anything.
pub const MAX_COMPONENT: u64 = 256 << 20;

/// Bytes of a manifest at most: what registries have to take by the specification is four times as much.
const MAX_MANIFEST: u64 = 1 << 20;
