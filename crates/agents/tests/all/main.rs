//! Names, manifests, the registry, search and the store, from outside.

mod manifest;
mod name;
mod registry;
mod search;
mod store;
mod store_damage;
mod support;
