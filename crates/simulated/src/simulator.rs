//! The simulated attester.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dcap_qvl::QuoteCollateralV3;
use hypervisor_evidence::{
    Attester, AttesterError, Backend, Capabilities, Quote, REGISTER, REPORT_DATA, SealingKey, log,
};
use p256::ecdsa::SigningKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::builder::SimulatorBuilder;
use crate::collateral::collateral;
use crate::error::Error;
use crate::keys::{derive, sealing_secret};
use crate::pki::Pki;
use crate::platform::Platform;
use crate::quote::quote;
use crate::td::Td;

/// Index of the register that software extends.
const RUNTIME: usize = 3;

/// A TD that is none: quotes of a root that anyone with the seed can make.
pub struct Simulator {
    pki: Pki,
    platform: Platform,
    td: Td,
    attestation_key: SigningKey,
    root: Vec<u8>,
    collateral: QuoteCollateralV3,
    registers: Mutex<[[u8; REGISTER]; 4]>,
    delay: Duration,
    driver: Mutex<()>,
    sealing: Option<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator")
            .field("fingerprint", &const_hex::encode(self.fingerprint()))
            .field("td", &self.td)
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Options for the simulator of `seed`. The same seed and options give the same bytes, always.
    pub fn builder(seed: &[u8]) -> SimulatorBuilder {
        SimulatorBuilder::new(seed)
    }

    pub(crate) fn new(
        seed: &[u8],
        platform: Platform,
        td: Td,
        delay: Duration,
        sealing: bool,
    ) -> Result<Self, Error> {
        let pki = Pki::new(seed, &platform)?;
        let sealing = sealing
            .then(|| sealing_secret(seed, &td.mrtd, td.attributes))
            .transpose()?;
        Ok(Self {
            attestation_key: derive(seed, "attestation key")?,
            root: pki.root_der()?,
            collateral: collateral(&pki, &platform)?,
            registers: Mutex::new(td.registers),
            driver: Mutex::new(()),
            sealing,
            pki,
            platform,
            td,
            delay,
        })
    }

    /// The root certificate in DER: the trust anchor that a verifier must be told by hand.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// SHA-256 of [`Simulator::root`]. Depends on the seed alone.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.root).into()
    }

    /// Everything a verifier needs beside the quote.
    pub fn collateral(&self) -> &QuoteCollateralV3 {
        &self.collateral
    }

    /// The collateral as JSON, bytes in hex.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn collateral_json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string(&self.collateral)?)
    }

    /// RTMR0 to RTMR3 as they are now.
    pub fn registers(&self) -> [[u8; REGISTER]; 4] {
        *self
            .registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that a driver would return: the quote, and the tail where one was asked for.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn raw_quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Vec<u8>, Error> {
        let _one_at_a_time = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        quote(
            &self.pki,
            &self.platform,
            &self.td,
            &self.attestation_key,
            &self.registers(),
            report_data,
        )
    }
}

impl Attester for Simulator {
    fn backend(&self) -> Backend {
        Backend::Simulated
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            runtime_register: true,
            certificates: false,
        }
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, AttesterError> {
        let blob = self
            .raw_quote(report_data)
            .map_err(AttesterError::platform)?;
        Quote::tdx(blob, report_data).map_err(AttesterError::platform)
    }

    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), AttesterError> {
        let mut registers = self
            .registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(register) = registers.get_mut(RUNTIME) {
            *register = log::extend(register, digest);
        }
        Ok(())
    }

    fn read_register(&self) -> Result<[u8; REGISTER], AttesterError> {
        let [.., register] = self.registers();
        Ok(register)
    }

    /// Of the registers as they are by default.
    fn boot_log(&self) -> Result<Option<Vec<u8>>, AttesterError> {
        Ok(Some(crate::boot_log::boot().0))
    }

    /// Not a TEE: whoever knows the seed makes the same key.
    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, AttesterError> {
        let secret = self.sealing.as_ref();
        Ok(secret.map(|secret| SealingKey::derive(secret.as_slice(), label)))
    }
}
