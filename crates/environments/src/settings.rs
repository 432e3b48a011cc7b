//! What the operator lets environments have.

use std::time::Duration;

use hypervisor_protocol::environment::CallLimits;

/// What environments may have.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Environments at once.
    pub environments: usize,
    /// Environments of one owner at once.
    pub per_owner: usize,
    /// What all of them keep in the store, bytes.
    pub stored: u64,
    /// The same, of one owner.
    pub stored_per_owner: u64,
    /// States in memory, bytes; least recently used goes first and comes back from the store.
    pub cached: u64,
    /// How long one stays from its last use, where its owner does not say.
    pub idle: Duration,
    /// How long it stays at most, from when it was set up or extended; also where its owner does not say.
    pub lifetime: Duration,
    /// Limits of a call, where its owner does not say.
    pub limits: CallLimits,
    /// Limits of any call.
    pub most: CallLimits,
    /// Bytes of an answer with what was printed.
    pub output: u64,
    /// Rows that are kept of a log.
    pub log_rows: u64,
    /// How long a log stays after its environment.
    pub log_keep: Duration,
}
