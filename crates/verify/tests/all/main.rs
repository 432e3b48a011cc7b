//! The verifier, from outside.

mod attacks;
mod decoders;
mod input;
mod platform;
mod policy;
mod real;
mod support;
