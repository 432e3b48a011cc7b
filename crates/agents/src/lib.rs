//! Deployed agents: what one is called, what its manifest says, where the operator's own lie, what is kept on disk, how they
//! are found, deployed, loaded and removed, and where they may send requests.
//!
//! An agent comes from a sealed deploy or from the operator's folder ([`Registry`]), brings a [`Manifest`], is one of the
//! [`Agents`] of a host under its [`Address`], survives a restart in the [`Store`] and is found by the [`Index`]. The runtime
//! compiles and runs it; what is needed of the host around it (its log of components, prices, counters) comes in by
//! [`Surroundings`].
//!
//! ```
//! use hypervisor_agents::{Address, Index, Manifest};
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
//! let address: Address = "weather.operator".parse()?;
//! assert_eq!(address.name, manifest.name);
//!
//! let index = Index::new();
//! index.put(1, manifest.name.as_str(), &manifest.description, &manifest.skills);
//! let found = index.find("forecasts for my city", 10);
//! assert_eq!(found.first().map(|(id, _)| *id), Some(1));
//! # Ok(())
//! # }
//! ```
//!
//! Files block: what is not `async` is called on a thread for it.

mod agents;
mod catalog;
mod deploy;
mod deployed;
mod egress;
pub mod error;
mod follow;
mod front;
mod load;
mod log;
pub mod manifest;
pub mod name;
mod plan;
pub mod registry;
pub mod rows;
pub mod search;
mod set;
pub mod store;
mod surroundings;
mod take_up;
mod terms;

pub use agents::{Agents, Parts};
pub use deploy::NotTaken;
pub use deployed::{Deployed, PREFIX, Terms};
pub use egress::{Answering, Neighbours, declared_length};
pub use error::{Damage, ManifestError, NameError, RegistryError, StoreError, words};
pub use front::{Front, FrontSettings, inspected};
pub use hypervisor_store::SealingKey;
pub use manifest::{Environment, Manifest, ManifestLimits};
pub use name::{Address, Name, Owner};
pub use plan::{Plan, Refused};
pub use registry::{Listing, Registry, RegistryAgent, RegistryEntry};
pub use rows::{Allowance, ROW_TABLES, Shelf, Shelves};
pub use search::Index;
pub use store::{Head, Record, Store, Stored};
pub use surroundings::{Deployers, Event, Measured, Settings, Surroundings};
