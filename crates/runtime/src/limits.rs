//! Bounds on one execution, and on what the runtime holds for all of them.

use std::time::Duration;

/// Bounds on one execution. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time.
    pub cpu: Duration,
    /// Wall-clock time, sleeping and host calls included.
    pub wall: Duration,
    /// Linear memory, all memories together.
    pub memory: u64,
    /// Table elements, all tables together.
    pub table_elements: usize,
    /// Core instances.
    pub instances: usize,
    /// WebAssembly call stack.
    pub stack: u64,
    /// Standard output; beyond it the execution is stopped.
    pub output: u64,
    /// Standard error; beyond it the rest is dropped.
    pub stderr: u64,
    /// What one host call may make the host allocate.
    pub host_buffer: u64,
    /// Live WASI and host resources.
    pub handles: usize,
}

/// How a runtime is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds on one execution. No other limits given later may be above them.
    pub limits: Limits,
    /// Executions at once.
    pub executions: usize,
    /// Time for the compilation of a program.
    pub compile: Duration,
    /// The same for an agent.
    pub compile_agent: Duration,
    /// Address space of a compiler process, bytes.
    pub compile_memory: u64,
    /// Compilations at once.
    pub compilations: usize,
    /// The part of them that one peer may have.
    pub peer_compilations: usize,
    /// Machine code kept in memory, bytes.
    pub compile_cache: u64,
    /// A program unused for this long is dropped from memory.
    pub cache_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(30),
            wall: Duration::from_secs(60),
            memory: 256 << 20,
            table_elements: 100_000,
            instances: 64,
            stack: 4 << 20,
            output: 32 << 20,
            stderr: 256 << 10,
            host_buffer: 32 << 20,
            handles: 10_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            executions: 512,
            compile: Duration::from_secs(30),
            compile_agent: Duration::from_secs(180),
            compile_memory: 4 << 30,
            compilations: 2,
            peer_compilations: 1,
            compile_cache: 512 << 20,
            cache_idle: Duration::from_secs(15 * 60),
        }
    }
}
