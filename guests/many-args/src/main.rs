//! Arguments in number: prints how many there were, and their bytes in total.
//!
//! ```text
//! hv run target/guests/many-args.wasm -- one two three
//! ```
//!
//! prints `3 arguments, 11 bytes`. `args_os` takes them without a check for UTF-8.

use std::env;

fn main() {
    let (count, bytes) = env::args_os()
        .skip(1)
        .fold((0, 0), |(count, bytes), argument| {
            (count + 1, bytes + argument.as_encoded_bytes().len())
        });
    println!("{count} arguments, {bytes} bytes");
}
