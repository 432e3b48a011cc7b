//! The heads of audit trails that were seen, so that a host that shows another history later is found out.
//!
//! `hypervisor/audit.json` in the folder for state has the trail of each host by its address, and the newest head of each trail. Whoever
//! removes it begins anew.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hypervisor_client::audit::Known;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::Failure;
use crate::memory::folder;

/// Hosts and trails that are remembered, and bytes of a file with as many.
const MOST: usize = 4096;
const MAX_FILE: u64 = 8 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The trail of each host, by its address.
    hosts: BTreeMap<String, String>,
    /// The newest head of each trail.
    heads: BTreeMap<String, Known>,
}

pub(super) struct Seen {
    path: PathBuf,
    state: State,
}

impl Seen {
    /// Reads what was seen. Without a place for it an audit could not find what it is for.
    pub(super) fn read() -> Result<Self, Failure> {
        let path = folder().ok_or_else(|| {
            Failure::Input(
                "heads are remembered in the folder for state: set XDG_STATE_HOME or HOME"
                    .to_owned(),
            )
        })?;
        let path = path.join("audit.json");
        let failed = |source| Failure::Io {
            what: format!("cannot read {}", path.display()),
            source,
        };
        let state = match read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Failure::Input(format!(
                    "{} is damaged ({error}); it holds the heads of audit trails that were seen: correct it, or remove it and begin anew",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, state })
    }

    /// The newest head of the trail that a host had when it was seen last.
    pub(super) fn of_host(&self, server: &str) -> Option<&Known> {
        self.of_trail(self.state.hosts.get(&named(server))?)
    }

    /// The newest head of a trail.
    pub(super) fn of_trail(&self, origin: &str) -> Option<&Known> {
        self.state.heads.get(origin)
    }

    pub(super) fn forget_host(&mut self, server: &str) {
        if let Some(origin) = self.state.hosts.remove(&named(server)) {
            self.forget_trail(&origin);
        }
    }

    pub(super) fn forget_trail(&mut self, origin: &str) {
        self.state.heads.remove(origin);
    }

    /// Remembers a head. The file is replaced as a whole, and is its owner's alone.
    pub(super) fn remember(&mut self, server: &str, head: Known) -> Result<(), Failure> {
        let State { hosts, heads } = &mut self.state;
        hosts.insert(named(server), head.origin.clone());
        heads.insert(head.origin.clone(), head);
        if hosts.len().max(heads.len()) > MOST {
            return Err(Failure::Input(format!(
                "{} remembers {MOST} hosts already; remove those that are no more",
                self.path.display()
            )));
        }
        write(&self.path, &self.state).map_err(|source| Failure::Io {
            what: format!("cannot remember the head in {}", self.path.display()),
            source,
        })
    }
}

/// One name for each way to write an address.
fn named(server: &str) -> String {
    let url = server.trim_end_matches('/');
    url.to_ascii_lowercase()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, state: &State) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, state)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
