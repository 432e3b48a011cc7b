//! The component log of this host: measured before load, extended into the platform's register, shared between plugins and agents.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hypervisor_evidence::log::{MAX_ENTRIES, MAX_LENGTH, digest_of_imports};
use hypervisor_evidence::{
    Attester, AttesterError, ComponentLog, LogEntry, LogHead, extend_and_check,
};
use hypervisor_protocol::{ContentFormat, HexArray};
use tokio::sync::watch;

use crate::journal::Journal;
use crate::{EvidenceError, MeasureError};

/// Entries and bytes of the log that agents may take in all. The rest is for plugins: a swap always finds room.
const OF_AGENTS: Share = Share {
    entries: MAX_ENTRIES - 512,
    bytes: MAX_LENGTH / 2,
};
/// Entries that deployments may take in all. The rest of the agents' is for those that were deployed before the host was started,
/// which are measured when they are first called.
const OF_DEPLOYMENTS: usize = MAX_ENTRIES / 2;
/// The part that one account may have of what is left to deployments, its own included: each takes less than the one before, and
/// no few of them take all.
const PART: usize = 8;
/// What the names of agents begin with, and of no plugin.
const AGENT: &str = "agent/";

#[derive(Clone, Copy, Default)]
struct Share {
    entries: usize,
    bytes: usize,
}

/// What this host loaded with authority.
pub struct Measured {
    /// The platform's runtime register, where it has one: extended by every entry.
    register: Option<Arc<dyn Attester>>,
    state: Mutex<State>,
    /// Signalled when the log is not held any more.
    released: Condvar,
    /// How many entries there are.
    grown: watch::Sender<u64>,
}

struct State {
    log: ComponentLog,
    /// Where entries are written as they come.
    journal: Option<Journal>,
    /// Entries of the log that an earlier process of this guest measured.
    earlier: usize,
    /// The register does not hold what the log says.
    poisoned: bool,
    /// A quote is being made that must show the register as it is.
    held: bool,
    agents: Share,
    /// Entries that deployments took on each account.
    accounts: HashMap<String, usize>,
}

/// Who loads a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader<'a> {
    /// The operator, by configuration or a swap.
    Operator,
    /// A deployment, on these accounts: the owner's, and the network's that it comes from, where owners are free.
    Deployment(&'a [&'a str]),
    /// Somebody who calls an agent that was deployed before, or that is in the operator's registry.
    Agent,
}

/// The log at one moment, as evidence needs it.
pub(crate) struct Snapshot {
    pub(crate) head: LogHead,
    /// The whole log, CBOR.
    pub(crate) encoded: Vec<u8>,
    /// The value that the register must have, where the log is extended into one.
    pub(crate) register: Option<[u8; 48]>,
}

impl Measured {
    /// The log of a host that cannot attest.
    pub fn unattested() -> Self {
        Self::with(ComponentLog::new(), None, None)
    }

    /// A log that is extended into the register of `attester`, where it has one, and written to `folder`, where one is given.
    ///
    /// # Errors
    /// When the register cannot be read, or the log's file not be made.
    pub fn on(attester: &Arc<dyn Attester>, folder: Option<&Path>) -> Result<Self, MeasureError> {
        let register = attester
            .capabilities()
            .runtime_register
            .then(|| Arc::clone(attester));
        let value = register.as_ref().map(|it| it.read_register()).transpose()?;
        let (journal, log) = match folder {
            Some(folder) => {
                let (journal, log) = Journal::open(folder, value)?;
                (Some(journal), log)
            }
            None => (
                None,
                value.map_or_else(ComponentLog::new, ComponentLog::with_register),
            ),
        };
        Ok(Self::with(log, register, journal))
    }

    fn with(
        log: ComponentLog,
        register: Option<Arc<dyn Attester>>,
        journal: Option<Journal>,
    ) -> Self {
        let earlier = log.entries().len();
        if earlier > 0 {
            tracing::info!(
                entries = earlier,
                "going on with the component log of before the restart"
            );
        }
        Self {
            register,
            state: Mutex::new(State {
                agents: Share::of_agents(&log),
                earlier,
                log,
                journal,
                poisoned: false,
                held: false,
                accounts: HashMap::new(),
            }),
            released: Condvar::new(),
            grown: watch::Sender::default(),
        }
    }

    /// Appends a component to the log, writes the entry to its file, extends the register and reads it back, all under one lock. Called before the component is instantiated for the first time; after an error it must not be. Waits while a
    /// quote holds the log.
    ///
    /// # Errors
    /// [`MeasureError`]. A register that is not what the log says poisons the log.
    pub fn append(
        &self,
        loader: Loader<'_>,
        name: &str,
        sha384: [u8; 48],
        imports: Vec<String>,
    ) -> Result<(), MeasureError> {
        let entry = LogEntry {
            name: name.to_owned(),
            digest: HexArray(sha384),
            imports: match loader {
                Loader::Operator => imports,
                Loader::Deployment(_) | Loader::Agent => vec![digest_of_imports(&imports)],
            },
        };
        let size = entry.size()?;
        // Who loads again what is there need not wait for a quote.
        if loader != Loader::Operator && self.lock().has(&entry) {
            return Ok(());
        }
        waiting(|| {
            let mut state = self
                .released
                .wait_while(self.lock(), |state| state.held)
                .unwrap_or_else(PoisonError::into_inner);
            if state.shows(&entry) {
                return Ok(());
            }
            state.has_room(loader, size)?;
            state.log.admits(&entry)?;
            // A disk that is full refuses the component, and neither log nor register has it.
            if let Some(journal) = &mut state.journal {
                journal.append(&entry)?;
            }
            let digest = state.log.append(entry)?;
            state.count(loader, size);
            let extended = self.extend(&mut state, &digest);
            self.grown.send_replace(state.log.head().count);
            extended
        })
    }

