//! Environments: code that is set up once, called many times, and moved on by turns.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod attacks;
mod commands;
mod handlers;
mod life;
mod logs;
mod npm;
mod reach;
mod turns;
