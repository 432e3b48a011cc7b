//! The operator's page. A pure function: the document on standard input, which is what `hypervisor-ctl status --output json` prints with
//! what a page needs beside it, becomes HTML on standard output. It asks for nothing else, and everything in it that comes from agents
//! and their owners is escaped by the template.

mod chart;
mod error;
mod model;
mod page;
mod words;

use std::io::{Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;

use error::Error;
use model::Document;

/// Bytes of the document at most.
const LONGEST: u64 = 32 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut text = Vec::new();
    stdin().take(LONGEST).read_to_end(&mut text)?;
    let document = Document::read(&text)?;
    let html = page::render(&document).into_string();
    stdout().write_all(html.as_bytes())?;
    Ok(())
}