    /// Extends the register with an entry that the log holds.
    fn extend(&self, state: &mut State, digest: &[u8; 48]) -> Result<(), MeasureError> {
        let Some(register) = &self.register else {
            return Ok(());
        };
        let extended = extend_and_check(register.as_ref(), digest);
        if extended.as_ref().ok() == state.log.register().as_ref() {
            return Ok(());
        }
        state.poison();
        Err(extended
            .err()
            .unwrap_or(AttesterError::RegisterMismatch)
            .into())
    }

    /// The log as it is now.
    ///
    /// # Errors
    /// [`EvidenceError::Poisoned`].
    pub(crate) fn snapshot(&self) -> Result<Snapshot, EvidenceError> {
        self.lock().snapshot()
    }

    /// The log as it stays until the guard is dropped.
    ///
    /// # Errors
    /// [`EvidenceError::Poisoned`].
    pub(crate) fn hold(&self) -> Result<(Snapshot, Held<'_>), EvidenceError> {
        let mut state = self.lock();
        let snapshot = state.snapshot()?;
        state.held = true;
        Ok((snapshot, Held(self)))
    }

    /// Ends what this host attests: something else extends its register.
    pub(crate) fn poison(&self) {
        self.lock().poison();
    }

    /// Whether register and log disagree: the host must not stand for the log.
    pub fn is_poisoned(&self) -> bool {
        self.lock().poisoned
    }

    /// Told of each entry that comes: how many there are then.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Entries so far.
    pub fn length(&self) -> u64 {
        self.lock().log.head().count
    }

    /// Entries and head.
    pub fn read<T>(&self, read: impl FnOnce(&ComponentLog) -> T) -> T {
        read(&self.lock().log)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// What a log has of agents.
    fn of_agents(log: &ComponentLog) -> Self {
        let of_agents = |entry: &&LogEntry| entry.name.starts_with(AGENT);
        let entries = log.entries().iter().filter(of_agents);
        entries.fold(Self::default(), |share, entry| Self {
            entries: share.entries.saturating_add(1),
            bytes: share.bytes.saturating_add(entry.size().unwrap_or_default()),
        })
    }
}

impl State {
    /// Whether an earlier process measured the same, and nothing else under its name since.
    fn shows(&self, entry: &LogEntry) -> bool {
        let mut entries = self.log.entries().iter().enumerate().rev();
        let latest = entries.find(|(_, measured)| measured.name == entry.name);
        latest.is_some_and(|(place, measured)| place < self.earlier && measured == entry)
    }

    /// Whether the log shows this, and the register holds it.
    fn has(&self, entry: &LogEntry) -> bool {
        !self.poisoned && self.log.entries().contains(entry)
    }

    /// Whether one more entry with `size` bytes may be loaded so.
    fn has_room(&self, loader: Loader<'_>, size: usize) -> Result<(), MeasureError> {
        let (entries, accounts) = match loader {
            Loader::Operator => return Ok(()),
            Loader::Deployment(accounts) => (OF_DEPLOYMENTS, accounts),
            Loader::Agent => (OF_AGENTS.entries, &[][..]),
        };
        let bytes = self.agents.bytes.saturating_add(size);
        if self.agents.entries >= entries || bytes > OF_AGENTS.bytes {
            return Err(MeasureError::Quota(
                "agents have used their part of the host's component log; its operator has to restart it".to_owned(),
            ));
        }
        let left = entries.saturating_sub(self.agents.entries);
        for account in accounts {
            let own = self.accounts.get(*account).copied().unwrap_or_default();
            if own.saturating_mul(PART) >= left.saturating_add(own) {
                return Err(MeasureError::Quota(format!(
                    "the host has loaded {own} components for {account} since it was started, as many as its component log takes of one owner or network while {left} places are left; deploy what it has loaded before, or ask its operator"
                )));
            }
        }
        Ok(())
    }

    /// Counts an entry that was loaded so.
    fn count(&mut self, loader: Loader<'_>, size: usize) {
        let accounts = match loader {
            Loader::Operator => return,
            Loader::Deployment(accounts) => accounts,
            Loader::Agent => &[],
        };
        self.agents.entries = self.agents.entries.saturating_add(1);
        self.agents.bytes = self.agents.bytes.saturating_add(size);
        for account in accounts {
            let entries = self.accounts.entry((*account).to_owned()).or_default();
            *entries = entries.saturating_add(1);
        }
    }

    fn snapshot(&self) -> Result<Snapshot, EvidenceError> {
        if self.poisoned {
            return Err(EvidenceError::Poisoned);
        }
        // Entries were checked when they were appended.
        let encoded = self.log.encode(ContentFormat::Cbor)?;
        Ok(Snapshot {
            head: self.log.head(),
            encoded,
            register: self.log.register(),
        })
    }

    fn poison(&mut self) {
        self.poisoned = true;
        tracing::error!("the runtime register does not hold what the component log says");
    }
}

/// Nothing is measured while this is there.
pub(crate) struct Held<'a>(&'a Measured);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().held = false;
        self.0.released.notify_all();
    }
}

/// Runs what may wait as long as a quote takes, with the runtime's other tasks moved away from this thread.
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let on_workers = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if on_workers {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests;
