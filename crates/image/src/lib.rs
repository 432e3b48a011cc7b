//! The guest image: one file that firmware starts, with the kernel, its command line and an initial file system in which there is the
//! host, its components and its configuration.
//!
//! Putting it together ([`assemble`]) and saying what it will be measured as ([`Image`], [`mod@boot`], [`snp`]) stand beside each other
//! here because they must agree. The host links none of this: docs/IMAGE.md

pub mod assemble;
pub mod boot;
pub mod cpio;
mod digest;
mod error;
mod image;
pub mod pe;
pub mod policy;
pub mod snp;

pub use digest::{Digests, Register};
pub use error::Error;
pub use image::Image;
