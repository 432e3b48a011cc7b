//! What the programs that measure the host have in common: statistics, and figures as they are printed.

pub mod error;
pub mod model;
pub mod report;
pub mod stats;
