//! Work with keys, and no trace of it on the stack.
//!
//! What a function moves or spills, the compiler leaves behind in the stack's memory: `Drop` wipes a value where it ended, not where
//! it came by. So work with keys is done in a call of its own, and what that call may have used of the stack is overwritten. The
//! keys that stay are on the heap.

use std::hint::black_box;

/// Bytes below the caller that are overwritten: more than agreeing on a key takes, which is the deepest.
const DEPTH: usize = 32 << 10;

/// Does `work` and overwrites the stack that it used.
pub(crate) fn without_trace<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    overwrite();
    done
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite() {
    // Nobody may say of a value that was shown to the outside that it is never read.
    black_box(&mut [0_u8; DEPTH]);
}
