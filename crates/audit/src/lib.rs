//! A host's audit trail: a tree to which an entry is added for each answer, swap and action of its operator, and from which none is
//! ever taken.
//!
//! [`Trail::append`] puts an entry into a queue and returns; a thread writes what gathered there, entries and tree in one change of the
//! store, and then signs the new head. A head that was signed is on the disk, so that no restart leads to one that contradicts it. Entries
//! are lost where the process is killed before they are written, and at no other time: a disk that fails keeps them in the queue,
//! and [`Trail::is_full`] says when nothing more should be begun.
//!
//! A proof costs a few reads, whatever the size of the tree, and what is in memory does not grow with it. Formats and what they prove:
//! [`hypervisor_tlog::trail`], docs/AUDIT.md.

#![deny(missing_docs)]

mod edge;
mod error;
mod queue;
mod reader;
mod rows;
mod trail;
mod writer;

pub use error::Error;
pub use hypervisor_tlog::trail::{Entry, Kind};
pub use rows::TABLES;
pub use trail::{Published, Settings, Sign, Signer, Trail};
