//! What an operator asks of a configuration, a program, a machine or a host that is serving. The host's own program only serves.

pub mod check;
pub mod error;
pub mod machine;
pub mod operator;
pub mod output;
