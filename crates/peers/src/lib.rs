//! How the hosts of a fleet give each other its key.
//!
//! The first host of an empty database makes the key, and no file has it. A host that joins asks a member, over plain HTTP, at the
//! address that the member wrote into the database:
//!
//! ```text
//! joiner                                                    member
//!   GET /fleet/join                                   ──▶
//!                                      ◀── Challenge: exchange, M, nonce of the member
//!   POST /fleet/join: exchange, J, nonce of the joiner,
//!     evidence over J, exchange, M and the member's nonce ──▶  held against the policy, or refused by the check's name
//!   held against the policy             ◀── evidence over M, exchange, J and the joiner's nonce; the key, sealed to J
//! ```
//!
//! Both go by one file, a policy as clients have it ([`Terms`]), and each demands that the other goes by the same: its digest is in the
//! manifest that evidence binds. J and M are keys of one exchange, and the fleet's key is sealed under both of them
//! ([`hypervisor_protocol::fleet_key`]). Nothing that the database says decides anything: whoever has it can keep hosts from joining.
//!
//! What passes are the keys of a [`hypervisor_store::Ring`]: one that names rows, and one that seals them, which another can take the
//! place of ([`Member::rotate`]). For that each member asks another one again, in the same way.
//!
//! A host that comes back when no member lives opens what it, or a host like it on the same platform, sealed to the platform. Where that
//! cannot be had the key is lost, which is an error ([`Error::Lost`]): no host makes a second key for rows that are there.

mod ask;
mod error;
mod join;
mod judge;
mod member;
mod message;
mod rotation;
mod rows;
mod terms;
#[cfg(test)]
mod tests;
mod turn;

pub use error::{Error, Refused};
pub use join::Joining;
pub use member::Member;
pub use rotation::Phase;
pub use rows::Rows;
pub use terms::Terms;
pub use turn::Turning;
