//! The verifier, from outside.

mod attacks;
mod boot_log;
mod decoders;
mod fleet;
mod input;
mod platform;
mod policy;
mod real;
mod support;
mod vtpm;
