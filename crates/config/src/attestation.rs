//! `[attestation]`: what evidence is made with.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[attestation]`: what this host proves itself with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attestation {
    /// Who makes the quotes; by default `auto`.
    pub backend: AttestationBackend,
    /// Intel's collateral for this platform, JSON, to send with quotes so that they can be verified offline; none by default.
    pub collateral: PathBuf,
    /// With a TPM: whether Linux's list of measured files (IMA) goes with evidence. It can be long.
    pub ima: bool,
    /// From what the root of simulated quotes is made. Whoever knows it can make such quotes too.
    pub simulated_seed: String,
    /// Time that a simulated quote takes; by default `0s`. A real one takes about a second.
    #[serde(with = "humantime_serde")]
    pub simulated_delay: Duration,
}

/// Who makes the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttestationBackend {
    /// The TEE that the host runs in; where it runs in none, nothing.
    Auto,
    /// The TEE that the host runs in; without one the host does not start.
    Tsm,
    /// The TPM of the paravisor that the host runs above, as on Azure; without one the host does not start.
    Vtpm,
    /// The TEE that the host runs in, and beside it a TPM that it vouches for, as on Google Cloud; without both the host does not start.
    TsmVtpm,
    /// A simulation, which proves nothing: for tests and for learning.
    Simulated,
    /// Nothing.
    None,
}

impl Default for Attestation {
    fn default() -> Self {
        Self {
            backend: AttestationBackend::Auto,
            collateral: PathBuf::new(),
            ima: false,
            simulated_seed: String::new(),
            simulated_delay: Duration::ZERO,
        }
    }
}
