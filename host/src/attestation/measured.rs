//! The component log of this host: measured before load, extended into the platform's register, shared between plugins and agents.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hypervisor_evidence::log::{MAX_ENTRIES, MAX_LENGTH, digest_of_imports};
use hypervisor_evidence::{
    Attester, AttesterError, ComponentLog, LogEntry, LogHead, extend_and_check,
};
use hypervisor_protocol::{ContentFormat, HexArray};

use super::journal::Journal;

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
pub(crate) struct Measured {
    /// The platform's runtime register, where it has one: extended by every entry.
    register: Option<Arc<dyn Attester>>,
    state: Mutex<State>,
    /// Signalled when the log is not held any more.
    released: Condvar,
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

/// Why a component could not be measured, and so is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The log cannot take it.
    #[error("the component log: {0}")]
    Log(#[from] hypervisor_evidence::Error),
    /// Agents have used their part of the log.
    #[error("{0}")]
    Quota(String),
    /// The log cannot be written.
    #[error("writing the component log: {0}")]
    Write(#[from] std::io::Error),
    /// The register was not extended as it should.
    #[error("extending the runtime register: {0}")]
    Register(#[from] AttesterError),
}

/// The log at one moment, as evidence needs it.
pub(crate) struct Snapshot {
    pub(crate) head: LogHead,
    /// The whole log, CBOR.
    pub(crate) encoded: Vec<u8>,
    /// The value that the register must have, where the log is extended into one.
    pub(crate) register: Option<[u8; 48]>,
}

/// Register and log disagree: the host cannot stand for its log any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poisoned;

impl Measured {
    /// The log of a host that attests nothing.
    pub(crate) fn unattested() -> Self {
        Self::with(ComponentLog::new(), None, None)
    }

    /// A log that is extended into the register of `attester`, where it has one, and written to `folder`, where one is given.
    pub(crate) fn on(
        attester: &Arc<dyn Attester>,
        folder: Option<&Path>,
    ) -> Result<Self, MeasureError> {
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
        }
    }

    /// Appends a component to the log, writes the entry through to the disk, extends the register and reads it back, all under
    /// one lock. Called before the component is instantiated for the first time; after an error it must not be. Waits while a
    /// quote holds the log.
    ///
    /// # Errors
    /// [`MeasureError`]. A register that is not what the log says poisons the log.
    pub(crate) fn append(
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
            self.extend(&mut state, &digest)
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
    /// [`Poisoned`].
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Poisoned> {
        self.lock().snapshot()
    }

    /// The log as it stays until the guard is dropped.
    ///
    /// # Errors
    /// [`Poisoned`].
    pub(crate) fn hold(&self) -> Result<(Snapshot, Held<'_>), Poisoned> {
        let mut state = self.lock();
        let snapshot = state.snapshot()?;
        state.held = true;
        Ok((snapshot, Held(self)))
    }

    /// Ends what this host attests: something else extends its register.
    pub(crate) fn poison(&self) {
        self.lock().poison();
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.lock().poisoned
    }

    pub(crate) fn length(&self) -> u64 {
        self.lock().log.head().count
    }

    /// Entries and head.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&ComponentLog) -> T) -> T {
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

    fn snapshot(&self) -> Result<Snapshot, Poisoned> {
        if self.poisoned {
            return Err(Poisoned);
        }
        // Entries were checked when they were appended.
        let encoded = self.log.encode(ContentFormat::Cbor).map_err(|_| Poisoned)?;
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
mod tests {
    use super::*;
    use hypervisor_evidence::{Backend, Capabilities, Quote};

    fn agent(log: &Measured, loader: Loader<'_>, n: usize) -> Result<(), MeasureError> {
        let imports = (0..300).map(|n| format!("wasi:clocks/monotonic-clock@0.2.{n}"));
        let mut digest = [0; 48];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        log.append(loader, "agent/hello", digest, imports.collect())
    }

    /// Deploys on these accounts until it is refused; how often it was not.
    fn deployed(log: &Measured, accounts: &[&str]) -> usize {
        let before = log.length() as usize;
        let refused = loop {
            let n = log.length() as usize;
            if let Err(refused) = agent(log, Loader::Deployment(accounts), n) {
                break refused;
            }
        };
        assert!(matches!(refused, MeasureError::Quota(_)), "{refused}");
        log.length() as usize - before
    }

    #[test]
    fn owners_that_cost_nothing_take_no_more_than_the_network_that_they_deploy_from() {
        let log = Measured::unattested();
        let mut taken = 0;
        for owner in 0..64 {
            taken += deployed(&log, &[&format!("owner {owner}"), "192.0.2.1"]);
        }
        assert_eq!(taken, OF_DEPLOYMENTS / PART);
        // What is there already needs no room.
        agent(&log, Loader::Deployment(&["owner 0", "192.0.2.1"]), 0).unwrap();
        assert_eq!(log.length() as usize, taken);
        assert!(deployed(&log, &["another", "192.0.2.2"]) > 200);
    }

    #[test]
    fn few_accounts_do_not_use_up_the_log_and_all_of_them_leave_room_for_plugins() {
        let log = Measured::unattested();
        let accounts: Vec<String> = (0..100).map(|n| format!("account {n}")).collect();
        let taken: Vec<usize> = (accounts.iter())
            .map(|account| deployed(&log, &[account]))
            .collect();
        assert!(taken.iter().take(32).all(|taken| *taken > 3), "{taken:?}");
        assert_eq!(taken.iter().sum::<usize>(), OF_DEPLOYMENTS);
        // What was deployed before the start is loaded all the same.
        log.append(Loader::Agent, "agent/early", [1; 48], Vec::new())
            .unwrap();
        for _ in 0..512 {
            let imports = (0..40)
                .map(|n| format!("wasi:io/streams{n}@0.2.6"))
                .collect();
            log.append(Loader::Operator, "policy", [0; 48], imports)
                .unwrap();
        }
        assert!(log.snapshot().unwrap().encoded.len() < MAX_LENGTH / 2);
    }

    /// A platform whose register takes no extension, though it says so.
    struct Stuck;

    impl Attester for Stuck {
        fn backend(&self) -> Backend {
            Backend::Tdx
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities {
                runtime_register: true,
                certificates: false,
            }
        }

        fn quote(&self, _: &[u8; 64]) -> Result<Quote, AttesterError> {
            Err(AttesterError::RegisterMismatch)
        }

        fn extend(&self, _: &[u8; 48]) -> Result<(), AttesterError> {
            Ok(())
        }

        fn read_register(&self) -> Result<[u8; 48], AttesterError> {
            Ok([0; 48])
        }
    }

    #[test]
    fn a_register_that_does_not_hold_the_log_refuses_the_component_and_poisons_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let attester: Arc<dyn Attester> = Arc::new(Stuck);
        let log = Measured::on(&attester, Some(folder.path())).unwrap();
        assert!(!log.is_poisoned());
        let refused = log.append(Loader::Operator, "policy", [1; 48], Vec::new());
        assert!(refused.is_err());
        assert!(log.is_poisoned());
        assert!(log.snapshot().is_err());
        let written = std::fs::read_to_string(folder.path().join("component-log.jsonl")).unwrap();
        // Where the register began, and the entry.
        assert_eq!(written.lines().count(), 2);
    }

    #[test]
    fn nothing_is_measured_while_a_quote_holds_the_log() {
        let log = Measured::unattested();
        let (held, guard) = log.hold().unwrap();
        std::thread::scope(|scope| {
            let measuring =
                scope.spawn(|| log.append(Loader::Operator, "policy", [1; 48], Vec::new()));
            // It may not have come that far; it never gets further.
            std::thread::yield_now();
            assert_eq!(log.snapshot().unwrap().head, held.head);
            drop(guard);
            measuring.join().unwrap().unwrap();
        });
        assert_eq!(log.length(), 1);
    }
}
