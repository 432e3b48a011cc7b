//! Client of a confidential component host.
//!
//! A [`Client`] opens a [`Session`]; a session seals a program with its inputs, sends it, checks the commitments of the
//! answer and opens it into an [`Execution`]. The host's operator sees ciphertext, sizes and times. Where a host asks for
//! payment, a [`payment::Payer`] pays within its owner's limits. With a policy, the host proves first what it is
//! ([`attestation`]). Components that stay on a host are [`agents`]; code that is set up once and called many times are
//! [`environments`]. What a host says that it did is its [`audit`] trail.
//!
//! ```no_run
//! use hypervisor_client::{Client, Program};
//!
//! # async fn example() -> Result<(), hypervisor_client::Error> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let session = client.open_session().await?;
//! let wasm = std::fs::read("echo.wasm").expect("a component that exports wasi:cli/run");
//! let execution = session.run_wasm(Program::new(&wasm).argument("hello").stdin(b"input")).await?;
//! println!("{:?}: {}", execution.report.exit, String::from_utf8_lossy(&execution.result));
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod affinity;
pub mod agents;
pub mod attestation;
pub mod audit;
pub mod card;
mod client;
mod ending;
pub mod environments;
mod error;
mod live;
pub mod payment;
mod program;
pub mod record;
mod session;
mod tls;

pub use client::Client;
pub use ending::ending;
pub use error::{Demand, Error, OfferRefusal};
pub use program::{Inputs, Program};
pub use record::Record;
pub use session::{Execution, PaidExecution, Session};

pub use hypervisor_protocol as protocol;
pub use hypervisor_verify as attest;
