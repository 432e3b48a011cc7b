//! `publish`: reference values in a transparency log, which is a folder. Nothing here serves or asks a server.

mod gather;
mod keys;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use hypervisor::manifest::hex;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::{json, plain, written};
use hypervisor_protocol::HexArray;
use hypervisor_tlog::folder::{self, Log};
use hypervisor_tlog::note::{MAX_LENGTH, Signature};
use hypervisor_tlog::{Entry, Folder, Head, SignedCheckpoint, VerifierKey};
use serde::Serialize;

use crate::args::Output;
use gather::Values;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  hypervisor-ctl publish keygen example.com/log --to log.key
  hypervisor-ctl measure --output json > measure.json
  hypervisor-ctl publish --log log --key log.key --release 1.0 --measure measure.json
  hypervisor-ctl publish prove --log log --log-key log.key.pub DIGEST --to policy.tlog-proof

The folder holds C2SP tiles and a checkpoint: any static web server can hand it out. docs/TRANSPARENCY.md"
)]
pub(crate) struct Publish {
    #[command(subcommand)]
    command: Option<Command>,
    /// The log's folder; a new one where there is none.
    #[arg(long, value_name = "DIR", required = true)]
    log: Option<PathBuf>,
    /// The log's private key, as `publish keygen` wrote it.
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,
    #[command(flatten)]
    values: Values,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key of a log, or of a witness; prints the key to check signatures with, which is also in FILE.pub.
    Keygen {
        /// The name: of a log, its origin, an address without scheme that is the log's alone.
        #[arg(value_name = "NAME")]
        name: String,
        /// File for the private key; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The key is a witness'.
        #[arg(long)]
        witness: bool,
    },
    /// Check a log and list its entries.
    List {
        #[command(flatten)]
        of: Of,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Write the proof that an entry is in the log, for those who do not have the log.
    Prove {
        #[command(flatten)]
        of: Of,
        /// The entry: its number, or its SHA-384 (of an image's values, MRTD or the launch measurement).
        #[arg(value_name = "DIGEST|NUMBER")]
        entry: String,
        /// File for the proof; by default it is printed.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Cosign a log's checkpoint as its witness, once the log was found to continue what this witness saw before.
    Cosign {
        #[command(flatten)]
        of: Of,
        /// The witness' private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What this witness saw of this log; made where it is not there.
        #[arg(long, value_name = "FILE")]
        seen: PathBuf,
    },
    /// Take a witness' cosignature up into the log's checkpoint.
    AddCosignature {
        #[command(flatten)]
        of: Of,
        /// The witness' key, or a file with it.
        #[arg(long, value_name = "KEY", value_parser = VerifierKey::given)]
        witness: VerifierKey,
        /// Lines of a signed note, as `publish cosign` prints them.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A log and who signs it.
#[derive(Debug, Args)]
struct Of {
    /// The log's folder.
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The log's key, or a file with it.
    #[arg(long, value_name = "KEY", value_parser = VerifierKey::given)]
    log_key: VerifierKey,
}

impl Of {
    fn read(&self) -> Result<(Folder, Log), Error> {
        let folder = Folder::new(&self.log);
        let log = folder.read(&self.log_key)?;
        match log.checkpoint() {
            Some(_) => Ok((folder, log)),
            None => Err(Error::Publish(format!(
                "there is no log in {}: it has no `checkpoint`",
                self.log.display()
            ))),
        }
    }
}

/// An entry, and of those that were to be published whether it is new.
#[derive(Debug, Serialize)]
struct Listed {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<bool>,
    #[serde(flatten)]
    entry: Entry,
}

impl Listed {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let entry = &self.entry;
        let digest = entry.sha384.map(|digest| digest.to_string());
        let [name, release] = [&entry.name, &entry.release].map(|text| plain(text));
        write!(out, "{:>5} {} {name} of {release}", self.index, entry.kind)?;
        writeln!(
            out,
            " {}",
            digest.as_deref().unwrap_or("by its measurements")
        )
    }
}

pub(crate) fn publish(asked: &Publish) -> Result<(), Error> {
    match &asked.command {
        Some(Command::Keygen { name, to, witness }) => keys::generate(name, to, *witness),
        Some(Command::List { of, output }) => list(of, *output),
        Some(Command::Prove { of, entry, to }) => prove(of, entry, to.as_deref()),
        Some(Command::Cosign { of, key, seen }) => cosign(of, key, seen),
        Some(Command::AddCosignature { of, witness, file }) => add(of, witness, file),
        None => append(asked),
    }
}

fn append(asked: &Publish) -> Result<(), Error> {
    // clap asked for both.
    let (Some(path), Some(key_file)) = (&asked.log, &asked.key) else {
        return Ok(());
    };
    let key = keys::read(key_file)?;
    let entries = asked.values.entries()?;
    // Beside the key and not in the folder: a folder that is restored from yesterday must not be continued from yesterday.
    let mut seen = key_file.clone().into_os_string();
    seen.push(".seen");
    let seen = PathBuf::from(seen);

    let folder = Folder::new(path);
    let lock = folder.lock()?;
    let mut log = folder.read(key.verifier())?;
    if let Some(head) = last_seen(&seen, key.verifier())? {
        log.continues(&head)?;
    }
    folder.check_tiles(&log)?;
    let mut known: HashMap<Vec<u8>, u64> = log.entries().iter().cloned().zip(0..).collect();
    let mut listed = Vec::new();
    let mut new = Vec::new();
    for entry in entries {
        let bytes = entry.encode()?;
        let place = known.get(&bytes).copied();
        let index = place.unwrap_or((log.entries().len() + new.len()) as u64);
        if place.is_none() {
            known.insert(bytes.clone(), index);
            new.push(bytes);
        }
        listed.push(Listed {
            index,
            added: Some(place.is_none()),
            entry,
        });
    }
    if !new.is_empty() {
        folder.append(&lock, &mut log, new, &key)?;
    }
    if let Some(checkpoint) = log.checkpoint() {
        folder::replace(&seen, checkpoint.to_string().as_bytes())?;
    }
    report(key.verifier(), &log.tree().head(), &listed, asked.output)
}

/// The head of the last checkpoint that was seen; none before the first.
fn last_seen(path: &Path, key: &VerifierKey) -> Result<Option<Head>, Error> {
    let Some(bytes) = folder::read(path, MAX_LENGTH)? else {
        return Ok(None);
    };
    Ok(Some(SignedCheckpoint::parse(&bytes)?.verify_log(key)?))
}

fn report(key: &VerifierKey, head: &Head, listed: &[Listed], output: Output) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(
            &mut out,
            &serde_json::json!({
                "version": 1, "log": key.name(), "size": head.size, "root": hex(&head.root),
                "entries": listed,
            }),
        ),
        Output::Text => listed
            .iter()
            .try_for_each(|one| {
                let added = one
                    .added
                    .map(|added| if added { "added " } else { "known " });
                write!(out, "{}", added.unwrap_or_default())?;
                one.print(&mut out)
            })
            .and_then(|()| {
                let root = hex(&head.root);
                writeln!(out, "{} has {} entries, root {root}", key.name(), head.size)
            }),
    })
}

