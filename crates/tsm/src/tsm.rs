//! The attester of real hardware: Linux's configfs-tsm for TDX and SEV-SNP.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::entry::{self, Blobs, Entry, Stop};
use crate::error::{Error, Refusal};
use crate::fs::{SystemFs, TsmFs};
use crate::provider::Provider;
use crate::{registers, sealing};
use hypervisor_evidence::{
    Attester, AttesterError, Backend, Capabilities, Quote, REGISTER, REPORT_DATA, SealingKey,
};

/// Shortest blob that can be a quote: a TDX 1.0 body with its signature data. A quoting service that is too old returns nothing.
const MIN_QUOTE: usize = 1020;
/// Longest blob that is read, bytes: the kernel's own bound for quotes to come.
pub(crate) const MAX_QUOTE: usize = 4 * 1024 * 1024;

/// Largest area for a boot log that is read, bytes; firmware reserves 64 KiB to 1 MiB.
const MAX_BOOT_LOG: usize = 4 * 1024 * 1024;
/// What the area is filled with after the log, and how much of it stays: an event may end in such bytes.
const BOOT_LOG_PADDING: u8 = 0xff;
const BOOT_LOG_REST: usize = 64;

/// Most entries that may wait for their removal.
const MAX_LEFT_BEHIND: usize = 16;

/// Where the kernel shows its interfaces. Given in code only: an environment variable could point to forged quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// configfs-tsm's directory of requests.
    pub reports: PathBuf,
    /// The TDX guest's registers.
    pub measurements: PathBuf,
    /// The firmware's log of what it booted: the data of the ACPI table CCEL.
    pub boot_log: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            reports: "/sys/kernel/config/tsm/report".into(),
            measurements: "/sys/devices/virtual/misc/tdx_guest/measurements".into(),
            boot_log: "/sys/firmware/acpi/tables/data/CCEL".into(),
        }
    }
}

/// How often a request is tried when the driver says that it may go better later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// Rest before the next attempt, longer by as much each time.
    pub pause: Duration,
}

impl Default for Retry {
    /// Four attempts within about three seconds of rest. A driver that times out each time (30 seconds) is tried twice.
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// Attempts when the driver itself timed out: each has taken 30 seconds.
const TIMED_OUT_ATTEMPTS: u32 = 2;

/// Quotes and registers of the TEE that this process runs in.
pub struct Tsm {
    fs: Arc<dyn TsmFs>,
    paths: Paths,
    retry: Retry,
    provider: Provider,
    register: Option<PathBuf>,
    left_behind: Mutex<Vec<PathBuf>>,
}

impl std::fmt::Debug for Tsm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tsm")
            .field("paths", &self.paths)
            .field("provider", &self.provider)
            .field("register", &self.register)
            .finish_non_exhaustive()
    }
}

impl Tsm {
    /// The attester of this machine, at the kernel's own paths.
    ///
    /// # Errors
    ///
    /// Where there is no TEE, no driver or no permission; see [`doctor`](crate::doctor).
    pub fn open() -> Result<Self, Error> {
        Self::with(Arc::new(SystemFs), Paths::default(), Retry::default())
    }

    /// The attester behind `fs` and `paths`.
    ///
    /// # Errors
    ///
    /// As [`Tsm::open`].
    pub fn with(fs: Arc<dyn TsmFs>, paths: Paths, retry: Retry) -> Result<Self, Error> {
        let mut left_behind = Vec::new();
        let provider = {
            let entry = Entry::create(fs.as_ref(), &paths.reports)?;
            let provider = entry.provider();
            left_behind.extend(entry.remove().err());
            provider?
        };
        let register = paths.measurements.join(registers::RUNTIME);
        let register = (provider == Provider::TdxGuest
            && registers::read(fs.as_ref(), &register).is_ok())
        .then_some(register);
        Ok(Self {
            fs,
            paths,
            retry,
            provider,
            register,
            left_behind: Mutex::new(left_behind),
        })
    }

    /// The driver that answers.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Where the kernel's interfaces are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Every register that this machine shows, by the name of its file.
    ///
    /// # Errors
    ///
    /// [`Error::RegisterLength`] when one has not 48 bytes.
    pub fn registers(&self) -> Result<Vec<(&'static str, [u8; REGISTER])>, Error> {
        registers::all(self.fs.as_ref(), &self.paths.measurements)
    }

    /// Entries of past requests that could not be removed yet; each request tries again.
    pub fn left_behind(&self) -> usize {
        self.lock_left_behind().len()
    }

