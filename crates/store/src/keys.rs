//! The keys of a store.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::private::{io, private_file, write_new};
use crate::ring::{Ring, Slots};
use crate::seal::{KeyId, Sealer};
use crate::store::{Table, Under};

const ID_LABEL: &[u8] = b"hypervisor/v1 store key-id";

/// A key under which rows are sealed, erased on drop. It has to be the same after a restart, and no one else's.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// A key of these bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A key that nobody has.
    ///
    /// # Errors
    /// [`Error::Seal`] where the operating system gives no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| Error::Seal("no random numbers"))?;
        Ok(Self(bytes))
    }

    /// The key in a file, which is made when it is not there.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            write_new(path, Self::random()?.0.as_slice())?;
        }
        Self::read(private_file(path)?, path)
    }

    /// The key in a file that somebody else keeps, who lets no others read it.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::OpenKeyFile`], [`Error::Io`].
    pub fn given(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(io("read", path))?;
        let metadata = file.metadata().map_err(io("read", path))?;
        if metadata.permissions().mode() & 0o007 != 0 {
            return Err(Error::OpenKeyFile(path.to_owned()));
        }
        Self::read(file, path)
    }

    fn read(file: File, path: &Path) -> Result<Self, Error> {
        // One byte more than a key tells a longer file.
        let mut bytes = Zeroizing::new(Vec::with_capacity(33));
        let read = file.take(33).read_to_end(&mut bytes);
        read.map_err(io("read", path))?;
        let key: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| Error::KeyFile(path.to_owned()))?;
        Ok(Self(Zeroizing::new(*key)))
    }

    /// What tells keys apart and nothing of them: tables that are sealed under a key are called by it.
    ///
    /// # Errors
    /// As [`Self::derive`].
    pub fn id(&self) -> Result<KeyId, Error> {
        self.derive(ID_LABEL).map(|id| *id)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for `label`, by HKDF-SHA-256 (RFC 5869); different labels give independent keys.
    ///
    /// # Errors
    /// [`Error::Seal`] for more bytes than HKDF has.
    pub fn derive<const N: usize>(&self, label: &[u8]) -> Result<Zeroizing<[u8; N]>, Error> {
        let mut derived = Zeroizing::new([0; N]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand(label, derived.as_mut_slice())
            .map_err(|_| Error::Seal("key derivation failed"))?;
        Ok(derived)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").finish_non_exhaustive()
    }
}

/// The keys of a store: two of its own, or those that hosts share.
pub struct Keys(pub(crate) Held);

pub(crate) enum Held {
    Own {
        platform: Sealer,
        file: Sealer,
        /// Whether the platform gave its key, so that what is under it survives a restart.
        is_lasting: bool,
    },
    Shared(Arc<Ring>),
}

impl Keys {
    /// `platform`: the platform's sealing key, where it gives one. `file`: the one beside the store.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn new(platform: Option<&SealingKey>, file: &SealingKey) -> Result<Self, Error> {
        Ok(Self(Held::Own {
            is_lasting: platform.is_some(),
            platform: match platform {
                Some(key) => Sealer::new(key)?,
                None => Sealer::new(&SealingKey::random()?)?,
            },
            file: Sealer::new(file)?,
        }))
    }

    /// One key that seals everything that hosts share, and stays.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn shared(key: &SealingKey) -> Result<Self, Error> {
        Ok(Self::of(&Arc::new(Ring::of(key)?)))
    }

    /// The keys of a fleet.
    pub fn of(ring: &Arc<Ring>) -> Self {
        Self(Held::Shared(Arc::clone(ring)))
    }
}

/// The keys of a store at one moment: what is sealed at once is under the same ones.
pub(crate) enum Moment<'a> {
    Own {
        platform: &'a Sealer,
        file: &'a Sealer,
    },
    Shared(Arc<Slots>),
}

impl Keys {
    pub(crate) fn now(&self) -> Moment<'_> {
        match &self.0 {
            Held::Own { platform, file, .. } => Moment::Own { platform, file },
            Held::Shared(ring) => Moment::Shared(ring.slots()),
        }
    }

    /// Whether there is another key to write under than those of this moment, under which nothing is taken any more.
    pub(crate) fn go_on_from(&self, moment: &Moment<'_>) -> bool {
        match (&self.0, moment) {
            (Held::Shared(ring), Moment::Shared(slots)) => ring.go_on(slots.current.id()),
            _ => false,
        }
    }
}

impl Moment<'_> {
    /// What seals rows of a table.
    pub(crate) fn sealer(&self, table: Table) -> &Sealer {
        match (self, table.under) {
            (Self::Own { platform, .. }, Under::Platform) => platform,
            (Self::Own { file, .. }, Under::File) => file,
            (Self::Shared(slots), _) => &slots.current.sealer,
        }
    }

    /// What opens a row of a table.
    pub(crate) fn opener(&self, table: Table, sealed: &[u8]) -> Result<&Sealer, Error> {
        match self {
            Self::Own { .. } => Ok(self.sealer(table)),
            Self::Shared(slots) => slots.of(table.name, sealed),
        }
    }
}
