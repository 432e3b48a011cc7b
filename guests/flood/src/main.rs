//! The output limit: writes to standard output for ever, or to standard error if told so.
//!
//! ```text
//! hv run target/guests/flood.wasm
//! hv run target/guests/flood.wasm -- stderr
//! ```
//!
//! The report says at what length the stream was cut.

use std::env;
use std::io::{self, Write};

const LINE: &[u8] = b"the quick brown fox jumps over the lazy dog, again and again\n";

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("stderr") => flood(io::stderr().lock()),
        _ => flood(io::stdout().lock()),
    }
}

fn flood(mut stream: impl Write) -> io::Result<()> {
    let block = LINE.repeat(64);
    loop {
        stream.write_all(&block)?;
    }
}
