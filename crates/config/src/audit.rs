//! `[audit]`: the trail of what the host did.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The fewest entries that are kept: a client has to have time to ask for its own.
const FEWEST: u64 = 10_000;

/// `[audit]`: the trail of what the host did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Whether there is one; by default `true`.
    pub trail: bool,
    /// Plain requests to agents that cost nothing, too; by default `false`: those that are paid for and those that are sealed.
    pub plain: bool,
    /// Entries that are kept; of older ones the hashes stay, so that it shows that nothing was changed; by default
    /// `5000000`.
    pub entries: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            trail: true,
            plain: false,
            entries: 5_000_000,
        }
    }
}

impl Audit {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.entries < FEWEST {
            return Err(Error::Value {
                key: "audit.entries",
                message: format!("{} is under {FEWEST}", self.entries),
            });
        }
        Ok(())
    }
}
