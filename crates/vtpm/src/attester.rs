//! The attester: a quote of the hardware, made once, that vouches for the TPM's key, and a quote of the TPM for each report data.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hypervisor_evidence::evidence::{MAX_BOOT_LOG, MAX_IMA_LOG};
use hypervisor_evidence::vtpm::{Hardware, HclReport, TpmQuote, attestation_key, report_data};
use hypervisor_evidence::{
    Attester, AttesterError, Backend, Capabilities, Quote, QuoteFormat, REGISTER, REPORT_DATA,
    Vtpm, snp,
};

use crate::error::Error;
use crate::imds::Imds;
use crate::tpm::Tpm;

/// Where Azure's paravisor puts its report, and its TPM's attestation key.
const HCL_REPORT: u32 = 0x0140_0001;
const HCL_KEY: u32 = 0x8100_0003;
/// Where Google's TPM has the template of its attestation key (RSA).
const KEY_TEMPLATE: u32 = 0x01c1_0001;
/// How often a quote is made anew when PCRs changed between their reading and it.
const ATTEMPTS: u32 = 8;

/// Logs that go with a TPM's quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The firmware's log of what it booted.
    pub boot_log: PathBuf,
    /// The files that Linux measured; none are handed out where none.
    pub ima: Option<PathBuf>,
}

impl Paths {
    /// Linux's own paths; with the list of measured files if `ima`.
    pub fn of_linux(ima: bool) -> Self {
        Self {
            boot_log: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            ima: ima.then(|| "/sys/kernel/security/ima/binary_runtime_measurements".into()),
        }
    }
}

/// Quotes of a TPM whose key the hardware vouches for.
#[derive(Debug)]
pub struct VtpmAttester {
    tpm: Mutex<Tpm>,
    key: u32,
    runtime_data: Vec<u8>,
    hardware: Quote,
    paths: Paths,
}

impl VtpmAttester {
    /// The TPM of Azure's paravisor. The hardware's report is the paravisor's of when the guest booted.
    ///
    /// # Errors
    /// Where this is no such guest, and when `imds` gives no quote or certificate.
    pub fn azure(mut tpm: Tpm, imds: &Imds, paths: Paths) -> Result<Self, Error> {
        let block = tpm.nv_read(HCL_REPORT)?;
        let report = HclReport::parse(&block)?;
        let key = attestation_key(report.runtime_data)?;
        if tpm.quoting_key(HCL_KEY)? != key {
            return Err(Error::Key {
                reason: "is not the one that the paravisor's report names; restart the guest",
            });
        }
        let data = report_data(report.runtime_data);
        let hardware = match report.hardware {
            Hardware::Tdx => Quote::tdx(imds.quote(report.report)?, &data)?,
            Hardware::SevSnp => {
                let table = snp::table_of_vcek(&imds.vcek()?);
                Quote::snp(report.report.to_vec(), Some(table), &data)?
            }
        };
        Ok(Self {
            tpm: Mutex::new(tpm),
            key: HCL_KEY,
            runtime_data: report.runtime_data.to_vec(),
            hardware,
            paths,
        })
    }

    /// A TPM for which this guest vouches, by having `hardware` quote over its key: the TPM is not the hardware's then, but whose the cloud
    /// says that it is.
    ///
    /// # Errors
    /// Where the TPM has no template of an attestation key, and as [`Attester::quote`].
    pub fn beside(mut tpm: Tpm, hardware: &dyn Attester, paths: Paths) -> Result<Self, Error> {
        let template = tpm.nv_read(KEY_TEMPLATE)?;
        let key = tpm.create_primary(&template)?;
        let runtime_data = tpm.quoting_key(key)?.runtime_data();
        let data = report_data(&runtime_data);
        let hardware = hardware.quote(&data).map_err(Error::Beside)?;
        Ok(Self {
            tpm: Mutex::new(tpm),
            key,
            runtime_data,
            hardware,
            paths,
        })
    }

    fn quoted(&self, data: &[u8; REPORT_DATA]) -> Result<Vtpm, Error> {
        let mut tpm = self.tpm.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ATTEMPTS {
            let pcrs = tpm.pcrs()?;
            let (quote, signature) = tpm.quote(self.key, data)?;
            let vtpm = Vtpm::new(self.runtime_data.clone(), quote, signature, pcrs);
            if TpmQuote::parse(&vtpm.quote.0)?.pcr_digest == vtpm.pcr_digest() {
                return Ok(vtpm);
            }
        }
        Err(Error::Restless { attempts: ATTEMPTS })
    }

    fn quote_over(&self, data: &[u8; REPORT_DATA]) -> Result<Quote, Error> {
        let vtpm = self.quoted(data)?;
        let mut quote = self.hardware.clone().with_vtpm(&vtpm, data)?;
        // After the quote: the list may go on, and must not end before it.
        if let Some(path) = &self.paths.ima {
            quote.ima = Some(read(path, MAX_IMA_LOG)?);
        }
        Ok(quote)
    }
}

fn read(path: &Path, maximum: usize) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Log {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(maximum).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > maximum {
        return Err(Error::LogTooLarge {
            path: path.to_owned(),
            maximum,
        });
    }
    Ok(bytes)
}

impl Attester for VtpmAttester {
    fn backend(&self) -> Backend {
        match self.hardware.format {
            QuoteFormat::SevSnp => Backend::SevSnp,
            _ => Backend::Tdx,
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            runtime_register: false,
            certificates: self.hardware.certificates.is_some(),
        }
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, AttesterError> {
        Ok(self.quote_over(report_data)?)
    }

    fn extend(&self, _digest: &[u8; REGISTER]) -> Result<(), AttesterError> {
        Err(AttesterError::NoRuntimeRegister)
    }

    fn read_register(&self) -> Result<[u8; REGISTER], AttesterError> {
        Err(AttesterError::NoRuntimeRegister)
    }

    fn boot_log(&self) -> Result<Option<Vec<u8>>, AttesterError> {
        match read(&self.paths.boot_log, MAX_BOOT_LOG) {
            Ok(log) => Ok(Some(log)),
            Err(Error::Log { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
