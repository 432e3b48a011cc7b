//! What the executor holds at the moment, for those who count.

use super::Executor;

/// What the executor holds at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// Linear memories of instances in the pool; 0 where there is no pool.
    pub memories: u64,
    /// Slots of the pool whose memory is kept for the next instance.
    pub warm_memories: u64,
    /// Bytes that these keep resident.
    pub warm_bytes: u64,
    /// Compiled programs in the cache.
    pub programs: u64,
    /// Bytes of their machine code; a small program counts for more than it has.
    pub program_bytes: u64,
}

impl Executor {
    /// What is held now. The cache's numbers are those of its last sweep.
    pub fn holding(&self) -> Holding {
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let (programs, program_bytes) = self.cache.size();
        let held = Holding {
            programs,
            program_bytes,
            ..Holding::default()
        };
        match self.linker.engine().pooling_allocator_metrics() {
            None => held,
            Some(pool) => Holding {
                memories: number(pool.memories()),
                warm_memories: pool.unused_warm_memories().into(),
                warm_bytes: number(pool.unused_memory_bytes_resident()),
                ..held
            },
        }
    }
}
