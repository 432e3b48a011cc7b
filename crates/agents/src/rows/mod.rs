//! What components that answer in the host's own name keep: rows in buckets of their own, in one store.
//!
//! ```text
//! key   = 16 bytes of a keyed hash of component and bucket ‖ 16 bytes of one of these and the key
//! value = lp(component) ‖ 8 bytes of a keyed hash of the client that caused it ‖ lp(key) ‖ value        lp: u32 BE length, then that
//! ```
//!
//! Everything that is kept counts twice: for the component, and for the client whose call wrote it first. A row that was not written for
//! as long as the operator says is deleted.
//!
//! Writes gather in memory, where they are read at once, and reach the disk together: within a tenth of a second, and before that where
//! the component asks for it, or where much has gathered. What a crash takes is the end of what was written, never something from its middle.

mod gathered;
mod kept;
mod shelf;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gathered::Gathered;
use hypervisor_runtime::Chain;
use hypervisor_store::{Change, Scanned, Store, Table, Under};
use kept::Kept;
pub use shelf::Shelf;

/// The table.
const ROWS: Table = Table {
    name: "protocols",
    under: Under::Platform,
};
/// The tables of the store.
pub const ROW_TABLES: [Table; 1] = [ROWS];
/// Time in which writes gather.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a failure before it is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The pause between two looks for rows that are too old.
const SWEEP: Duration = Duration::from_secs(60);

/// What one component may keep.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Bytes in all. One client causes a quarter of it at the most.
    pub bytes: u64,
    /// How long a row stays that nobody writes.
    pub keep: Duration,
}

/// Which client a call is for, in the terms of the account.
pub type ClientOf = fn(&Chain) -> Option<String>;

/// The rows of all components.
pub struct Shelves {
    rows: Arc<Gathered>,
    shelves: BTreeMap<String, Arc<Shelf>>,
}

impl Shelves {
    /// Those of the components that are named, as they were kept.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(
        store: Store,
        allowed: impl IntoIterator<Item = (String, Allowance)>,
        client_of: ClientOf,
    ) -> Result<Self, hypervisor_store::Error> {
        let rows = Arc::new(Gathered::over(store));
        let shelf = |(name, allowance): (String, Allowance)| {
            let shelf = Shelf::new(Arc::clone(&rows), name.clone(), allowance, client_of);
            (name, Arc::new(shelf))
        };
        let shelves = Self {
            shelves: allowed.into_iter().map(shelf).collect(),
            rows: Arc::clone(&rows),
        };
        rows.store().each(ROWS, b"", |scanned| {
            if let Some((shelf, kept)) = shelves.owner(&scanned) {
                shelf.count(&kept);
            }
            Ok::<_, hypervisor_store::Error>(())
        })?;
        Ok(shelves)
    }

    /// That of a component; none for one that was not named.
    pub fn of(&self, name: &str) -> Option<Arc<Shelf>> {
        self.shelves.get(name).cloned()
    }

    /// Brings to the disk what is written, and deletes what is too old, for as long as it is polled.
    pub async fn maintain(self: Arc<Self>) {
        let mut sweeping = tokio::time::interval(SWEEP);
        loop {
            let is_time = tokio::select! {
                () = self.rows.wrote.notified() => {
                    tokio::time::sleep(PAUSE).await;
                    false
                }
                _ = sweeping.tick() => true,
            };
            let this = Arc::clone(&self);
            let work = move || match is_time {
                true => this.sweep(SystemTime::now()),
                false => this.flush(),
            };
            if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
                tracing::error!(%error, "what protocols keep cannot be written");
                tokio::time::sleep(AFTER_FAILURE).await;
                self.rows.wrote.notify_one();
            }
        }
    }

    /// Returns when all that was written has reached the disk.
    ///
    /// # Errors
    /// What the store says.
    pub fn flush(&self) -> Result<(), hypervisor_store::Error> {
        self.rows.flush()
    }

    /// Deletes what was not written for too long, and what cannot be read.
    ///
    /// # Errors
    /// What the store says.
    pub fn sweep(&self, now: SystemTime) -> Result<(), hypervisor_store::Error> {
        self.flush()?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // What a component left that is not there any more goes by the longest time that any has.
        let longest = self.shelves.values().map(|it| it.allowance.keep).max();
        let longest = longest.unwrap_or_default();
        self.rows.store().each(ROWS, b"", |scanned| {
            let version = scanned.row.as_ref().map_or(0, |row| row.version);
            let is_older = |keep| now.saturating_sub(Duration::from_micros(version)) > keep;
            match self.owner(&scanned) {
                Some((shelf, _)) if is_older(shelf.allowance.keep) => {
                    shelf.expire(&scanned.key, version)
                }
                Some(_) => Ok(()),
                None => self.discard(&scanned.key, is_older(longest)),
            }
        })?;
        self.flush()
    }

    /// Deletes a row that is nobody's: where it is too old, or cannot be read. Nobody brings another one to its place meanwhile.
    fn discard(&self, key: &[u8], is_old: bool) -> Result<(), hypervisor_store::Error> {
        let _turn = self.rows.turn();
        let row = self.rows.store().get(ROWS, key);
        let is_readable = |row: &hypervisor_store::Row| Kept::read(&row.value).is_some();
        let is_over = match &row {
            Ok(None) => false,
            Ok(Some(row)) => is_old || !is_readable(row),
            Err(_) => true,
        };
        match is_over {
            true => (self.rows.store()).commit(&[Change::delete(ROWS, key)], false),
            false => Ok(()),
        }
    }

    /// Whose a row is; none for one that is nobody's, or cannot be read.
    fn owner<'a>(&self, scanned: &'a Scanned) -> Option<(&Shelf, Kept<'a>)> {
        let row = scanned.row.as_ref().ok()?;
        let kept = Kept::read(&row.value)?;
        let shelf = self.shelves.get(kept.component)?;
        Some((shelf, kept))
    }
}
