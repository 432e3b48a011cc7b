//! `[limits]`: bounds on a request, an execution, a compilation and the host as a whole.

use std::time::Duration;

use bytesize::ByteSize;
use hypervisor_protocol::wire::MAX_ARGUMENTS;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Every bound the host enforces. Sizes are strings such as `"256 MiB"`, durations such as `"30s"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Processor time of one execution.
    #[serde(with = "humantime_serde")]
    pub cpu: Duration,
    /// Wall-clock time of one execution, sleeping and host calls included.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
    /// Linear memory of one execution, all its memories together.
    pub memory: ByteSize,
    /// Table elements of one execution, all its tables together.
    pub table_elements: usize,
    /// Core instances inside one component.
    pub instances: usize,
    /// WebAssembly call stack of one execution.
    pub stack: ByteSize,
    /// Standard output of one execution; beyond it the execution is stopped.
    pub output: ByteSize,
    /// Standard error of one execution; beyond it the rest is dropped and the report says so.
    pub stderr: ByteSize,
    /// Bytes one host call may make the host allocate.
    pub host_buffer: ByteSize,
    /// Live WASI and host resources (streams, pollables, keys) of one execution.
    pub handles: usize,

    /// Wall-clock time of one compilation; it runs in a process of its own and is ended at the deadline.
    #[serde(with = "humantime_serde")]
    pub compile: Duration,
    /// The same for an agent: it is compiled once, and those in Python or JavaScript bring their engines along.
    #[serde(with = "humantime_serde")]
    pub compile_agent: Duration,
    /// Address space of the compiler process.
    pub compile_memory: ByteSize,
    /// Compilations at once.
    pub compilations: usize,
    /// The part of `compilations` that one peer may have; one fewer where it is not set, and never less than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_compilations: Option<usize>,
    /// Bytes of machine code kept in memory, least recently used dropped first.
    pub compile_cache: ByteSize,

    /// One request body.
    pub body: ByteSize,
    /// Bytes of request bodies and of answers not yet sent that the whole host holds at once.
    pub bodies: ByteSize,
    /// The part of `bodies` that one peer may use; half where it is not set, and never less than one `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_bodies: Option<ByteSize>,
    /// Arguments of one execution.
    pub arguments: usize,
    /// Time to receive a request's head, and then its body.
    #[serde(with = "humantime_serde")]
    pub receive: Duration,

    /// Executions at once; each holds one slot of the instance pool.
    pub executions: usize,
    /// The part of `executions` that one peer may use; half where it is not set, all where they are fewer than 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_executions: Option<usize>,
    /// Requests that may wait for an execution slot; beyond it the answer is 503.
    pub queue: usize,
    /// The part of `queue` that one peer may use; half where it is not set, all where it is shorter than 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_queue: Option<usize>,
    /// Open connections; beyond it new ones wait to be accepted.
    pub connections: usize,

    /// Open connections from one address, or one IPv6 network of 64 bits; beyond it new ones are closed.
    pub connections_per_peer: usize,
    /// Time that a client may let its answer wait, for each part and for all of it at a slow rate.
    #[serde(with = "humantime_serde")]
    pub send: Duration,
    /// Time that a connection may be open without a request.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,

    /// Live sessions; beyond it the one idle for longest goes.
    pub sessions: usize,
    /// A session unused for this long expires.
    #[serde(with = "humantime_serde")]
    pub session_idle: Duration,
    /// A session this old expires, used or not.
    #[serde(with = "humantime_serde")]
    pub session_lifetime: Duration,

    /// Time that running executions get to finish after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(30),
            wall: Duration::from_secs(60),
            memory: ByteSize::mib(256),
            table_elements: 100_000,
            instances: 64,
            stack: ByteSize::mib(4),
            output: ByteSize::mib(32),
            stderr: ByteSize::kib(256),
            host_buffer: ByteSize::mib(32),
            handles: 10_000,
            compile: Duration::from_secs(30),
            compile_agent: Duration::from_secs(180),
            compile_memory: ByteSize::gib(4),
            compilations: 2,
            peer_compilations: None,
            compile_cache: ByteSize::mib(512),
            body: ByteSize::mib(64),
            bodies: ByteSize::mib(512),
            peer_bodies: None,
            arguments: MAX_ARGUMENTS,
            receive: Duration::from_secs(30),
            executions: 512,
            peer_executions: None,
            queue: 1024,
            peer_queue: None,
            connections: 4096,
            connections_per_peer: 512,
            send: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            sessions: 10_000,
            session_idle: Duration::from_secs(15 * 60),
            session_lifetime: Duration::from_secs(24 * 3600),
            drain: Duration::from_secs(30),
        }
    }
}

