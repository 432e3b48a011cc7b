//! Deployed agents: what one is called, what its manifest says, where the operator's own lie, what is kept on disk and how
//! they are found.
//!
//! Nothing here runs a component. An agent comes from a sealed deploy or from the operator's folder ([`Registry`]), brings a
//! [`Manifest`], is called by a [`Reference`], may outlive a restart in the [`Store`] and is found by the [`Index`].
//!
//! ```
//! use hypervisor_agents::{Index, Manifest, Reference};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manifest = Manifest::parse(
//!     br#"
//!         name = "weather"
//!         description = "Tells the weather of a city."
//!         version = "1.0.0"
//!         skills = ["weather", "forecast"]
//!     "#,
//! )?;
//! let reference: Reference = "weather.operator".parse()?;
//! assert_eq!(reference.name(), &manifest.name);
//!
//! let index = Index::new();
//! index.put(1, manifest.name.as_str(), &manifest.description, &manifest.skills);
//! let found = index.find("forecasts for my city", 10);
//! assert_eq!(found.first().map(|(id, _)| *id), Some(1));
//! # Ok(())
//! # }
//! ```
//!
//! Files block: callers in async code use a thread for them.

pub mod error;
pub mod manifest;
pub mod name;
pub mod registry;
pub mod search;
pub mod store;

pub use error::{Damage, ManifestError, NameError, RegistryError, StoreError};
pub use hypervisor_store::SealingKey;
pub use manifest::{Environment, Manifest, ManifestLimits};
pub use name::{Address, Name, Owner, OwnerId, Reference};
pub use registry::{Listing, Registry, RegistryAgent, RegistryEntry};
pub use search::Index;
pub use store::{Head, Record, Store, Stored};
