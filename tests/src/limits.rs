//! Bounds that a running host finds itself under.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::Host;

impl Host {
    /// How many descriptors it has open; an error where this user may not look.
    pub fn descriptors(&self) -> std::io::Result<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid()))?;
        Ok(open.count().try_into().unwrap())
    }

    /// Lets it have so many descriptors open, those that are open included; gives the bound before.
    pub fn bound_descriptors(&self, most: u64) -> u64 {
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        // Who may lower the hard limit may not raise it again.
        let limits = self.proc("limits");
        let mut lines = limits.lines();
        let line = lines.find_map(|line| line.strip_prefix("Max open files"));
        let hard = line.unwrap().split_whitespace().nth(1).unwrap();
        let limit = Rlimit {
            current: Some(most),
            maximum: hard.parse().ok(),
        };
        let before = prlimit(pid, Resource::Nofile, limit).unwrap();
        before.current.unwrap_or(u64::MAX)
    }
}
