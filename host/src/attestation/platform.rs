//! What this machine attests with: chosen by the configuration, never by what happens to answer.

use std::sync::Arc;

use hypervisor_attestation::{Attestation, Collateral, Identity, Measured};
use hypervisor_evidence::{Attester, Backend};
use hypervisor_tsm::Tsm;
use hypervisor_vtpm::{Device, Imds, Paths, Tpm, VtpmAttester};

use crate::config::{Attestation as Settings, AttestationBackend};
use crate::error::Error;

/// What the key for agents on the disk is derived for.
const SEALING_LABEL: &[u8] = b"agents";

/// The attester, or why there is none.
pub struct Platform {
    attester: Result<Arc<dyn Attester>, String>,
    collateral: Option<Collateral>,
    simulated_root: Option<[u8; 32]>,
}

impl Platform {
    /// Starts the making of evidence, where there is an attester. `log` is the one that was made on this platform, `tls_key` what
    /// clients pin where the host ends TLS.
    ///
    /// # Errors
    /// When the manifest or the collateral is longer than a verifier reads.
    pub fn start(
        &self,
        identity: Arc<Identity>,
        log: &Arc<Measured>,
        manifest: impl FnOnce() -> Vec<u8>,
        tls_key: Option<[u8; 32]>,
    ) -> Result<Result<Attestation, String>, Error> {
        let attester = match &self.attester {
            Ok(attester) => Arc::clone(attester),
            Err(reason) => return Ok(Err(reason.clone())),
        };
        let (log, collateral) = (Arc::clone(log), self.collateral.clone());
        Attestation::start(attester, identity, log, collateral, manifest(), tls_key)
            .map(Ok)
            .map_err(|e| failed(&e))
    }

    /// A key to seal agents on the disk with; none where the platform gives none.
    pub fn sealing_key(&self) -> Option<hypervisor_agents::SealingKey> {
        let key = self.attester.as_ref().ok()?.sealing_key(SEALING_LABEL);
        match key {
            Ok(key) => key.map(|key| hypervisor_agents::SealingKey::new(key.into_bytes())),
            Err(error) => {
                tracing::warn!(%error, "the platform's sealing key cannot be had: agents are kept in memory only");
                None
            }
        }
    }

    /// No attester at all.
    pub fn none(reason: impl Into<String>) -> Self {
        Self {
            attester: Err(reason.into()),
            collateral: None,
            simulated_root: None,
        }
    }

    /// What `[attestation]` asks for.
    ///
    /// # Errors
    /// A backend that was asked for by name and is not there; collateral that cannot be read.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let mut platform = match settings.backend {
            AttestationBackend::None => Self::none("attestation is switched off"),
            AttestationBackend::Simulated => simulated(settings)?,
            AttestationBackend::Auto => match Tsm::open() {
                Ok(tsm) => Self::of(Arc::new(tsm)),
                Err(error) => Self::none(format!("this machine cannot attest: {error}")),
            },
            AttestationBackend::Tsm => Self::of(Arc::new(Tsm::open().map_err(|e| failed(&e))?)),
            AttestationBackend::Vtpm | AttestationBackend::TsmVtpm => {
                Self::of(Arc::new(vtpm(settings)?))
            }
        };
        if !settings.collateral.as_os_str().is_empty() {
            let path = &settings.collateral;
            let bytes = std::fs::read(path).map_err(|source| Error::FileUnreadable {
                path: path.clone(),
                source,
            })?;
            platform.collateral = Some(Collateral::new(bytes));
        }
        Ok(platform)
    }

    /// One that attests by `attester`.
    fn of(attester: Arc<dyn Attester>) -> Self {
        Self {
            attester: Ok(attester),
            collateral: None,
            simulated_root: None,
        }
    }

    /// The attester.
    ///
    /// # Errors
    /// Why there is none.
    pub fn attester(&self) -> Result<&Arc<dyn Attester>, &str> {
        self.attester.as_ref().map_err(String::as_str)
    }

    /// SHA-256 of the simulated root certificate, where quotes are simulated.
    pub fn simulated_root(&self) -> Option<&[u8; 32]> {
        self.simulated_root.as_ref()
    }

    /// The backend's name in bindings; none where nothing attests.
    pub fn backend(&self) -> Option<Backend> {
        Some(self.attester.as_ref().ok()?.backend())
    }
}

fn vtpm(settings: &Settings) -> Result<VtpmAttester, Error> {
    let device = Device::open(Device::PATH.as_ref()).map_err(|e| failed(&e))?;
    let (tpm, paths) = (Tpm::new(device), Paths::of_linux(settings.ima));
    let opened = match settings.backend {
        AttestationBackend::TsmVtpm => {
            let tsm = Tsm::open().map_err(|e| failed(&e))?;
            VtpmAttester::beside(tpm, &tsm, paths)
        }
        _ => VtpmAttester::azure(tpm, &Imds::default(), paths),
    };
    opened.map_err(|e| failed(&e))
}

#[cfg(not(feature = "simulated"))]
fn simulated(_: &Settings) -> Result<Platform, Error> {
    Err(Error::value(
        "attestation.backend",
        "this build of the host has no simulated backend, which proves nothing; for development and tests build one \
            with `cargo build -p hypervisor --features simulated`, or choose `auto`, `tsm` or `none`",
    ))
}

#[cfg(feature = "simulated")]
fn simulated(settings: &Settings) -> Result<Platform, Error> {
    if settings.simulated_seed.is_empty() {
        return Err(Error::value(
            "attestation.simulated_seed",
            "the simulated backend needs a seed, from which its root is made",
        ));
    }
    let simulator = hypervisor_simulated::Simulator::builder(settings.simulated_seed.as_bytes())
        .driver_delay(settings.simulated_delay)
        .build()
        .map_err(|e| failed(&e))?;
    let collateral = simulator.collateral_json().map_err(|e| failed(&e))?;
    let root = simulator.fingerprint();
    tracing::warn!(
        root = crate::manifest::hex(&root),
        "SIMULATED attestation: evidence of this host proves nothing about any machine"
    );
    Ok(Platform {
        attester: Ok(Arc::new(simulator)),
        collateral: Some(Collateral::new(collateral.into_bytes())),
        simulated_root: Some(root),
    })
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Attestation(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_with_a_tpm_is_refused_where_there_is_none_of_such_a_guest() {
        for backend in [AttestationBackend::Vtpm, AttestationBackend::TsmVtpm] {
            let settings = Settings {
                backend,
                ..Settings::default()
            };
            let refused = Platform::open(&settings).err().unwrap().to_string();
            assert!(refused.contains("TPM"), "{refused}");
        }
    }

    #[cfg(not(feature = "simulated"))]
    #[test]
    fn a_build_without_the_simulator_refuses_it_and_says_how_to_get_one() {
        let settings = Settings {
            backend: AttestationBackend::Simulated,
            simulated_seed: "a seed".to_owned(),
            ..Settings::default()
        };
        let refused = Platform::open(&settings).err().unwrap().to_string();
        assert!(refused.contains("--features simulated"), "{refused}");
    }
}
