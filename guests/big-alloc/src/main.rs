//! Memory that stays whole: takes 100 MB in pieces, fills each one, checks them all, prints `ok`.
//!
//! ```text
//! hv run target/guests/big-alloc.wasm
//! ```
//!
//! The output and the environment are used before, between and after the allocations: an adapter
//! that keeps its state in a page which becomes the heap is found out here.

use std::env;
use std::process::ExitCode;

const PIECE: usize = 1_000_000;
const PIECES: usize = 100;

fn main() -> ExitCode {
    println!("{} arguments", env::args().count() - 1);

    let mut pieces = Vec::with_capacity(PIECES);
    for index in 0..PIECES {
        pieces.push(pattern(index).collect::<Vec<u8>>());
        if index % 25 == 0 {
            println!("{} MB", index + 1);
        }
    }

    for (index, piece) in pieces.iter().enumerate() {
        if !pattern(index).eq(piece.iter().copied()) {
            eprintln!("big-alloc: piece {index} does not hold what was written to it");
            return ExitCode::FAILURE;
        }
    }

    println!("ok");
    ExitCode::SUCCESS
}

/// What piece `index` holds: no two neighbouring pieces are alike.
fn pattern(index: usize) -> impl Iterator<Item = u8> {
    (0..PIECE).map(move |offset| (offset.wrapping_mul(31).wrapping_add(index) % 251) as u8)
}
