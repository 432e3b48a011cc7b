//! Inputs: each argument on a line of its own, then standard input, byte for byte.
//!
//! ```text
//! hv run target/guests/echo.wasm --stdin picture.png -- one "two words"
//! ```
//!
//! Arguments and standard input reach the host encrypted; the agent sees them as any program does.

use std::env;
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for argument in env::args().skip(1) {
        writeln!(out, "{argument}")?;
    }
    io::copy(&mut io::stdin().lock(), &mut out)?;
    out.flush()
}
