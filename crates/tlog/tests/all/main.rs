//! Transparency logs, from outside: against what others made, and against whoever alters them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod entries;
mod folder;
mod notes;
mod trail;
mod tree;
