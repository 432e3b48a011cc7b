//! Copies of a script's bytes: the one place that reads the engine's memory.

use rquickjs::TypedArray;

/// A copy; nothing where the array's buffer was given away.
#[expect(unsafe_code)]
pub fn copied(array: &TypedArray<'_, u8>) -> Vec<u8> {
    // SAFETY: no script runs before the copy is made, so that nothing moves, changes or frees what is read.
    let bytes = unsafe { array.as_bytes() };
    bytes.map(<[u8]>::to_vec).unwrap_or_default()
}
