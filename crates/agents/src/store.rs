//! What survives a restart: agents with their components and machine code, sealed, one file each.
//!
//! ```text
//! <folder>/<64 hex digits>.agent     an agent; the digits are a keyed hash of its address and tell nothing of it
//! <folder>/registry.json             which agents of the registry are deployed; nothing in it is secret
//! ```
//!
//! A file is written whole or not at all: beside its place, brought to the disk, renamed. One that is damaged, foreign or sealed
//! by another key is reported and left alone. What is not detected is an older file of the same agent in a newer one's
//! place, and a file that is gone: whoever has the disk can roll an agent back, and can not change, mix or read any.
//!
//! Every call waits for the disk.

mod contents;
mod deployed;
mod file;
mod keys;
mod record;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

pub use keys::SealingKey;
pub use record::{Head, MAX_DETAILS, MAX_FINGERPRINT, Record};

use crate::error::{Damage, StoreError};
use crate::manifest::Manifest;
use crate::name::{Address, Owner};
use contents::Contents;
use file::Sealed;
use keys::Keys;

/// How files of agents end.
const EXTENSION: &str = "agent";

/// How files begin that are being written; a crash may leave one behind.
const UNFINISHED: &str = ".unfinished-";

/// What survives a restart.
pub struct Store {
    folder: PathBuf,
    keys: Option<Keys>,
    /// Held while files change, so that a file is not rewritten from what was read before another change.
    changing: Mutex<()>,
}

/// What a store holds.
#[derive(Debug, Default)]
pub struct Stored {
    /// The heads of the agents, by address.
    pub agents: Vec<Head>,
    /// Files that can not be read as agents of this store.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// The store in a folder, which is made when something is first written. Without a key no agent is kept: to put one does
    /// nothing, and there is none to be read.
    ///
    /// Files that a crash left half written are removed.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Seal`].
    pub fn open(folder: impl Into<PathBuf>, key: Option<SealingKey>) -> Result<Self, StoreError> {
        let store = Self {
            folder: folder.into(),
            keys: key.map(|key| Keys::derive(&key)).transpose()?,
            changing: Mutex::new(()),
        };
        for path in store.files()? {
            let file_name = path.file_name().unwrap_or_default();
            if file_name
                .as_encoded_bytes()
                .starts_with(UNFINISHED.as_bytes())
            {
                fs::remove_file(&path).map_err(io("remove", &path))?;
            }
        }
        Ok(store)
    }

    /// Whether agents are kept.
    pub fn is_persistent(&self) -> bool {
        self.keys.is_some()
    }

