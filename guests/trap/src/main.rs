//! A trap: the agent panics, which aborts it.
//!
//! ```text
//! hv run target/guests/trap.wasm -- "what went wrong"
//! ```
//!
//! The message goes to standard error, which comes back sealed in the report together with the trap.

use std::env;

fn main() {
    let message = env::args().nth(1);
    println!("about to panic");
    panic!("{}", message.as_deref().unwrap_or("asked to panic"));
}
