//! The stack limit: a function that calls itself for ever.
//!
//! ```text
//! hv run target/guests/deep-recursion.wasm
//! ```
//!
//! Each call needs the result of the next one and keeps a buffer alive across it, so the compiler
//! cannot make it a loop. The report names the trap.

use std::hint;

fn main() {
    println!("{}", descend(0));
}

#[expect(
    unconditional_recursion,
    reason = "running out of stack is what this agent shows"
)]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = hint::black_box([depth; 8]);
    let below = descend(hint::black_box(depth + 1));
    below ^ hint::black_box(frame)[0]
}