/// What one peer may use of what the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Bytes of bodies and answers.
    pub bodies: ByteSize,
    /// Executions at once.
    pub executions: usize,
    /// Requests that wait.
    pub queue: usize,
    /// Compilations at once.
    pub compilations: usize,
}

impl Limits {
    /// What the server's peers may have. `descriptors` is how many connections the process has room for.
    pub fn server(&self, descriptors: usize) -> hypervisor_server::Bounds {
        hypervisor_server::Bounds {
            connections: self.connections.min(descriptors),
            connections_per_peer: self.connections_per_peer,
            receive: self.receive,
            send: self.send,
            idle: self.idle,
            drain: self.drain,
        }
    }

    /// What callers may make the host hold.
    pub fn account(&self) -> hypervisor_account::Bounds {
        let most = |bytes: ByteSize, slots, waiting| hypervisor_account::Most {
            bytes: usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX),
            slots,
            waiting,
        };
        let peer = self.peer();
        hypervisor_account::Bounds {
            host: most(self.bodies, self.executions, self.queue),
            peer: most(peer.bodies, peer.executions, peer.queue),
            full: hypervisor_telemetry::metrics::full,
        }
    }

    /// The shares of one peer.
    pub fn peer(&self) -> PeerLimits {
        let half = |all: usize| if all < 32 { all } else { all / 2 };
        let bodies = self.bodies.as_u64();
        PeerLimits {
            bodies: self
                .peer_bodies
                .unwrap_or_else(|| ByteSize::b((bodies / 2).max(self.body.as_u64()))),
            executions: self
                .peer_executions
                .unwrap_or_else(|| half(self.executions)),
            queue: self.peer_queue.unwrap_or_else(|| half(self.queue)),
            compilations: self
                .peer_compilations
                .unwrap_or_else(|| self.compilations.saturating_sub(1).max(1)),
        }
    }

    /// Refuses values the engine cannot work with, naming the key.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message: String| Err(Error::Value { key, message });
        /// Linear memory is reserved as 4 GiB of address space for each slot.
        const MAX_MEMORY: u64 = 4 << 30;
        if !(65_536..=MAX_MEMORY).contains(&self.memory.as_u64()) {
            return wrong(
                "limits.memory",
                format!("{} is outside 64 KiB to 4 GiB", self.memory),
            );
        }
        if !(64 << 10..=16 << 20).contains(&self.stack.as_u64()) {
            return wrong(
                "limits.stack",
                format!("{} is outside 64 KiB to 16 MiB", self.stack),
            );
        }
        for (key, value) in [
            ("limits.executions", self.executions),
            ("limits.compilations", self.compilations),
            ("limits.connections", self.connections),
            ("limits.connections_per_peer", self.connections_per_peer),
            ("limits.sessions", self.sessions),
            ("limits.instances", self.instances),
            ("limits.handles", self.handles),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return wrong(key, "must be 1 to 1000000".to_owned());
            }
        }
        for (key, value) in [("limits.send", self.send), ("limits.idle", self.idle)] {
            if value < Duration::from_millis(100) {
                return wrong(key, format!("{value:?} is under 100 ms"));
            }
        }
        if self.arguments > MAX_ARGUMENTS {
            let message = format!("{} is over the protocol's {MAX_ARGUMENTS}", self.arguments);
            return wrong("limits.arguments", message);
        }
        if self.body > self.bodies {
            return wrong(
                "limits.body",
                format!("{} is more than limits.bodies ({})", self.body, self.bodies),
            );
        }
        let peer = self.peer();
        for (key, share, whole, name) in [
            (
                "limits.peer_executions",
                peer.executions,
                self.executions,
                "limits.executions",
            ),
            ("limits.peer_queue", peer.queue, self.queue, "limits.queue"),
            (
                "limits.peer_compilations",
                peer.compilations,
                self.compilations,
                "limits.compilations",
            ),
        ] {
            if share > whole {
                return wrong(key, format!("{share} is more than {name} ({whole})"));
            }
        }
        for (key, share) in [
            ("limits.peer_executions", peer.executions),
            ("limits.peer_compilations", peer.compilations),
        ] {
            if share == 0 {
                return wrong(key, "must be at least 1".to_owned());
            }
        }
        if peer.bodies > self.bodies || peer.bodies < self.body {
            return wrong(
                "limits.peer_bodies",
                format!(
                    "{} is outside limits.body ({}) to limits.bodies ({})",
                    peer.bodies, self.body, self.bodies
                ),
            );
        }
        Ok(())
    }
}
