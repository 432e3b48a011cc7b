//! Exit codes: ends with the code it is told, 7 if it is told none.
//!
//! ```text
//! hv run target/guests/exit-code.wasm -- 42
//! ```
//!
//! `std::process::exit` says only success or failure on this target, so any code above 0 arrives as 1.
//! The whole byte goes through `exit-with-code` of `wasi:cli/exit` (WASI 0.2.12), as here.

use std::env;

const DEFAULT_CODE: u8 = 7;

fn main() {
    let code = env::args().nth(1).and_then(|text| text.parse().ok());
    wasip2::cli::exit::exit_with_code(code.unwrap_or(DEFAULT_CODE));
}
