//! Transparency logs: what was published can be shown to be in a log that only grows, offline and without trusting who serves it.
//!
//! [`tree`] is the Merkle tree of RFC 9162 (RFC 6962) with its proofs. [`note`] and [`checkpoint`] are C2SP's signed notes, tree
//! heads and cosignatures of witnesses, [`proof`] its proofs in one file, and [`folder`] a log as C2SP's tiles: files
//! that any static web server can hand out. [`entry`] is what this project publishes: reference values. [`trail`] is what a host
//! keeps of its own doings.
//!
//! Everything that is read may come from a stranger: it is bounded, and [`Error`] says what is wrong with it.

#![deny(missing_docs)]

pub mod checkpoint;
pub mod entry;
pub mod error;
pub mod folder;
pub mod note;
pub mod proof;
pub mod trail;
pub mod tree;

pub use checkpoint::{SignedCheckpoint, Trusted};
pub use entry::{Entry, Kind};
pub use error::Error;
pub use folder::Folder;
pub use note::{SigningKey, VerifierKey};
pub use proof::Proof;
pub use tree::{Hash, Head, Tree};
