//! Simulated quotes, as others read them.

mod accepted;
mod quote;
mod refused;
mod sealing;
