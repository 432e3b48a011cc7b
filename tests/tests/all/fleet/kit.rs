//! Hosts that reach each other, and what became of requests of each other's sessions.

use hypervisor_tests::Host;
use hypervisor_tests::fleet::Fleet;
use tempfile::TempDir;

/// A fleet of hosts on free ports.
pub(crate) struct Nodes {
    /// Their database and key.
    pub(crate) fleet: Fleet,
    folder: TempDir,
    /// The hosts.
    pub(crate) hosts: Vec<Host>,
}

impl Nodes {
    /// So many hosts, each with more lines in its configuration.
    pub(crate) fn start(count: usize, config: &str) -> Self {
        let mut nodes = Self {
            fleet: Fleet::start(),
            folder: TempDir::new().unwrap(),
            hosts: Vec::new(),
        };
        for _ in 0..count {
            nodes.add("127.0.0.1:0", config);
        }
        nodes
    }

    /// One more host, which others reach at this address.
    pub(crate) fn add(&mut self, advertise: &str, config: &str) -> &Host {
        let admin = "[admin]\nlistening = '127.0.0.1:0'\nhosts = ['readiness']\n";
        let host = Host::with(&format!(
            "{config}\n{admin}{}advertise = '{advertise}'\n",
            self.fleet.section()
        ));
        self.hosts.push(host);
        self.hosts.last().unwrap()
    }

    /// A folder for the test's own files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// How many requests of others' sessions a host saw end so.
pub(crate) async fn forwarded(host: &Host, outcome: &str) -> u64 {
    let name = "hypervisor_fleet_forwarded_requests_total";
    host.counter(&format!("{name}{{outcome=\"{outcome}\"}}"))
        .await
}

/// The same of several hosts, however they ended.
pub(crate) async fn all_forwarded(hosts: &[Host]) -> u64 {
    let mut sum = 0;
    for host in hosts {
        for outcome in ["answered", "unknown", "unreachable", "broken", "full"] {
            sum += forwarded(host, outcome).await;
        }
    }
    sum
}
