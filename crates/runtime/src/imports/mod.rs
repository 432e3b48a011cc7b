//! What the host itself gives to components.
//!
//! Each import is one interface of `hypervisor:plugin`, implemented natively on a *view*: the parts of a store's data that
//! it needs. A store's data projects to the view, so no import knows what else the store holds.

pub(crate) mod attestation;
mod bindings;
pub mod crypto;
pub mod keyvalue;
