//! Agents: components that stay on a host under a name, and are called by it.
//!
//! An owner is a P-256 key ([`OwnerKey`], kept with [`create_owner_key`] and [`load_owner_key`]). Requests about agents are
//! sealed like executions and their answers verified like those; what only the owner may do carries a signature over the
//! session.
//!
//! ```no_run
//! use hypervisor_client::Client;
//! use hypervisor_client::agents::load_owner_key;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let session = client.open_session().await?;
//! let owner = load_owner_key("owner.key".as_ref())?;
//! let component = std::fs::read("weather.wasm")?;
//! let manifest = std::fs::read_to_string("agent.toml")?;
//! let deployed = session.deploy(&component, &manifest, &owner).await?;
//!
//! let weather = deployed.info.address.parse()?;
//! let request = http::Request::get("/forecast?city=Oslo").body(Vec::new())?;
//! let response = session.call_service(&weather, request, None).await?.into_response()?;
//! println!("{} {}", response.status(), String::from_utf8_lossy(response.body()));
//! # Ok(())
//! # }
//! ```
//!
//! [`OwnerKey`]: hypervisor_protocol::OwnerKey

pub(crate) mod arriving;
mod call;
mod client;
mod manage;
mod message;
mod owner_file;
mod reference;

pub use call::{PaidServiceAnswer, Part, ServiceAnswer, ServiceCall, ServiceReply};
pub use manage::{Deployed, MAX_MANIFEST};
pub use owner_file::{create_owner_key, load_owner_key};
pub use reference::Reference;
