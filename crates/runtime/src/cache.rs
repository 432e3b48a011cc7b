//! Prepared programs in memory, found by digest and scope.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::{PrepareError, Program};

/// Who may hit an entry. The time of a hit tells a client that somebody compiled the same program before, so by default
/// a session only finds its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Whose program it is: a client session, by its 128-bit id.
    pub session: [u8; 16],
    /// Whether others that send the same bytes find it (`execution.shared_compile_cache = true`).
    pub is_shared: bool,
}

/// Programs in the cache at most: each holds a file descriptor, so a small one weighs as much as this share of the whole.
const MOST_PROGRAMS: u64 = 1_024;

/// Programs that are remembered by name. An entry is a hundred bytes and holds no program.
const MOST_NAMES: u64 = 4 * MOST_PROGRAMS;

type Session = [u8; 16];
/// The session where it is not shared, and BLAKE3 of the program.
type Key = (Option<Session>, [u8; 32]);

pub(super) struct ProgramCache {
    programs: Cache<Key, Program>,
    /// What a session sent, by SHA-256. Nobody else finds it so, shared or not: who knows a digest need not know the program.
    sent: Cache<(Session, [u8; 32]), Key>,
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
        Self {
            programs,
            sent: Cache::new(MOST_NAMES),
        }
    }

    /// Programs, and bytes of machine code.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.programs.entry_count(), self.programs.weighted_size())
    }

    /// The program of this SHA-256 that the session sent before, while it is here.
    pub(super) async fn sent(&self, session: &Session, digest: &[u8; 32]) -> Option<Program> {
        let key = self.sent.get(&(*session, *digest)).await?;
        self.programs.get(&key).await
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
        let session = (!scope.is_shared).then_some(scope.session);
        let key = (session, *blake3::hash(bytes).as_bytes());
        let program = match self.programs.get(&key).await {
            Some(program) => program,
            // The room that preparing takes in a future is made when there is something to prepare.
            None => Box::pin(self.programs.try_get_with(key, prepare()))
                .await
                .map_err(|error: Arc<PrepareError>| PrepareError::clone(&error))?,
        };
        let name = (scope.session, *program.digest());
        if !self.sent.contains_key(&name) {
            self.sent.insert(name, key).await;
        }
        Ok(program)
    }
}

/// SHA-256, the digest by which reports name a program.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
