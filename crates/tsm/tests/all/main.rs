//! The attester of real hardware, before kernels that misbehave.

mod doctor;
mod fs;
mod fuse;
mod quote;
mod record;
mod registers;
mod sealing;
mod support;
mod trim;
