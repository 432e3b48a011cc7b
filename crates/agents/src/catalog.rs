//! What the registry offers beside what is deployed, for searches: read again when it was last read a while ago.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hypervisor_runtime::sha256;

use crate::error::RegistryError;
use crate::name::Name;
use crate::registry::{Registry, RegistryAgent, RegistryEntry};
use crate::search::Index;

/// How old the catalog may be.
const FRESH: Duration = Duration::from_secs(5);
/// Numbers of the catalog's entries in the index begin here; deployed agents count from 1.
const FIRST: u64 = 1 << 62;

/// The agents of the registry.
pub(crate) struct Catalog {
    registry: Registry,
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
pub(crate) struct Entry {
    id: u64,
    pub(crate) found: RegistryEntry,
    pub(crate) digest: [u8; 32],
}

impl Catalog {
    pub(crate) fn new(registry: Registry, most: u64) -> Self {
        Self {
            registry,
            most,
            state: Mutex::default(),
        }
    }

    /// One agent with its component.
    pub(crate) fn load(&self, name: &Name) -> Result<RegistryAgent, RegistryError> {
        self.registry.load(name, self.most)
    }

    /// Reads the registry anew if it is time to, and brings the index up to date. Blocks on the disk.
    pub(crate) fn refresh(&self, index: &Index) {
        let mut state = self.lock();
        if state.read.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        state.read = Some(Instant::now());
        let listing = match self.registry.list() {
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
            let known = before.remove(&found.name);
            let id = known.as_ref().map_or_else(
                || {
                    state.next = state.next.saturating_add(1);
                    FIRST.saturating_add(state.next)
                },
                |entry| entry.id,
            );
            // While its size and its time of change stay, so does a component's digest.
            let same = known.filter(|it| it.found.stamp == found.stamp && found.stamp.is_some());
            let digest = match same {
                Some(entry) => Some(entry.digest),
                None => self.load(&found.name).ok().map(|it| sha256(&it.component)),
            };
            let Some(digest) = digest else { continue };
            index.put_manifest(id, &found.manifest);
            let name = found.name.clone();
            state.by_name.insert(name, Entry { id, found, digest });
        }
        for gone in before.into_values() {
            index.remove(gone.id);
        }
    }

    /// The entry with this number in the index.
    pub(crate) fn get(&self, id: u64) -> Option<Entry> {
        let state = self.lock();
        state.by_name.values().find(|entry| entry.id == id).cloned()
    }

    /// Words for a client, who has no business with where the registry lies.
    pub(crate) fn without_folder(&self, error: &RegistryError) -> String {
        let folder = format!("{}/", self.registry.path().display());
        error.to_string().replace(&folder, "")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