    /// Reads the head of every agent; components and machine code stay on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`] for the folder. What is wrong with single files is in the answer.
    pub fn list(&self) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        let Some(keys) = &self.keys else {
            return Ok(stored);
        };
        for path in self.files()? {
            if path.extension().is_some_and(|it| it == EXTENSION) {
                match self.head(keys, &path) {
                    Ok(head) => stored.agents.push(head),
                    Err(error) => stored.damaged.push(error),
                }
            }
        }
        stored.agents.sort_by_cached_key(Head::address);
        Ok(stored)
    }

    /// Keeps an agent, in place of an earlier one of its address.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::TooLarge`], [`StoreError::Io`], [`StoreError::Random`], [`StoreError::Seal`].
    pub fn put(&self, record: &Record<'_>) -> Result<(), StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        let manifest = Manifest::parse(record.manifest_text.as_bytes())?;
        let address = Address {
            name: manifest.name,
            owner: record.owner.map_or(Owner::Operator, Owner::from),
        };
        let _changing = self.changing();
        self.seal(keys, &address, record)
    }

    /// An agent's machine code, if it was made under this fingerprint; `None` means that it has to be compiled again.
    /// `component` is the SHA-256 of the component that the caller means: an agent may be replaced at any time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Replaced`], [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn load_code(
        &self,
        address: &Address,
        component: &[u8; 32],
        fingerprint: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (path, mut sealed, contents) = self.contents(address, component)?;
        if contents.code_fingerprint != fingerprint {
            return Ok(None);
        }
        let code = sealed.code(&contents).map_err(unreadable(&path))?;
        Ok(Some(code))
    }

    /// An agent's component. `component` is the SHA-256 of the one that the caller means.
    ///
    /// # Errors
    /// As [`Self::load_code`].
    pub fn load_component(
        &self,
        address: &Address,
        component: &[u8; 32],
    ) -> Result<Vec<u8>, StoreError> {
        let (path, mut sealed, contents) = self.contents(address, component)?;
        sealed.component(&contents).map_err(unreadable(&path))
    }

    /// Replaces an agent's machine code, made from the component with the SHA-256 `component`.
    ///
    /// # Errors
    /// As [`Self::load_code`], and as [`Self::put`]. Without a key there is no agent: [`StoreError::NotFound`].
    pub fn update_code(
        &self,
        address: &Address,
        component: &[u8; 32],
        code: &[u8],
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        let keys = self.keys.as_ref().ok_or(StoreError::NotFound)?;
        let _changing = self.changing();
        let (path, mut sealed, contents) = self.contents(address, component)?;
        let component = sealed.component(&contents).map_err(unreadable(&path))?;
        let damaged = |damage| StoreError::Damaged {
            path: path.clone(),
            damage,
        };
        let owner = contents.owner().map_err(damaged)?;
        let record = Record {
            owner: owner.as_ref(),
            manifest_text: &contents.manifest,
            component: &component,
            code,
            code_fingerprint: fingerprint,
            deployed_at: contents.deployed_at,
            details: &contents.details.0,
        };
        self.seal(keys, address, &record)
    }

    /// Forgets an agent, damaged or not; false where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, address: &Address) -> Result<bool, StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(false);
        };
        let _changing = self.changing();
        let path = self.path(&keys.file_id(address));
        match fs::remove_file(&path) {
            Ok(()) => sync(&self.folder).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io("remove", &path)(error)),
        }
    }

    /// Reads the head of one file, whose name has to be the one that this store would give it.
    fn head(&self, keys: &Keys, path: &Path) -> Result<Head, StoreError> {
        let damaged = |damage| StoreError::Damaged {
            path: path.to_owned(),
            damage,
        };
        let stem = path.file_stem().unwrap_or_default().as_encoded_bytes();
        let mut id = [0; 32];
        // A second spelling of the same digits would make two agents of one.
        if const_hex::decode_to_slice(stem, &mut id).is_err() || path != self.path(&id) {
            return Err(damaged(Damage::Foreign));
        }
        let file = File::open(path).map_err(io("read", path))?;
        let (_, contents) = Sealed::open(file, keys, id).map_err(unreadable(path))?;
        let head = contents.into_head().map_err(damaged)?;
        if keys.file_id(&head.address()) == id {
            Ok(head)
        } else {
            let reason = "it is another agent's".to_owned();
            Err(damaged(Damage::Content { reason }))
        }
    }

    /// Opens an agent's file and reads its head.
    fn contents(
        &self,
        address: &Address,
        component: &[u8; 32],
    ) -> Result<(PathBuf, Sealed<'_>, Contents), StoreError> {
        let keys = self.keys.as_ref().ok_or(StoreError::NotFound)?;
        let id = keys.file_id(address);
        let path = self.path(&id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound);
            }
            Err(error) => return Err(io("read", &path)(error)),
        };
        let (sealed, contents) = Sealed::open(file, keys, id).map_err(unreadable(&path))?;
        if contents.digest.0 != *component {
            return Err(StoreError::Replaced);
        }
        Ok((path, sealed, contents))
    }

    fn seal(&self, keys: &Keys, address: &Address, record: &Record<'_>) -> Result<(), StoreError> {
        let id = keys.file_id(address);
        let contents = Contents::new(record)?;
        self.write(&self.path(&id), |file| {
            file::seal(file, keys, &id, &contents, record)
        })
    }

    /// Writes a file beside its place, brings it to the disk, and renames it: after a crash there is the old one or the new.
    fn write(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), file::Failure>,
    ) -> Result<(), StoreError> {
        self.make_folder()?;
        let mut unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.folder)
            .map_err(io("write below", &self.folder))?;
        fill(&mut unfinished).map_err(unwritable(path))?;
        unfinished.as_file().sync_all().map_err(io("write", path))?;
        unfinished
            .persist(path)
            .map_err(|error| io("write", path)(error.error))?;
        sync(&self.folder)
    }

    /// Makes the folder, if it is not there.
    fn make_folder(&self) -> Result<(), StoreError> {
        if self.folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(io("make", &self.folder))?;
        match self.folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
            _ => sync(Path::new(".")),
        }
    }

    /// The regular files of the folder, and none where there is no folder.
    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let unreadable = || io("read", &self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable()(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable())?;
            // Links are not followed, and pipes would be waited for.
            if entry.file_type().map_err(unreadable())?.is_file() {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    fn path(&self, id: &[u8; 32]) -> PathBuf {
        let name = const_hex::encode(id);
        self.folder.join(name).with_extension(EXTENSION)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        // It guards no value, so there is none that a panic could leave half changed.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of a component, by which calls say which one they mean.
pub fn digest(component: &[u8]) -> [u8; 32] {
    Sha256::digest(component).into()
}

/// Brings the entries of a folder to the disk.
fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io("write", folder))
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

fn unreadable(path: &Path) -> impl FnOnce(file::Failure) -> StoreError {
    failed("read", path)
}

fn unwritable(path: &Path) -> impl FnOnce(file::Failure) -> StoreError {
    failed("write", path)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(file::Failure) -> StoreError {
    let path = path.to_owned();
    move |failure| match failure {
        file::Failure::Damage(damage) => StoreError::Damaged { path, damage },
        file::Failure::Seal(reason) => StoreError::Seal { reason },
        file::Failure::Random => StoreError::Random,
        file::Failure::Io(source) => StoreError::Io {
            action,
            path,
            source,
        },
    }
}
