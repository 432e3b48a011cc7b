//! What agents need of the host that they are deployed on, and what its operator lets them have.

use std::pin::Pin;

use bytesize::ByteSize;
use hypervisor_egress::AllowList;
use hypervisor_protocol::{Exit, HexBytes, PublicKey};
use hypervisor_runtime::{Limits, PrepareError};

use crate::name::Owner;

/// The host around its agents.
pub trait Surroundings: Send + Sync + 'static {
    /// Writes a component into the host's log of what it loaded. Called before the component is linked, each time that it is
    /// loaded; what the log shows already needs nothing. After an error the component is not loaded.
    ///
    /// # Errors
    /// [`PrepareError::Program`] where the log has no room for it.
    fn measure(&self, component: &Measured<'_>) -> Result<(), PrepareError>;

    /// Whether calls of an agent that was deployed before can still be sold for its price, paid to the account that is named, if
    /// one is. What a price is worth is not known here.
    ///
    /// # Errors
    /// Why not, in words.
    fn takes<'a>(
        &'a self,
        price: &'a str,
        pay_to: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

    /// Something happened that operators want to know of.
    fn note(&self, event: Event<'_>);
}

/// A component that is about to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// What the log calls it. The log is shown to everybody, and a private agent to nobody.
    pub name: &'a str,
    /// SHA-384 of the component.
    pub sha384: [u8; 48],
    /// What it is granted.
    pub granted: &'a [String],
    /// Whose it is.
    pub owner: &'a Owner,
    /// From which network it is being deployed; none where it was deployed before, or by its name in the registry.
    pub from: Option<&'a str>,
}

/// Something that happened to agents.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// One was deployed.
    Deployed,
    /// One was removed.
    Removed,
    /// One was refused.
    Refused,
    /// A call ended so.
    Called(&'a Exit),
    /// A request of one was sent: outside, or to another agent.
    Sent(&'static str),
    /// A request of one was not sent, for this reason.
    NotSent(&'static str),
}

/// Which clients may deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deployers {
    /// None.
    Nobody,
    /// Those with one of these keys, or of these ids of keys, in hex.
    Listed(Vec<String>),
    /// All.
    Everybody,
}

impl Deployers {
    /// Whether the owner with this key may deploy, and keep what is deployed.
    pub fn include(&self, key: &PublicKey) -> bool {
        let id = Owner::from(key).to_string();
        let is_listed = |entry: &String| {
            let entry = entry.strip_prefix("0x").unwrap_or(entry).to_lowercase();
            let bytes = entry.parse::<HexBytes>();
            entry == id || bytes.is_ok_and(|bytes| key.is_sec1(&bytes.0))
        };
        match self {
            Self::Nobody => false,
            Self::Listed(owners) => owners.iter().any(is_listed),
            Self::Everybody => true,
        }
    }
}

/// What agents may have.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which clients may deploy.
    pub deployers: Deployers,
    /// Agents at once.
    pub deployed: usize,
    /// Agents of one owner at once.
    pub per_owner: usize,
    /// Components and machine code of all agents in the store, bytes.
    pub stored: ByteSize,
    /// The same, of one owner.
    pub stored_per_owner: ByteSize,
    /// Machine code in memory, bytes.
    pub loaded: ByteSize,
    /// One component, bytes.
    pub component: u64,
    /// What is kept of an agent's output, bytes.
    pub log: ByteSize,
    /// Limits of one call, above which no manifest's are.
    pub limits: Limits,
    /// Origins that agents may reach, as far as their manifests list them.
    pub outgoing: AllowList,
    /// Connections that one call may have open at once.
    pub connections_per_call: usize,
    /// Agents in a chain, where agents call agents.
    pub depth: usize,
}
