//! `[environments]`: code that is set up once and called many times.

use std::time::Duration;

use bytesize::ByteSize;
use hypervisor_agents::Deployers;
use hypervisor_egress::AllowList;
use serde::{Deserialize, Serialize};

use crate::agents::{Deploy, check_owners, deployers, origins};
use crate::error::Error;

/// Most environments, of the host or of one owner.
const MOST: usize = 1_000_000;

/// `[environments]`: code that is set up once and called many times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environments {
    /// Whether clients may set up environments, and use them; by default those that `owners` names.
    pub setup: Deploy,
    /// Who may: public keys of owners, or their ids, in hex.
    pub owners: Vec<String>,
    /// Environments at once; by default `10000`.
    pub environments: usize,
    /// Environments of one owner at once; by default `1000`.
    pub per_owner: usize,
    /// What all of them keep on the disk; by default `16GiB`.
    pub stored: ByteSize,
    /// The same, of one owner; by default `1GiB`.
    pub stored_per_owner: ByteSize,
    /// What is kept in memory of it; least recently used goes first and comes back from the disk; by default `512MiB`.
    pub cached: ByteSize,
    /// How long one stays from its last use, where its owner does not say; by default `1h`.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How long one stays from when it was set up or extended at most; by default `7days`.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// Processor time of a call, where its owner does not say; by default `5s`.
    #[serde(with = "humantime_serde")]
    pub cpu: Duration,
    /// Elapsed time of a call, where its owner does not say; by default `10s`.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
    /// Memory of a call, the engine's own among it, where its owner does not say; by default `128MiB`.
    pub memory: ByteSize,
    /// Origins that environments may reach, as far as their terms list them, in the networks that `[agents]` allows; by default none.
    pub outgoing: Vec<String>,
    /// Rows that are kept of an environment's log; by default `1000`.
    pub log: u64,
    /// How long a log stays after its environment; by default `7days`.
    #[serde(with = "humantime_serde")]
    pub log_keep: Duration,
}

impl Default for Environments {
    fn default() -> Self {
        Self {
            setup: Deploy::default(),
            owners: Vec::new(),
            environments: 10_000,
            per_owner: 1000,
            stored: ByteSize::gib(16),
            stored_per_owner: ByteSize::gib(1),
            cached: ByteSize::mib(512),
            idle: Duration::from_secs(60 * 60),
            lifetime: WEEK,
            cpu: Duration::from_secs(5),
            wall: Duration::from_secs(10),
            memory: ByteSize::mib(128),
            outgoing: Vec::new(),
            log: 1000,
            log_keep: WEEK,
        }
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Environments {
    /// `setup` and `owners`, read.
    pub fn users(&self) -> Deployers {
        deployers(self.setup, &self.owners)
    }

    /// `outgoing`, read.
    ///
    /// # Errors
    /// The entry that is no origin.
    pub fn allowed(&self) -> Result<AllowList, Error> {
        origins("environments.outgoing", &self.outgoing)
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::Value { key, message });
        for (key, value) in [
            ("environments.environments", self.environments),
            ("environments.per_owner", self.per_owner),
        ] {
            if value > MOST {
                return wrong(key, format!("{value} is over {MOST}"));
            }
        }
        for (key, value) in [
            ("environments.idle", self.idle),
            ("environments.lifetime", self.lifetime),
        ] {
            if value.as_secs() == 0 {
                return wrong(key, "must be a second or more".to_owned());
            }
        }
        if self.idle > self.lifetime {
            return wrong("environments.idle", "is longer than `lifetime`".to_owned());
        }
        self.allowed()?;
        check_owners("environments.owners", &self.owners)
    }
}
