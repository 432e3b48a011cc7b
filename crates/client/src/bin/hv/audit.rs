//! `hv audit`: that a host rewrote nothing of what it did, as far as this client saw of it.

mod seen;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use hypervisor_client::attest::{Policy, Verdict};
use hypervisor_client::audit::{Included, Known, Trail};
use hypervisor_client::protocol::{Commitment, ProblemType, PublicKey};
use hypervisor_client::{Client, Error, Record};
use serde_json::{Value, json};

use crate::attest::{Form, policy};
use crate::console::{document, file, note, plain, print};
use crate::memory::Memory;
use crate::{Failure, VERIFICATION_FAILED};

use seen::Seen;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv audit --server https://host.example --policy policy.toml
  hv audit --server https://host.example run.cbor          (a run that was kept with --keep, under the policy that it was kept with)
  hv audit --server https://host.example --policy policy.toml 5f3c… 81aa…     (commitments of results, as `hv run --output json` gives them)
  hv audit --server https://host.example --policy policy.toml --output json

The host proves first that it is what the policy wants. Then its audit trail has to continue the head that was seen last, which is remembered in
hypervisor/audit.json in the folder for state, and the heads that came with the runs; and each run has to be in it.
Exit status: 0 all of it holds, 1 failure, 2 usage, 3 something does not hold: the trail was forked, or is shorter than it was, or a run is not in it.")]
pub(crate) struct Audit {
    /// Runs that were kept with --keep, and commitments of results in hex.
    #[arg(value_name = "FILE|COMMITMENT")]
    targets: Vec<String>,
    /// What the host must prove: see `hv policy init`. Without it, the policy of the first run.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Forget the head that was remembered of this host, and begin with the present one: its operator began another trail, and you believe
    /// the reason.
    #[arg(long)]
    forget: bool,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
}

/// Something that has to be in the trail.
struct Wanted {
    /// As it was given.
    name: String,
    commitment: Commitment,
    /// The head that came with it.
    head: Option<Known>,
}

/// All that was found.
struct Found {
    identity: PublicKey,
    verdict: Verdict,
    now: Known,
    before: Option<Known>,
    entries: Vec<(Wanted, Result<Included, String>)>,
}

impl Audit {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let (records, commitments) = self.targets()?;
        let policy = self.wanted(&records)?;
        let mut wanted = commitments;
        for (name, record) in &records {
            wanted.push(kept(name, record, self.policy.as_ref().map(|_| &policy))?);
        }
        let client = Client::new(server)?;
        let verdict = verified(&client, &policy).await?;
        let identity = verdict
            .binding()
            .map(|it| it.identity_public_key.clone())
            .ok_or_else(|| Failure::Refused("the evidence names no identity key".to_owned()))?;
        let mut seen = Seen::read()?;
        if self.forget {
            seen.forget_host(server);
        }
        let of_host = seen.of_host(server).cloned();
        let opened = Trail::open(&client, &identity).await;
        let mut trail = opened.map_err(|error| gone(error, of_host.as_ref(), &wanted))?;
        let origin = trail.origin().to_string();
        if self.forget {
            seen.forget_trail(&origin);
        }
        // The same trail may have been seen at another address.
        let of_trail = seen.of_trail(&origin).cloned();
        for before in [&of_host, &of_trail].into_iter().flatten() {
            continues(&mut trail, before, "the head that is remembered").await?;
        }
        let before = of_trail.or(of_host);
        for it in &wanted {
            if let Some(head) = &it.head {
                let what = format!("the head that came with {}", it.name);
                continues(&mut trail, head, &what).await?;
            }
        }
        let mut entries = Vec::new();
        for it in wanted {
            let found = match trail.includes(&it.commitment).await {
                Ok(found) => Ok(found),
                // What is not consistent is not remembered either.
                Err(Error::Audit(error)) => Err(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            entries.push((it, found));
        }
        let now = trail.known();
        seen.remember(server, now.clone())?;
        let found = Found {
            identity,
            verdict,
            now,
            before,
            entries,
        };
        print(|out| match self.output {
            Form::Text => text(out, &found),
            Form::Json => document(out, &json(server, &found)),
        })?;
        Ok(match found.entries.iter().all(|(_, found)| found.is_ok()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(VERIFICATION_FAILED),
        })
    }

    /// What was given: runs, and commitments by themselves.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn targets(&self) -> Result<(Vec<(String, Record)>, Vec<Wanted>), Failure> {
        let (mut records, mut commitments) = (Vec::new(), Vec::new());
        for target in &self.targets {
            if let Ok(commitment) = target.parse() {
                commitments.push(Wanted {
                    name: target.clone(),
                    commitment,
                    head: None,
                });
                continue;
            }
            let bytes = file(Path::new(target))?;
            let unread = |error| Failure::Refused(format!("{target}: {error}"));
            records.push((target.clone(), Record::decode(&bytes).map_err(unread)?));
        }
        Ok((records, commitments))
    }

