//! The protocol from outside: vectors, decoders that are fed nonsense, and what both ends agree on.

mod agents;
mod decoders;
mod hkdf;
mod keys;
mod report;
mod session;
mod vectors;
mod wire;
