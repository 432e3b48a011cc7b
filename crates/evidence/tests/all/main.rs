//! The formats, from outside.

mod vectors;
