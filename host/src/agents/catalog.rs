//! What the registry offers beside what is deployed, for searches: read again when it was last read a while ago.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hypervisor_agents::{Index, Manifest, Name, Registry, RegistryError};

use crate::executor::sha256;

/// How old the catalog may be.
const FRESH: Duration = Duration::from_secs(5);
/// Numbers of the catalog's entries in the index begin here; deployed agents count from 1.
const FIRST: u64 = 1 << 62;

/// The agents of the registry.
pub(super) struct Catalog {
    folder: PathBuf,
    /// Bytes of a component at most.
    most: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    read: Option<Instant>,
    by_name: HashMap<Name, Entry>,
    next: u64,
}

/// One agent of the registry.
#[derive(Clone)]
pub(super) struct Entry {
    id: u64,
    pub(super) manifest: Manifest,
    pub(super) digest: [u8; 32],
    /// Size and time of change of the component: while both stay, so does its digest.
    stamp: Option<(u64, SystemTime)>,
}

impl Catalog {
    pub(super) fn new(folder: &Path, most: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            most,
            state: Mutex::default(),
        }
    }

    /// Reads the registry anew if it is time to, and brings the index up to date. Blocks on the disk.
    pub(super) fn refresh(&self, registry: &Registry, index: &Index) {
        let mut state = self.lock();
        if state.read.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        state.read = Some(Instant::now());
        let listing = match registry.list() {
            Ok(listing) => listing,
            Err(error) => {
                tracing::warn!(%error, "cannot read the registry");
                return;
            }
        };
        for broken in listing.broken {
            tracing::warn!(error = %broken, "an agent of the registry is passed over");
        }
        let mut before = std::mem::take(&mut state.by_name);
        for found in listing.agents {
            let stamp = self.stamp(&found.name);
            let known = before.remove(&found.name);
            let id = known.as_ref().map_or_else(
                || {
                    state.next = state.next.saturating_add(1);
                    FIRST.saturating_add(state.next)
                },
                |entry| entry.id,
            );
            let same = known.filter(|entry| entry.stamp == stamp && stamp.is_some());
            let digest = match same {
                Some(entry) => Some(entry.digest),
                None => registry
                    .load(&found.name, self.most)
                    .ok()
                    .map(|agent| sha256(&agent.component)),
            };
            let Some(digest) = digest else { continue };
            let manifest = found.manifest;
            // What nobody may find takes no places either.
            if manifest.private {
                index.remove(id);
            } else {
                index.put(
                    id,
                    manifest.name.as_str(),
                    &manifest.description,
                    &manifest.skills,
                );
            }
            let entry = Entry {
                id,
                manifest,
                digest,
                stamp,
            };
            state.by_name.insert(found.name, entry);
        }
        for gone in before.into_values() {
            index.remove(gone.id);
        }
    }

    /// The entry with this number in the index.
    pub(super) fn get(&self, id: u64) -> Option<Entry> {
        let state = self.lock();
        state.by_name.values().find(|entry| entry.id == id).cloned()
    }

    /// Words for a client, who has no business with where the registry lies.
    pub(super) fn without_folder(&self, error: &RegistryError) -> String {
        let folder = format!("{}/", self.folder.display());
        error.to_string().replace(&folder, "")
    }

    fn stamp(&self, name: &Name) -> Option<(u64, SystemTime)> {
        let path = self.folder.join(name.as_str()).join("agent.wasm");
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
