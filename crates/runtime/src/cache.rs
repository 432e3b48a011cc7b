//! Prepared programs in memory, found by digest and scope.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::{PrepareError, Program};

/// Who may hit an entry. The time of a hit tells a client that somebody compiled the same program before, so by default
/// a session only finds its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One client session, by its 128-bit id.
    Session([u8; 16]),
    /// Everybody (`execution.shared_compile_cache = true`).
    Shared,
}

/// Programs in the cache at most: each holds a file descriptor, so a small one weighs as much as this share of the whole.
const MOST_PROGRAMS: u64 = 1_024;

type Key = (Scope, [u8; 32]);

pub(super) struct ProgramCache {
    programs: Cache<Key, Program>,
}

impl ProgramCache {
    /// `capacity`: bytes of machine code. `idle`: an entry unused for this long goes.
    pub(super) fn new(capacity: u64, idle: Duration) -> Self {
        let programs = Cache::builder()
            .max_capacity(capacity)
            .weigher(move |_, program: &Program| {
                let size = u64::try_from(program.prepared.size).unwrap_or(u64::MAX);
                u32::try_from(size.max(capacity / MOST_PROGRAMS)).unwrap_or(u32::MAX)
            })
            .time_to_idle(idle)
            .build();
        Self { programs }
    }

    /// Finds the program or prepares it; callers that ask for the same at the same time wait for one preparation, and
    /// if the one that prepares goes away the next takes over.
    pub(super) async fn get_or_prepare<F>(
        &self,
        scope: Scope,
        bytes: &[u8],
        prepare: impl FnOnce() -> F,
    ) -> Result<Program, PrepareError>
    where
        F: Future<Output = Result<Program, PrepareError>>,
    {
        // BLAKE3 for the look-up: three times SHA-256's speed, and every warm request pays it.
        let key = (scope, *blake3::hash(bytes).as_bytes());
        if let Some(program) = self.programs.get(&key).await {
            return Ok(program);
        }
        // The room that preparing takes in a future is made when there is something to prepare.
        Box::pin(self.programs.try_get_with(key, prepare()))
            .await
            .map_err(|error: Arc<PrepareError>| PrepareError::clone(&error))
    }
}

/// SHA-256, the digest by which reports name a program.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
