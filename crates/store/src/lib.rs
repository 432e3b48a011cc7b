//! Sealed, versioned key-value tables: everything of a host that survives a restart.
//!
//! ```text
//! row  = version, u64 BE ‖ 12 random bytes, the nonce ‖ AES-256-GCM-SIV(k, nonce, aad, value), the tag at its end
//! aad  = "hypervisor/v1 store-row" ‖ 0x00 ‖ lp(table) ‖ lp(key) ‖ version
//! k    = HKDF-Expand(HKDF-Extract(no salt, sealing key), "hypervisor/v1 store seal", 32)
//! ```
//!
//! A row that is altered, or moved to another table, key or version, does not open. What is not detected is a whole earlier
//! row in a later one's place, and a row that is gone: whoever has the disk can roll a row back, and cannot change, mix or read
//! any. Where hosts share rows, a store remembers how new those were that it saw, and refuses an older one. Keys of rows are not sealed: what they are made of is hidden by [`Store::blind`] where it is nobody's business.
//!
//! Each [`Table`] is sealed [`Under`] one of two keys: the platform's, or the one in a file beside the store.
//! Where the platform gives none, rows under it are sealed by a key that nobody keeps, so that they end with the process.
//!
//! Where hosts share rows, both are one key of a [`Ring`], and another one can take its place while they are in use. Each row then says
//! which key it is under, and nothing is under a key that is not in the ring:
//!
//! ```text
//! row  = version, u64 BE ‖ id of the key, 8 bytes ‖ nonce ‖ AES-256-GCM-SIV(k, nonce, aad, value), the tag at its end
//! aad  = "hypervisor/v1 store-row of key" ‖ 0x00 ‖ id ‖ lp(table) ‖ lp(key) ‖ version
//! ```
//!
//! [`Store`] seals; a [`Backend`] keeps what is sealed: [`Disk`], one redb file of one process, or a database that several hosts
//! share. Every call may wait for the disk, or for an answer over the network.

mod backend;
mod disk;
mod error;
mod format;
mod keys;
mod memory;
mod private;
mod ring;
mod seal;
mod store;

pub use backend::{Backend, Fingerprint, Head, RawChange, RawRow};
pub use disk::Disk;
pub use error::Error;
pub use format::state_folder;
pub use keys::{Keys, SealingKey};
pub use private::private_folder;
pub use ring::{Resealed, Ring};
pub use seal::KeyId;
pub use store::{Change, Expect, Row, Scanned, Store, Table, Under};
