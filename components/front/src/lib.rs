//! What a front needs, whatever protocol it speaks.
//!
//! A front is a component that answers HTTP in a host's own name, and that reaches the host's public API and its agents as a stranger
//! does ([`ports`]). Here is what fronts share: HTTP by WASI ([`wasi`], the only module that knows WASI), who may call ([`origin`]), JSON
//! within bounds ([`json`]), events as they come ([`events`]), the list of agents ([`agents`]), what the host says where it refuses ([`problem`]), and payments as headers
//! and as JSON ([`x402`]). Nothing that a front is given to work on, and nothing of a payment, is logged or repeated in an error.

pub mod agents;
pub mod error;
pub mod events;
pub mod fields;
pub mod http;
pub mod json;
mod list;
pub mod names;
pub mod origin;
pub mod ports;
pub mod problem;
pub mod variables;
pub mod wasi;
pub mod words;
#[cfg(any(test, feature = "testing"))]
pub mod world;
pub mod x402;
