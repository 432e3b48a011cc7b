//! Greets everybody its arguments name, and counts the lines of its standard input.

use std::io::{self, BufRead};
use std::process::ExitCode;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        eprintln!("name somebody to greet");
        return ExitCode::FAILURE;
    }
    for name in names {
        println!("hello, {name}");
    }
    println!("{} lines", io::stdin().lock().lines().count());
    ExitCode::SUCCESS
}
