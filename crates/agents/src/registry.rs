//! The operator's folder of agents: `NAME/agent.toml` and `NAME/agent.wasm`, the folder's name being the agent's.
//!
//! Paths are resolved below the folder and never outside it: a symbolic link that leaves it is refused, one that stays inside
//! is followed. Nothing is kept in memory, so an agent that the operator adds is found by the next call.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};
use zeroize::Zeroizing;

use crate::error::RegistryError;
use crate::manifest::{MAX_TEXT, Manifest};
use crate::name::Name;

/// The manifest's file name.
const MANIFEST: &str = "agent.toml";

/// The component's file name.
const COMPONENT: &str = "agent.wasm";

/// The operator's folder of agents.
#[derive(Clone, Debug)]
pub struct Registry {
    path: PathBuf,
}

/// An agent that can be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    /// Its name, which is also its folder's.
    pub name: Name,
    /// Its manifest.
    pub manifest: Manifest,
    /// Size and time of change of its component, where the file system has them.
    pub stamp: Option<(u64, SystemTime)>,
}

/// What a registry holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The agents, by name.
    pub agents: Vec<RegistryEntry>,
    /// What is wrong with the rest.
    pub broken: Vec<RegistryError>,
}

/// An agent of the registry with its component.
pub struct RegistryAgent {
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest's text.
    pub manifest_text: Zeroizing<String>,
    /// Its component, not looked at here.
    pub component: Vec<u8>,
}

impl Registry {
    /// The registry in a folder. One that does not exist is an empty registry, until it does.
    ///
    /// # Errors
    /// [`RegistryError::NotAFolder`], [`RegistryError::Unreadable`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let registry = Self { path: path.into() };
        registry.folder()?;
        Ok(registry)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The agents, each with a sound manifest and a component, and what is wrong with the rest. Files beside the agents' folders
    /// are passed over, and so is every name that begins with a dot.
    ///
    /// # Errors
    /// [`RegistryError::Unreadable`] for the folder itself.
    pub fn list(&self) -> Result<Listing, RegistryError> {
        let mut listing = Listing::default();
        let Some(folder) = self.folder()? else {
            return Ok(listing);
        };
        let unreadable = |source| self.unreadable(Path::new(""), source);
        for entry in folder.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let file_name = entry.file_name();
            let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_plain || file_name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match self.entry(&folder, Path::new(&file_name)) {
                Ok(entry) => listing.agents.push(entry),
                Err(error) => listing.broken.push(error),
            }
        }
        listing.agents.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// One agent, with a component of at most `maximum` bytes.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::NotFound`] where there is no such folder.
    pub fn load(&self, name: &Name, maximum: u64) -> Result<RegistryAgent, RegistryError> {
        let not_found = || RegistryError::NotFound(name.clone());
        let folder = self.folder()?.ok_or_else(not_found)?;
        let below = Path::new(name.as_str());
        if let Err(error) = folder.symlink_metadata(below)
            && error.kind() == io::ErrorKind::NotFound
        {
            return Err(not_found());
        }
        let (manifest, manifest_text) = self.manifest(&folder, name)?;
        let component = self.read(&folder, &below.join(COMPONENT), maximum)?;
        Ok(RegistryAgent {
            manifest,
            manifest_text,
            component,
        })
    }

    /// The folder, if it exists.
    fn folder(&self) -> Result<Option<Dir>, RegistryError> {
        match Dir::open_ambient_dir(&self.path, ambient_authority()) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let path = self.path.clone();
                Err(RegistryError::NotAFolder(path))
            }
            Err(error) => Err(self.unreadable(Path::new(""), error)),
        }
    }

    fn entry(&self, folder: &Dir, below: &Path) -> Result<RegistryEntry, RegistryError> {
        let name: Name = below
            .to_string_lossy()
            .parse()
            .map_err(|reason| RegistryError::FolderName(self.path.join(below), reason))?;
        let (manifest, _) = self.manifest(folder, &name)?;
        let component = self.file(folder, &below.join(COMPONENT))?;
        let changed = component.modified().ok();
        Ok(RegistryEntry {
            name,
            manifest,
            stamp: changed.map(|at| (component.len(), at.into_std())),
        })
    }

    fn manifest(
        &self,
        folder: &Dir,
        name: &Name,
    ) -> Result<(Manifest, Zeroizing<String>), RegistryError> {
        let below = Path::new(name.as_str()).join(MANIFEST);
        let path = || self.path.join(&below);
        let text = Zeroizing::new(self.read(folder, &below, MAX_TEXT as u64)?);
        let manifest =
            Manifest::parse(&text).map_err(|reason| RegistryError::Manifest(path(), reason))?;
        if manifest.name != *name {
            return Err(RegistryError::OtherName(path(), manifest.name));
        }
        // What was parsed is UTF-8, so nothing is replaced.
        let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
        Ok((manifest, text))
    }

    /// What the file system knows of a file.
    fn file(&self, folder: &Dir, below: &Path) -> Result<Metadata, RegistryError> {
        let metadata = folder
            .metadata(below)
            .map_err(|error| self.unreadable(below, error))?;
        if metadata.is_file() {
            Ok(metadata)
        } else {
            let path = self.path.join(below);
            Err(RegistryError::NotAFile(path))
        }
    }

    fn read(&self, folder: &Dir, below: &Path, maximum: u64) -> Result<Vec<u8>, RegistryError> {
        let unreadable = |error| self.unreadable(below, error);
        // To open a named pipe would wait for its writer.
        self.file(folder, below)?;
        let file = folder.open(below).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len().min(maximum);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        // One byte more than allowed tells a full file from one that is too long.
        file.take(maximum.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > maximum {
            let path = self.path.join(below);
            return Err(RegistryError::TooLarge(path, maximum));
        }
        Ok(bytes)
    }

    fn unreadable(&self, below: &Path, source: io::Error) -> RegistryError {
        let path = self.path.join(below);
        // A path that leaves the folder is refused before the operating system is asked: no number of its comes with it.
        let is_own = source.raw_os_error().is_none();
        if is_own && source.kind() == io::ErrorKind::PermissionDenied {
            RegistryError::Outside(path)
        } else {
            RegistryError::Unreadable(path, source)
        }
    }
}
