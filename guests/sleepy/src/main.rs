//! The wall-clock limit: sleeps for so many milliseconds (2000 if not told), then prints `awake`.
//!
//! ```text
//! hv run target/guests/sleepy.wasm -- 500
//! ```
//!
//! While it waits the agent uses no cpu time, so only the wall-clock deadline can stop it.

use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

const DEFAULT_MILLISECONDS: u64 = 2000;

fn main() -> ExitCode {
    let milliseconds = match env::args().nth(1) {
        None => DEFAULT_MILLISECONDS,
        Some(text) => match text.parse() {
            Ok(number) => number,
            Err(error) => {
                eprintln!("sleepy: milliseconds `{text}`: {error}");
                return ExitCode::from(2);
            }
        },
    };
    thread::sleep(Duration::from_millis(milliseconds));
    println!("awake");
    ExitCode::SUCCESS
}
