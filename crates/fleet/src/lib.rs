//! Which hosts share a store: their tags, addresses and heartbeats.

mod tag;

pub use tag::Tag;
