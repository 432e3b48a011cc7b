//! The ledger: one payment, one execution, one answer, whatever happens in between.
//!
//! It knows payments by what names them, and requests by what they are; what either looks like on a wire, and who moves the money,
//! is its caller's business. A payment that is brought is either known ([`Ledger::claim`]) or set aside ([`Ledger::reserve`]) for
//! whoever brought it first, who alone holds the [`Turn`] on it until that is dropped.

mod doubts;
mod error;
mod fleet;
mod import;
mod index;
mod ledger;
mod record;
mod sign_in;
mod store;
mod turn;

pub use error::Error;
pub use fleet::{Node, Tag, Unused};
pub use import::{ANSWERS as EARLIER_ANSWERS, RECORDS as EARLIER_RECORDS};
pub use ledger::{Claim, Ledger, Settler, Standing};
pub use record::{
    Answer, Fields, Key, Outcome, Payment, PaymentId, Record, Request, State, digest, key,
};
pub use sign_in::Proof;
pub use store::{Bounds, Store, TABLES};
pub use turn::{Ended, Place, Turn};
