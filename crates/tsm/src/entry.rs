//! One request: a private directory under `report`, its files, and its end.
//!
//! Documentation/ABI/testing/configfs-tsm-report. The files appear with the directory. What is written to `inblob` takes effect
//! when the file is closed, and an error then is lost: a wrong length shows when `outblob` is read. Reading `outblob` makes the
//! quote. `generation` counts writes: exactly one, or somebody else wrote.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Refusal};
use crate::fs::TsmFs;
use crate::provider::{Provider, printable};
use crate::tsm::MAX_QUOTE;
use hypervisor_evidence::REPORT_DATA;

/// Most bytes of a file of one line.
const LINE: usize = 64;
/// Random bytes in the name of an entry.
const NAME: usize = 16;

/// What stopped a request.
pub(crate) enum Stop {
    /// The driver's answer; may be worth another attempt.
    Refused(Refusal),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What the platform returned, uncut and unchecked.
pub(crate) struct Blobs {
    pub(crate) out: Vec<u8>,
    pub(crate) aux: Option<Vec<u8>>,
}

/// A private entry. Whoever makes one must [`Entry::remove`] it.
pub(crate) struct Entry<'a> {
    fs: &'a dyn TsmFs,
    path: PathBuf,
}

impl<'a> Entry<'a> {
    /// Makes an entry with a name that nobody can guess.
    pub(crate) fn create(fs: &'a dyn TsmFs, reports: &Path) -> Result<Self, Error> {
        let mut random = [0; NAME];
        getrandom::fill(&mut random).map_err(|_| Error::Random)?;
        let path = reports.join(format!("hypervisor-{}", const_hex::encode(random)));
        fs.make_dir(&path).map_err(|error| match errno(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Error::NotOffered {
                path: reports.to_owned(),
            },
            // The kernel refuses entries while no driver is registered.
            Some(Errno::NXIO) => Error::NoProvider,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Error::NoPermission {
                path: reports.to_owned(),
            },
            _ => io_error("make", &path, &error),
        })?;
        Ok(Self { fs, path })
    }

    /// The driver behind this entry.
    pub(crate) fn provider(&self) -> Result<Provider, Error> {
        Provider::parse(&self.line("provider")?)
    }

    /// One quote over `report_data`, as the platform returns it.
    pub(crate) fn quote(
        &self,
        provider: Provider,
        report_data: &[u8; REPORT_DATA],
    ) -> Result<Blobs, Stop> {
        if self.provider()? != provider {
            return Err(Error::ProviderChanged.into());
        }
        if provider == Provider::SevGuest {
            self.check_privilege()?;
        }
        let inblob = self.path.join("inblob");
        self.fs
            .write(&inblob, report_data)
            .map_err(|error| stop("write", &inblob, &error))?;
        let out = self.blob("outblob")?;
        let aux = match provider {
            Provider::SevGuest => self.optional_blob("auxblob")?,
            Provider::TdxGuest => None,
        };
        let generation = self.line("generation")?;
        if generation.trim_ascii_end() != b"1" {
            return Err(Error::Generation {
                found: printable(&generation),
            }
            .into());
        }
        Ok(Blobs { out, aux })
    }

    /// Removes the entry; its path where that fails, to try again later.
    pub(crate) fn remove(self) -> Result<(), PathBuf> {
        remove(self.fs, self.path)
    }

    /// Under a service module the guest's VMPL is not 0, and the firmware would refuse a report of VMPL 0.
    fn check_privilege(&self) -> Result<(), Error> {
        let path = self.path.join("privlevel_floor");
        let content = match self.fs.read(&path, LINE) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("read", &path, &error)),
        };
        let floor = std::str::from_utf8(content.trim_ascii_end())
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(u32::MAX);
        match floor {
            0 => Ok(()),
            floor => Err(Error::Privilege { floor }),
        }
    }

    fn line(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path.join(name);
        self.fs
            .read(&path, LINE)
            .map_err(|error| match errno(&error) {
                Some(Errno::NXIO) => Error::NoProvider,
                _ => io_error("read", &path, &error),
            })
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, Stop> {
        let path = self.path.join(name);
        self.fs
            .read(&path, MAX_QUOTE)
            .map_err(|error| stop("read", &path, &error))
    }

    /// A blob whose file older kernels and other platforms lack.
    fn optional_blob(&self, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        let path = self.path.join(name);
        match self.fs.read(&path, MAX_QUOTE) {
            Ok(blob) => Ok(Some(blob)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(stop("read", &path, &error)),
        }
    }
}

/// Removes an entry of configfs; gives the path back where it stays.
pub(crate) fn remove(fs: &dyn TsmFs, path: PathBuf) -> Result<(), PathBuf> {
    match fs.remove_dir(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(path),
    }
}

/// Sorts an error of a blob by what the drivers answer.
fn stop(action: &'static str, path: &Path, error: &io::Error) -> Stop {
    if error.kind() == io::ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
        return Stop::Failed(Error::TooLarge {
            path: path.to_owned(),
            maximum: MAX_QUOTE,
        });
    }
    Stop::Refused(match errno(error) {
        Some(Errno::BUSY) => Refusal::Busy,
        Some(Errno::INTR) => Refusal::Interrupted,
        Some(Errno::TIMEDOUT) => Refusal::TimedOut,
        Some(Errno::IO) => Refusal::Failed,
        Some(Errno::INVAL) => Refusal::Invalid,
        Some(Errno::FBIG) => Refusal::TooBig,
        Some(Errno::NXIO) => return Stop::Failed(Error::NoProvider),
        _ => return Stop::Failed(io_error(action, path, error)),
    })
}

pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

pub(crate) fn io_error(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
