//! Environments: code that was set up once and is kept as the memory that its setup left. Each call of its handler starts from that in
//! an instance of its own, each turn moves it on, a fork is a copy.
//!
//! A sealed request is read into a [`Job`] ([`Environments::plan`]), which whoever embeds this may forbid or sell, and is then done
//! ([`Job::perform`]). What survives a restart are rows of a store: heads, states and logs. States are used from memory as far
//! as there is room for them ([`Settings::cached`]), and read from the store else.
//!
//! Every environment ends: when nobody used it for its idle time, at its end at the latest, or when its owner removes it. Its log
//! stays a while longer. Each row of a log has the hash of the one before ([`hypervisor_protocol::environment::LogRow`]).
//!
//! Files block: what is not `async` may wait for the disk.

mod clock;
mod error;
mod head;
mod job;
mod journal;
mod keep;
mod live;
mod manage;
mod perform;
mod reach;
mod settings;
mod shared;
mod states;
mod store;
mod sweep;

use std::sync::{Arc, Mutex};

use hypervisor_runtime::Executor;
use hypervisor_store::Fingerprint;

pub use error::Error;
pub use job::{Job, Request};
pub use perform::{Performed, Undo};
pub use reach::Network;
pub use settings::Settings;
pub use store::TABLES;

use clock::Clock;
use journal::Journal;
use live::Live;
use states::States;
use store::Rows;

/// The environments of a host.
pub struct Environments {
    executor: Arc<Executor>,
    settings: Settings,
    network: Network,
    clock: Clock,
    live: Live,
    states: States,
    journal: Arc<Journal>,
    rows: Arc<Rows>,
    /// What the store was like when others' changes were last taken up.
    followed: Mutex<Fingerprint>,
    /// Told when something may end earlier than the one who waits for it thinks.
    changed: tokio::sync::Notify,
}

impl Environments {
    /// Takes up the environments of a store that was opened with [`TABLES`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open(
        executor: Arc<Executor>,
        rows: hypervisor_store::Store,
        (settings, network): (Settings, Network),
    ) -> Result<Arc<Self>, Error> {
        let rows = Arc::new(Rows::new(rows));
        let clock = match rows.is_shared() {
            true => Clock::at(rows.now()?),
            false => Clock::start(),
        };
        let (heads, damaged) = rows.heads()?;
        if damaged > 0 {
            tracing::error!(damaged, "rows of environments cannot be read");
        }
        let live = Live::taking_up(heads, &clock, rows.is_shared());
        let journal = Journal::new(Arc::clone(&rows), settings.log_rows);
        Ok(Arc::new(Self {
            states: States::new(settings.cached),
            executor,
            settings,
            network,
            clock,
            live,
            journal: Arc::new(journal),
            rows,
            followed: Mutex::default(),
            changed: tokio::sync::Notify::new(),
        }))
    }

    /// Environments there are.
    pub fn count(&self) -> usize {
        self.live.count()
    }

    /// Whether they survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.rows.is_lasting()
    }
}
