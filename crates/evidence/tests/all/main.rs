//! The formats, from outside.

mod log;
mod nonce;
mod vectors;
