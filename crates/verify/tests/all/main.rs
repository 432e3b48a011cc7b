//! The verifier, from outside.

mod attacks;
mod decoders;
mod input;
mod platform;
mod real;
mod support;
