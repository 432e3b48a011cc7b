//! `registry.json`: which agents of the registry are deployed, as a JSON object of names and Unix times.
//!
//! Name, manifest and component of such an agent are the operator's to see and to change, so the file is plain, and it is kept
//! without a key too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::{Store, io as io_error, unwritable};
use crate::error::{Damage, StoreError};
use crate::name::Name;

const FILE: &str = "registry.json";

/// Most bytes of the file that are read: more names than an operator has.
const MAX_LENGTH: u64 = 4 << 20;

impl Store {
    /// The registry's agents that are deployed, and when each was: Unix time, microseconds.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn deployed_names(&self) -> Result<BTreeMap<Name, u64>, StoreError> {
        let path = self.registry();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_LENGTH)
            .read_to_end(&mut text)
            .map_err(io_error("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| {
            let reason = format!("{error}; it is an object of names and Unix times");
            let damage = Damage::Content { reason };
            StoreError::Damaged { path, damage }
        })
    }

    /// Notes that an agent of the registry is deployed, since `at`: Unix time, microseconds.
    ///
    /// # Errors
    /// As [`Self::deployed_names`].
    pub fn set_deployed(&self, name: &Name, at: u64) -> Result<(), StoreError> {
        let _changing = self.changing();
        let mut names = self.deployed_names()?;
        names.insert(name.clone(), at);
        self.write_registry(&names)
    }

    /// Notes that an agent of the registry is no longer deployed; false where it was not.
    ///
    /// # Errors
    /// As [`Self::deployed_names`].
    pub fn unset(&self, name: &Name) -> Result<bool, StoreError> {
        let _changing = self.changing();
        let mut names = self.deployed_names()?;
        if names.remove(name).is_none() {
            return Ok(false);
        }
        self.write_registry(&names).map(|()| true)
    }

    fn write_registry(&self, names: &BTreeMap<Name, u64>) -> Result<(), StoreError> {
        let path = self.registry();
        let text = serde_json::to_vec_pretty(names)
            .map_err(|error| unwritable(&path)(io::Error::from(error).into()))?;
        self.write(&path, |file| Ok(file.write_all(&text)?))
    }

    fn registry(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}
