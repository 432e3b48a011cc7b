//! What `hv` remembers between runs: the highest TCB evaluation that it has seen.
//!
//! Intel counts its TCB recoveries. Collateral is in date for a month, so a host can show collateral of before a recovery for as long,
//! unless a verifier remembers that there is a later one. The number goes into `hypervisor/hv.toml` in the folder for state
//! (`$XDG_STATE_HOME`, else `~/.local/state`), for each root by itself. Nothing else is remembered: no host, no key, no agent.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hypervisor_client::attest::policy::Trust;
use hypervisor_client::attest::{CheckId, Policy, Status, Verdict};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::Failure;
use crate::console::note;

/// More than the file ever has.
const MAX_FILE: usize = 64 << 10;
/// Simulators come and go; when there are this many they are forgotten.
const MOST_ROOTS: usize = 64;
const INTEL: &str = "intel";

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// By root: `intel`, or a simulator's fingerprint.
    #[serde(default)]
    tcb_evaluation: BTreeMap<String, u32>,
}

pub(crate) struct Memory {
    /// None where there is no folder for state.
    path: Option<PathBuf>,
    state: State,
}

impl Memory {
    pub(crate) fn read() -> Result<Self, Failure> {
        let Some(path) = folder().map(|folder| folder.join("hv.toml")) else {
            return Ok(Self {
                path: None,
                state: State::default(),
            });
        };
        let state = match std::fs::read(&path) {
            Ok(bytes) => parse(&bytes).ok_or_else(|| {
                Failure::Input(format!(
                    "{} is damaged; it holds the highest TCB evaluation that was seen: correct or remove it",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(source) => {
                return Err(Failure::Io {
                    what: format!("cannot read {}", path.display()),
                    source,
                });
            }
        };
        Ok(Self {
            path: Some(path),
            state,
        })
    }

    fn highest(&self, policy: &Policy) -> Option<u32> {
        self.state.tcb_evaluation.get(&root(policy)?).copied()
    }

    /// The policy with the floor that is remembered.
    pub(crate) fn applied_to(&self, policy: &Policy) -> Policy {
        let highest = self.highest(policy).unwrap_or_default();
        let mut policy = policy.clone();
        let floor = &mut policy.rules.tdx.minimum_tcb_evaluation_data_number;
        *floor = highest.max(*floor);
        policy
    }

    /// Says where the number comes from that evidence was refused by.
    pub(crate) fn explain(
        &self,
        policy: &Policy,
        verdict: Option<&Verdict>,
    ) -> Result<(), Failure> {
        let check = verdict.and_then(|verdict| verdict.check(CheckId::TcbEvaluation));
        let refused = check.is_some_and(|check| check.status == Status::Fail);
        match (&self.path, self.highest(policy)) {
            (Some(path), Some(highest)) if refused => note(format_args!(
                "TCB evaluation {highest} was seen before, which is remembered in {}; collateral does not go back",
                path.display()
            )),
            _ => Ok(()),
        }
    }

    /// Remembers what a host proved. Where that fails there is a warning: what was verified holds all the same.
    pub(crate) fn remember(mut self, policy: &Policy, verdict: &Verdict) -> Result<(), Failure> {
        let (Some(path), Some(root)) = (self.path.take(), root(policy)) else {
            return Ok(());
        };
        let Some(number) = verdict.tcb_evaluation_data_number() else {
            return Ok(());
        };
        let seen = &mut self.state.tcb_evaluation;
        if seen.get(&root).is_some_and(|known| number <= *known) {
            return Ok(());
        }
        if seen.len() >= MOST_ROOTS {
            seen.retain(|known, _| known == INTEL);
        }
        seen.insert(root, number);
        match write(&path, &self.state) {
            Ok(()) => Ok(()),
            Err(error) => note(format_args!(
                "warning: cannot remember TCB evaluation {number} in {}: {error}",
                path.display()
            )),
        }
    }
}

fn root(policy: &Policy) -> Option<String> {
    match policy.trust {
        Trust::Hardware { intel: true, .. } => Some(INTEL.to_owned()),
        Trust::Hardware { .. } => None,
        Trust::Simulated { fingerprint } => Some(const_hex::encode(fingerprint)),
    }
}

/// The folder for state; none where the environment names none.
pub(crate) fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let folder = PathBuf::from(std::env::var_os(name)?);
        folder.is_absolute().then_some(folder)
    };
    let folder = absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local").join("state")))?;
    Some(folder.join("hypervisor"))
}

fn parse(bytes: &[u8]) -> Option<State> {
    let text = bytes.get(..MAX_FILE.min(bytes.len()))?;
    toml::from_str(str::from_utf8(text).ok()?).ok()
}

/// The file is replaced as a whole: two runs at a time leave that of one.
fn write(path: &Path, state: &State) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let text = toml::to_string(state).map_err(io::Error::other)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(b"# What hv remembers: the highest TCB evaluation that was seen, by root.\n")?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
