//! The smallest agent: a line on standard output.
//!
//! ```text
//! hv run target/guests/hello.wasm
//! ```
//!
//! An agent is an ordinary Rust program: `fn main` becomes the component's `wasi:cli/run` export, and
//! its failure the exit code 1. `println!` does here as well; writing the bytes keeps the formatting
//! machinery out, a sixth of the component.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match io::stdout().write_all(b"hello\n") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