    fn wanted(&self, records: &[(String, Record)]) -> Result<Policy, Failure> {
        match (&self.policy, records.first()) {
            (Some(path), _) => Ok(policy(path)?.0),
            (None, Some((name, record))) => Policy::parse(&record.policy)
                .map_err(|error| Failure::Input(format!("the policy in {name}: {error}"))),
            (None, None) => Err(Failure::Usage(
                "--policy FILE says what the host must prove; `hv policy init` writes one"
                    .to_owned(),
            )),
        }
    }
}

/// What a run that was kept says, once it was verified.
fn kept(name: &str, record: &Record, policy: Option<&Policy>) -> Result<Wanted, Failure> {
    let verified = record.verify(policy)?;
    let run = verified.execution.attestation;
    Ok(Wanted {
        name: name.to_owned(),
        commitment: verified.execution.result_commitment,
        head: run.and_then(|run| run.audit_head),
    })
}

/// Has the host prove what the policy wants.
async fn verified(client: &Client, policy: &Policy) -> Result<Verdict, Failure> {
    let memory = Memory::read()?;
    let policy = memory.applied_to(policy);
    let (_, verdict) = client.verify_host(&policy).await?;
    memory.explain(&policy, Some(&verdict))?;
    if !verdict.passed() {
        return Err(Failure::Refused(format!(
            "the host's evidence is refused, and its audit trail was not looked at\n{verdict}"
        )));
    }
    memory.remember(&policy, &verdict)?;
    Ok(verdict)
}

/// A host without a trail is refused where it had one.
fn gone(error: Error, before: Option<&Known>, wanted: &[Wanted]) -> Failure {
    let is_none = matches!(&error, Error::Refused(problem)
        if problem.problem_type() == Some(ProblemType::NotFound));
    let heads = wanted.iter().filter_map(|it| it.head.as_ref());
    let had = before.into_iter().chain(heads).next();
    match had {
        Some(head) if is_none => Failure::Refused(format!(
            "the host shows no audit trail; it had one, {}, of {} entries",
            plain(&head.origin),
            head.size
        )),
        _ => error.into(),
    }
}

/// Checks that the trail continues a head, or that the head is of one that had to end.
async fn continues(trail: &mut Trail<'_>, known: &Known, what: &str) -> Result<(), Failure> {
    if known.origin != trail.origin().to_string() && known.is_passing()? {
        return note(format_args!(
            "{what} is of a trail that ended with the host's process, as it said: nothing more can be known of it"
        ));
    }
    match trail.continues(known).await {
        Err(Error::Audit(error)) => Err(Failure::Refused(format!(
            "DO NOT RELY ON THIS HOST: its audit trail does not continue {what}: {error}. Keep both heads, which prove it:\n{}\n{}",
            plain(&known.checkpoint),
            plain(&trail.known().checkpoint),
        ))),
        Err(other) => Err(other.into()),
        Ok(()) => Ok(()),
    }
}

fn text(out: &mut dyn Write, found: &Found) -> io::Result<()> {
    let Found { now, before, .. } = found;
    writeln!(
        out,
        "host     {:?}, identity key {}",
        found.verdict.assurance(),
        found.identity
    )?;
    writeln!(
        out,
        "trail    {}, {} entries, root {}",
        now.origin, now.size, now.root
    )?;
    match before {
        None => writeln!(
            out,
            "history  nothing was remembered of this host; from now on this head is"
        )?,
        Some(before) if before.origin != now.origin => {
            writeln!(
                out,
                "history  begins anew: the trail before it ended with the host's process"
            )?;
        }
        Some(before) => writeln!(
            out,
            "history  continues the head of {} entries that was remembered",
            before.size
        )?,
    }
    for (wanted, found) in &found.entries {
        match found {
            Ok(found) => writeln!(
                out,
                "found    {}: entry {}, {}, {} by the host's clock",
                plain(&wanted.name),
                found.index,
                found.entry.kind.name(),
                time(found.entry.time)
            )?,
            Err(reason) => writeln!(out, "MISSING  {}: {}", plain(&wanted.name), plain(reason))?,
        }
    }
    Ok(())
}

fn json(server: &str, found: &Found) -> Value {
    let entries = found.entries.iter().map(|(wanted, found)| match found {
        Ok(found) => json!({
            "target": wanted.name, "commitment": wanted.commitment, "found": true,
            "index": found.index, "kind": found.entry.kind.name(), "time_ms": found.entry.time,
        }),
        Err(reason) => json!({
            "target": wanted.name, "commitment": wanted.commitment, "found": false, "reason": reason,
        }),
    });
    let entries: Vec<Value> = entries.collect();
    json!({
        "verified": found.entries.iter().all(|(_, found)| found.is_ok()),
        "server": server,
        "assurance": found.verdict.assurance(),
        "identity_key": found.identity.to_string(),
        "head": found.now,
        "remembered": found.before,
        "entries": entries,
    })
}

/// A time as people write it.
fn time(milliseconds: u64) -> String {
    // humantime ends with the year 9999.
    let milliseconds = Duration::from_millis(milliseconds.min(253_402_300_799_000));
    humantime::format_rfc3339_millis(UNIX_EPOCH + milliseconds).to_string()
}