fn list(of: &Of, output: Output) -> Result<(), Error> {
    let (folder, log) = of.read()?;
    folder.check_tiles(&log)?;
    let mut listed = Vec::new();
    for (index, bytes) in (0..).zip(log.entries()) {
        listed.push(Listed {
            index,
            added: None,
            entry: Entry::decode(bytes)?,
        });
    }
    report(&of.log_key, &log.tree().head(), &listed, output)
}

fn prove(of: &Of, asked: &str, to: Option<&Path>) -> Result<(), Error> {
    let (_, log) = of.read()?;
    let found: Vec<u64> = match (asked.parse::<HexArray<48>>(), asked.parse()) {
        (Ok(digest), _) => {
            let entries = (0..).zip(log.entries());
            let has = |bytes: &[u8]| Entry::decode(bytes).is_ok_and(|entry| entry.has(&digest));
            let found = entries.filter(|(_, bytes)| has(bytes));
            found.map(|(index, _)| index).collect()
        }
        (_, Ok(index)) => vec![index],
        _ => {
            return Err(Error::Publish(
                "name an entry by its number or its SHA-384 (96 hex digits)".to_owned(),
            ));
        }
    };
    let index = match found.as_slice() {
        [one] => *one,
        [] => {
            return Err(Error::Publish(
                "no entry of the log has this digest".to_owned(),
            ));
        }
        several => {
            return Err(Error::Publish(format!(
                "the entries {several:?} have this digest: name one by its number"
            )));
        }
    };
    let proof = log.prove(index).ok_or_else(|| {
        let size = log.tree().size();
        Error::Publish(format!("there is no entry {index}: the log has {size}"))
    })?;
    let proof = proof.to_string();
    match to {
        Some(path) => Ok(folder::replace(path, proof.as_bytes())?),
        None => written(write!(io::stdout(), "{proof}")),
    }
}

fn cosign(of: &Of, key: &Path, seen: &Path) -> Result<(), Error> {
    let key = keys::read(key)?;
    let (folder, log) = of.read()?;
    folder.check_tiles(&log)?;
    if let Some(head) = last_seen(seen, &of.log_key)? {
        log.continues(&head)?;
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_secs());
    let Some(checkpoint) = log.checkpoint() else {
        return Ok(());
    };
    let line = checkpoint.cosign(&key, time)?;
    // What was not written down must not have been signed.
    folder::replace(seen, checkpoint.to_string().as_bytes())?;
    written(write!(io::stdout(), "{line}"))
}

fn add(of: &Of, witness: &VerifierKey, file: &Path) -> Result<(), Error> {
    let bytes = folder::read(file, MAX_LENGTH)?.ok_or_else(|| Error::FileUnreadable {
        path: file.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter(|line| line.starts_with('—'));
    let lines: Vec<Signature> = lines.map(Signature::parse).collect::<Result<_, _>>()?;
    let lock = Folder::new(&of.log).lock()?;
    let (folder, log) = of.read()?;
    let Some(mut checkpoint) = log.checkpoint().cloned() else {
        return Ok(());
    };
    checkpoint.add(&lines, witness)?;
    folder.cosigned(&lock, &log, &checkpoint)?;
    let (name, size) = (witness.name(), log.tree().size());
    written(writeln!(io::stdout(), "{name} cosigned {size} entries"))
}
