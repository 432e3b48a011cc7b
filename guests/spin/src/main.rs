//! The cpu limit: computes for ever, until the host stops it.
//!
//! ```text
//! hv run target/guests/spin.wasm
//! ```
//!
//! The report names the limit, what was used and what was allowed.

use std::hint;

fn main() {
    let mut state: u64 = 1;
    loop {
        state = hint::black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}
