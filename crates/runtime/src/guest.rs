//! State of one execution inside its store: WASI, host resources, and the accounts of memory and tables.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypervisor_protocol::{Exit, LimitKind};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::outgoing::Outgoing;

use super::rows::Rows;
use crate::imports::attestation::AttestationView;
use crate::imports::crypto::{CryptoCtx, CryptoView, KeyRoot};
use crate::imports::keyvalue::KeyValueView;
use crate::surroundings::Surroundings;

/// The error that ends an execution at a limit; the engine carries it out to the host unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LimitReached {
    pub(super) which: LimitKind,
    pub(super) used: u64,
    pub(super) allowed: u64,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limit reached: {}, {} of {}",
            self.which, self.used, self.allowed
        )
    }
}

impl std::error::Error for LimitReached {}

impl From<LimitReached> for Exit {
    fn from(reached: LimitReached) -> Self {
        let LimitReached {
            which,
            used,
            allowed,
        } = reached;
        Self::Limit {
            which,
            used,
            allowed,
        }
    }
}

/// Store data of one execution.
pub(super) struct Guest {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) crypto: CryptoCtx,
    /// What its program's named keys come from.
    pub(super) key_root: KeyRoot,
    pub(super) surroundings: Arc<dyn Surroundings>,
    /// SHA-384 of the program, where statements are made about it.
    pub(super) program: Option<[u8; 48]>,
    pub(super) accounts: Accounts,
    pub(super) http: WasiHttpCtx,
    pub(super) outgoing: Outgoing,
    /// Its own rows, where it may have any.
    pub(super) rows: Option<Arc<dyn Rows>>,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outgoing,
        }
    }
}

impl Guest {
    /// What the `crypto` import works on.
    pub(super) fn crypto(&mut self) -> CryptoView<'_> {
        CryptoView {
            table: &mut self.table,
            ctx: &mut self.crypto,
            named: self.program.map(|program| self.key_root.of(program)),
        }
    }

    /// What the `wasi:keyvalue` imports work on.
    pub(super) fn keyvalue(&mut self) -> KeyValueView<'_> {
        KeyValueView {
            table: &mut self.table,
            rows: self.rows.as_ref(),
            chain: &self.outgoing.chain,
        }
    }

    /// What the `attestation` import works on.
    pub(super) fn attestation(&mut self) -> AttestationView<'_> {
        AttestationView {
            surroundings: self.surroundings.as_ref(),
            program: self.program,
        }
    }
}

/// Counts memory bytes and table elements of every instance in the store together.
#[derive(Debug)]
pub(super) struct Accounts {
    memory: Account,
    tables: Account,
    instances: usize,
    /// Where the peak of memory is told to who watches it.
    watched: Option<Arc<AtomicU64>>,
}

#[derive(Debug)]
struct Account {
    which: LimitKind,
    used: u64,
    peak: u64,
    allowed: u64,
    last_growth: u64,
    /// Growth that was refused last: how far it would have gone.
    refused: Option<u64>,
}

impl Account {
    fn new(which: LimitKind, allowed: u64) -> Self {
        Self {
            which,
            used: 0,
            peak: 0,
            allowed,
            last_growth: 0,
            refused: None,
        }
    }

    /// Whether growth may go ahead. `own_maximum` is the program's (or a pool slot's) own.
    fn grow(&mut self, current: usize, desired: usize, own_maximum: Option<usize>) -> bool {
        self.last_growth = 0;
        let beyond_own = own_maximum.is_some_and(|m| desired > m && as_u64(m) < self.allowed);
        if beyond_own {
            // The program's own declaration refuses this; it is no limit of the host's.
            return false;
        }
        let growth = as_u64(desired.saturating_sub(current));
        let wanted = self.used.saturating_add(growth);
        if wanted > self.allowed {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        self.last_growth = growth;
        true
    }

    /// The growth allowed last did not happen after all.
    fn undo(&mut self) {
        self.used = self.used.saturating_sub(self.last_growth);
        self.last_growth = 0;
    }

    fn limit_reached(&self) -> Option<LimitReached> {
        self.refused.map(|used| LimitReached {
            which: self.which,
            used,
            allowed: self.allowed,
        })
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Accounts {
    pub(super) fn new(memory: u64, table_elements: usize, instances: usize) -> Self {
        Self {
            memory: Account::new(LimitKind::Memory, memory),
            tables: Account::new(LimitKind::Table, as_u64(table_elements)),
            instances,
            watched: None,
        }
    }

    /// Allows no more memory than this from here on; an error where more is used already.
    pub(super) fn allow(&mut self, memory: u64) -> std::result::Result<(), LimitReached> {
        let account = &mut self.memory;
        account.allowed = account.allowed.min(memory);
        if account.used <= memory {
            return Ok(());
        }
        Err(LimitReached {
            which: account.which,
            used: account.used,
            allowed: memory,
        })
    }

    /// Tells the peak of memory from here on.
    pub(super) fn watch(&mut self) -> Arc<AtomicU64> {
        let peak = Arc::new(AtomicU64::new(self.memory.peak));
        self.watched = Some(Arc::clone(&peak));
        peak
    }

    pub(super) fn peak_memory(&self) -> u64 {
        self.memory.peak
    }

    /// A refused growth. A guest may live on after one (Python raises `MemoryError`), so this is the reason of its end
    /// only when it then trapped.
    pub(super) fn limit_reached(&self) -> Option<LimitReached> {
        self.memory
            .limit_reached()
            .or_else(|| self.tables.limit_reached())
    }
}

impl ResourceLimiter for Accounts {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let may_grow = self.memory.grow(current, desired, maximum);
        if let Some(watched) = &self.watched {
            watched.store(self.memory.peak, Ordering::Relaxed);
        }
        Ok(may_grow)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.memory.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.tables.grow(current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.tables.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_of_one_execution_share_one_account() {
        let mut accounts = Accounts::new(100, 0, 1);
        assert!(accounts.memory_growing(0, 60, None).unwrap());
        assert!(accounts.memory_growing(0, 40, None).unwrap());
        assert!(!accounts.memory_growing(40, 41, None).unwrap());
        assert_eq!(
            accounts.limit_reached().unwrap(),
            LimitReached {
                which: LimitKind::Memory,
                used: 101,
                allowed: 100
            }
        );
        assert_eq!(accounts.peak_memory(), 100);
    }

    #[test]
    fn a_programs_own_maximum_is_not_a_limit_of_the_host() {
        let mut accounts = Accounts::new(100, 0, 1);
        assert!(!accounts.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!(accounts.limit_reached(), None);
    }

    #[test]
    fn growth_that_failed_is_given_back() {
        let mut accounts = Accounts::new(100, 0, 1);
        assert!(accounts.memory_growing(0, 60, None).unwrap());
        accounts
            .memory_grow_failed(wasmtime::Error::msg("no room"))
            .unwrap();
        assert!(accounts.memory_growing(0, 100, None).unwrap());
    }
}
