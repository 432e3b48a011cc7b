//! What the runtime needs of whoever embeds it.

use std::pin::Pin;
use std::time::Duration;

/// Where components are recorded, and what they are told about the host that they run in.
///
/// Every guest's store holds one of these, so an implementation gives answers only: no key is to be had through it.
pub trait Surroundings: Send + Sync + 'static {
    /// Records a component that is about to be loaded with authority. Called once for each load, before the component is
    /// instantiated for the first time; after an error it is not.
    ///
    /// # Errors
    /// Why it cannot be recorded.
    fn measure(
        &self,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// What was recorded so far.
    fn measurements(&self) -> Measurements;

    /// The host's public identity.
    fn identity(&self) -> HostIdentity;

    /// Whether [`Self::evidence`] can succeed, and the digests that it takes are worth computing.
    fn makes_statements(&self) -> bool;

    /// Evidence of the host, with a statement that a program claims something: at most 64 bytes, which were checked. `program` is its
    /// SHA-384.
    ///
    /// # Errors
    /// [`NoEvidence`].
    fn evidence(&self, claim: Vec<u8>, program: [u8; 48]) -> Result<Vec<u8>, NoEvidence>;

    /// Waits, for a while, until evidence has a program that was loaded just now.
    fn settled(&self, _program: [u8; 48]) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// The statement of [`Self::evidence`] alone.
    ///
    /// # Errors
    /// [`NoEvidence`].
    fn statement(&self, _claim: Vec<u8>, _program: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        Err(NoEvidence::Unavailable)
    }

    /// The policy was asked about an action of this kind: `allowed`, `denied` or `failed`. For those who count.
    fn decided(&self, _kind: &'static str, _end: &'static str) {}

    /// A program was compiled, its wait for a turn included. For those who count.
    fn compiled(&self, _took: Duration) {}
}

/// Components that were loaded with authority, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measurements {
    /// The components.
    pub entries: Vec<Measurement>,
    /// The head of the log over them.
    pub head: Vec<u8>,
}

/// One component that was loaded with authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// What it was loaded as.
    pub name: String,
    /// SHA-384.
    pub sha384: [u8; 48],
    /// What it was granted.
    pub imports: Vec<String>,
}

/// The host's public identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    /// The key that stands for it, SEC 1 compressed.
    pub public_key: Vec<u8>,
    /// What attests it: `none` where nothing does.
    pub backend: String,
    /// Whether that is a simulation.
    pub simulated: bool,
}

/// Why there is no evidence for a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEvidence {
    /// The host has no attester.
    Unavailable,
    /// Not yet of a component that was loaded just now.
    Busy,
    /// It failed.
    Failed,
}

/// The surroundings of a runtime that stands for nobody: nothing is recorded, and nothing attests. For tests and
/// measurements.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unattested;

impl Surroundings for Unattested {
    fn measure(
        &self,
        _: &str,
        _: [u8; 48],
        _: Vec<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    fn measurements(&self) -> Measurements {
        Measurements::default()
    }

    fn identity(&self) -> HostIdentity {
        HostIdentity {
            public_key: Vec::new(),
            backend: "none".to_owned(),
            simulated: false,
        }
    }

    fn makes_statements(&self) -> bool {
        false
    }

    fn evidence(&self, _: Vec<u8>, _: [u8; 48]) -> Result<Vec<u8>, NoEvidence> {
        Err(NoEvidence::Unavailable)
    }
}
