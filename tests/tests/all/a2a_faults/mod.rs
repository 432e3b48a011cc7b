//! The front that speaks A2A where something goes wrong: hosts that are killed, messages that come again, clients that read slowly,
//! ask for what is not theirs, or send too much.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod callers;
mod cards;
mod floods;
pub(crate) mod kit;
mod payments;
mod repeats;
mod restarts;
mod sale;
mod streams;