    fn lock_left_behind(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.left_behind
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what could not be removed before. Too much of it is an error: each entry holds kernel memory.
    fn sweep(&self) -> Result<(), Error> {
        let mut left = self.lock_left_behind();
        let paths = std::mem::take(&mut *left);
        left.extend(
            paths
                .into_iter()
                .filter_map(|path| entry::remove(self.fs.as_ref(), path).err()),
        );
        if left.len() > MAX_LEFT_BEHIND {
            return Err(Error::LeftBehind {
                count: left.len(),
                path: self.paths.reports.clone(),
            });
        }
        Ok(())
    }

    fn attempt(&self, report_data: &[u8; REPORT_DATA]) -> Result<Blobs, Stop> {
        self.sweep()?;
        let entry = Entry::create(self.fs.as_ref(), &self.paths.reports)?;
        let blobs = entry.quote(self.provider, report_data);
        if let Err(path) = entry.remove() {
            self.lock_left_behind().push(path);
        }
        blobs
    }

    fn blobs(&self, report_data: &[u8; REPORT_DATA]) -> Result<Blobs, Error> {
        let mut attempts = 0;
        let mut timed_out = 0;
        loop {
            attempts += 1;
            let cause = match self.attempt(report_data) {
                Ok(blobs) => return Ok(blobs),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Refused(cause)) => cause,
            };
            if cause == Refusal::TimedOut {
                timed_out += 1;
            }
            if !cause.is_transient()
                || attempts >= self.retry.attempts
                || timed_out >= TIMED_OUT_ATTEMPTS
            {
                return Err(Error::Refused { cause, attempts });
            }
            std::thread::sleep(self.retry.pause.saturating_mul(attempts));
        }
    }
}

impl Tsm {
    /// A quote over `report_data`, of which the caller owns every byte.
    ///
    /// # Errors
    ///
    /// When the platform refuses, stays busy, or returns something that is not a quote over `report_data`.
    pub fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, Error> {
        let Blobs { out, aux } = self.blobs(report_data)?;
        if out.len() < MIN_QUOTE {
            return Err(Error::QuoteTooShort {
                length: out.len(),
                minimum: MIN_QUOTE,
            });
        }
        Ok(match self.provider {
            Provider::TdxGuest => Quote::tdx(out, report_data)?,
            Provider::SevGuest => Quote::snp(out, aux, report_data)?,
        })
    }

    /// Extends the runtime register.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntimeRegister`] where the platform has none.
    pub fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), Error> {
        let path = self.register.as_ref().ok_or(Error::NoRuntimeRegister)?;
        registers::extend(self.fs.as_ref(), path, digest)
    }

    /// The runtime register's present value.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntimeRegister`] where the platform has none.
    pub fn read_register(&self) -> Result<[u8; REGISTER], Error> {
        let path = self.register.as_ref().ok_or(Error::NoRuntimeRegister)?;
        registers::read(self.fs.as_ref(), path)
    }

    /// What the firmware logged of the boot, on TDX; most of its area is padding, which is cut.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], and where the file can not be read.
    pub fn boot_log(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = &self.paths.boot_log;
        let read = match self.provider {
            Provider::TdxGuest => self.fs.read(path, MAX_BOOT_LOG),
            Provider::SevGuest => return Ok(None),
        };
        let mut log = match read {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(Error::TooLarge {
                    path: path.clone(),
                    maximum: MAX_BOOT_LOG,
                });
            }
            Err(error) => return Err(entry::io_error("read", path, &error)),
        };
        let used = log.iter().rposition(|byte| *byte != BOOT_LOG_PADDING);
        let used = used.map_or(0, |last| last.saturating_add(1));
        log.truncate(used.saturating_add(BOOT_LOG_REST));
        Ok(Some(log))
    }

    /// SEV-SNP: a key that the firmware derives. TDX: none, since TDX 1.5 gives a guest none. See [`sealing`].
    ///
    /// # Errors
    ///
    /// [`Error::NoSealingKey`] and [`Error::NoPermission`] when the platform has one and does not give it.
    pub fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, Error> {
        match self.provider {
            Provider::SevGuest => sealing::snp(self.fs.as_ref(), label),
            Provider::TdxGuest => Ok(None),
        }
    }
}

impl Attester for Tsm {
    fn backend(&self) -> Backend {
        self.provider.backend()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            runtime_register: self.register.is_some(),
            certificates: self.provider == Provider::SevGuest,
        }
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, AttesterError> {
        Ok(Tsm::quote(self, report_data)?)
    }

    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), AttesterError> {
        Ok(Tsm::extend(self, digest)?)
    }

    fn read_register(&self) -> Result<[u8; REGISTER], AttesterError> {
        Ok(Tsm::read_register(self)?)
    }

    fn boot_log(&self) -> Result<Option<Vec<u8>>, AttesterError> {
        Ok(Tsm::boot_log(self)?)
    }

    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, AttesterError> {
        Ok(Tsm::sealing_key(self, label)?)
    }
}
