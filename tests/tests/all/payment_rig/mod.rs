//! The payment rig itself: what the payment tests stand on is shown to be real here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod clients;
mod faulty;
mod real;
