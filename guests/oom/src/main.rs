//! The memory limit: takes memory in pieces of 1 MiB, and touches every page, until there is no more.
//!
//! ```text
//! hv run target/guests/oom.wasm
//! ```
//!
//! Where the host refuses to grow the memory, the allocation fails, Rust's allocation error handler
//! writes a line to standard error and aborts.

use std::hint;

const PIECE: usize = 1 << 20;

fn main() {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        pieces.push(hint::black_box(vec![1; PIECE]));
    }
}
