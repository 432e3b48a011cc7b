//! What an operator asks of a configuration, a program, a machine or a host that is serving. The host's own program only serves.

pub mod check;
pub mod error;
mod hollow;
pub mod machine;
mod memory;
pub mod named;
pub mod operator;
pub mod output;
pub mod overview;
pub mod telemetry;
pub mod world;
