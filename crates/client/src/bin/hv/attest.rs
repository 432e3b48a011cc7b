//! `hv attest` and `hv verify`.

mod card;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use hypervisor_client::attest::{
    Binding, Challenge, Evidence, Expected, ExpectedSubject, Policy, RawQuote, Verdict,
    VerifierNonce, verify,
};
use hypervisor_client::attestation::{challenge, decode_evidence, now};
use hypervisor_client::protocol::ContentFormat;
use hypervisor_client::{Client, Record};
use serde_json::json;

use crate::boot;
use crate::console::{document, file, print};
use crate::memory::Memory;
use crate::tpm;
use crate::{Failure, VERIFICATION_FAILED};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A line for each check.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv attest https://host.example --to evidence.cbor
  hv attest https://host.example --nonce 6f8a0e3c51d2b79408c6ae1f9d3b5274 --to evidence.cbor

Nothing is verified: `hv verify evidence.cbor --policy policy.toml --nonce …` does that, with the nonce that is printed.")]
pub(crate) struct Attest {
    /// Address of the host.
    url: String,
    /// The nonce that the evidence must hold, 16 to 64 bytes as hex; 32 random bytes where it is left out.
    #[arg(long, value_name = "HEX")]
    nonce: Option<VerifierNonce>,
    /// File for the evidence, CBOR.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv verify https://host.example --policy policy.toml
  hv verify evidence.cbor --policy policy.toml --nonce 6f8a0e3c51d2b79408c6ae1f9d3b5274
  hv verify evidence.cbor --policy policy.toml --nonce 6f8a… --at 2026-11-21T12:00:00Z --output json
  hv verify https://host.example --policy policy.toml -v     (what it booted too, event by event)
  hv verify run.cbor                              (a run that was kept with --keep, under the policy that it was kept with)
  hv verify --card https://host.example/a2a/weather/ --policy policy.toml    (an agent's card, and what vouches for it)

A host at an address is asked with a fresh nonce. A file is judged offline, its nonce taken to be as old as the file; a run that was
kept is judged as of the time when it was kept.
Exit status: 0 every check passed, 1 the file cannot be read, 2 usage, 3 a check failed.")]
pub(crate) struct Verify {
    /// Address of a host, a file with evidence of a host's identity (CBOR or JSON), or a run that was kept.
    #[arg(value_name = "FILE|URL", required_unless_present = "card")]
    target: Option<String>,
    /// Address of an agent that speaks A2A, or of its card: that its signature holds, and which component of a host that is what the
    /// policy wants made it.
    #[arg(long, value_name = "URL", conflicts_with_all = ["target", "nonce", "at"], requires = "policy")]
    card: Option<String>,
    /// What the evidence must show: see `hv policy init`. A run that was kept has the policy that it met; this one takes its place.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The nonce that the file's evidence must hold.
    #[arg(long, value_name = "HEX")]
    nonce: Option<VerifierNonce>,
    /// Judge the file as of this time instead of now: 2026-11-21T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    at: Option<SystemTime>,
    /// Form of the output: text has a line for each check, json is an EAT attestation result (EAR).
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
    /// What the guest booted too, event by event where the evidence holds its log; for a run that was kept, a line for each check.
    #[arg(long, short)]
    verbose: bool,
}

impl Attest {
    pub(crate) async fn execute(&self) -> Result<ExitCode, Failure> {
        let nonce = match &self.nonce {
            Some(nonce) => nonce.clone(),
            None => challenge()?.nonce,
        };
        let evidence = Client::new(&self.url)?.evidence(&nonce).await?;
        let bytes = evidence
            .encode(ContentFormat::Cbor)
            .map_err(|error| Failure::Input(error.to_string()))?;
        std::fs::write(&self.to, &bytes).map_err(|source| Failure::Io {
            what: format!("cannot write {}", self.to.display()),
            source,
        })?;
        let kind = match evidence.quote {
            RawQuote::Tdx(_) => "tdx-quote",
            RawQuote::SevSnp { .. } => "snp-report",
        };
        let file = self.to.display();
        let pin = Binding::of(&evidence)
            .ok()
            .and_then(|binding| pin(&binding));
        print(|out| match self.output {
            Form::Text => {
                writeln!(
                    out,
                    "saved {} bytes of evidence ({kind}) to {file}, not verified\nnonce {nonce}",
                    bytes.len()
                )?;
                pin.iter()
                    .try_for_each(|pin| writeln!(out, "tls key {pin}"))
            }
            Form::Json => document(
                out,
                &json!({
                    "file": self.to,
                    "bytes": bytes.len(),
                    "kind": kind,
                    "nonce": nonce.to_string(),
                    "tls_key": pin,
                    "verified": false,
                }),
            ),
        })
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Verify {
    pub(crate) async fn execute(&self) -> Result<ExitCode, Failure> {
        let policy = self.policy.as_deref().map(policy).transpose()?;
        let policy = policy.map(|(policy, _)| policy);
        if let (Some(url), Some(policy)) = (&self.card, &policy) {
            return card::verify(url, policy, (self.output, self.verbose)).await;
        }
        let remote = ["http://", "https://"]
            .iter()
            .any(|scheme| self.target().starts_with(scheme));
        if (remote || !self.is_record()?) && policy.is_none() {
            return Err(Failure::Usage(
                "--policy FILE says what the evidence must show; `hv policy init` writes one"
                    .to_owned(),
            ));
        }
        let (evidence, verdict) = match policy {
            Some(policy) if remote => self.ask(&policy).await?,
            Some(policy) if !self.is_record()? => self.offline(&policy)?,
            policy => return self.record(policy.as_ref()),
        };
        let boot = match self.verbose {
            true => tpm::lines(&evidence).unwrap_or_else(|| boot::lines(&evidence)),
            false => Vec::new(),
        };
        print(|out| match self.output {
            Form::Text => {
                write!(out, "{verdict}")?;
                if let Some(pin) = verdict.binding().and_then(pin) {
                    writeln!(out, "tls   curl --insecure --pinnedpubkey {pin}")?;
                }
                boot.iter().try_for_each(|line| writeln!(out, "{line}"))
            }
            Form::Json => document(out, &verdict.to_ear()),
        })?;
        Ok(if verdict.passed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(VERIFICATION_FAILED)
        })
    }

    fn target(&self) -> &str {
        self.target.as_deref().unwrap_or_default()
    }

    async fn ask(&self, policy: &Policy) -> Result<(Evidence, Verdict), Failure> {
        if self.nonce.is_some() || self.at.is_some() {
            return Err(Failure::Usage(
                "--nonce and --at are for files; a host is asked now, with a fresh nonce"
                    .to_owned(),
            ));
        }
        let memory = Memory::read()?;
        let policy = memory.applied_to(policy);
        let (evidence, verdict) = Client::new(self.target())?.verify_host(&policy).await?;
        memory.explain(&policy, Some(&verdict))?;
        memory.remember(&policy, &verdict)?;
        Ok((evidence, verdict))
    }

    fn is_record(&self) -> Result<bool, Failure> {
        Ok(Record::is_record(&file(Path::new(self.target()))?))
    }

    fn record(&self, policy: Option<&Policy>) -> Result<ExitCode, Failure> {
        if self.nonce.is_some() || self.at.is_some() {
            return Err(Failure::Usage(
                "--nonce and --at are for evidence; a run that was kept has its own".to_owned(),
            ));
        }
        let bytes = file(Path::new(self.target()))?;
        let unread = |error| Failure::Refused(format!("{}: {error}", self.target()));
        let record = Record::decode(&bytes).map_err(unread)?;
        crate::record::verify(&record, policy, self.output, self.verbose)
    }

    fn offline(&self, policy: &Policy) -> Result<(Evidence, Verdict), Failure> {
        let path = Path::new(self.target());
        let evidence = evidence(path)?;
        let at = self.at.map_or_else(now, seconds);
        let challenge = match &self.nonce {
            None => None,
            Some(nonce) => Some(Challenge {
                nonce: nonce.clone(),
                // The nonce was made just before the file was; a file that was copied later is younger than it.
                made_at: written_at(path)?.min(at),
            }),
        };
        let expected = Expected::new(ExpectedSubject::Identity, challenge);
        if self.at.is_some() {
            let verdict = verify(&evidence, policy, &expected, at);
            return Ok((evidence, verdict));
        }
        let memory = Memory::read()?;
        let policy = memory.applied_to(policy);
        let verdict = verify(&evidence, &policy, &expected, at);
        memory.explain(&policy, Some(&verdict))?;
        Ok((evidence, verdict))
    }
}

/// The key with which the host ends TLS, where evidence names one, in the form of curl.
fn pin(binding: &Binding) -> Option<String> {
    let key = STANDARD.encode(binding.tls_key?);
    Some(format!("sha256//{key}"))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

fn written_at(path: &Path) -> Result<u64, Failure> {
    let metadata = std::fs::metadata(path);
    let modified = metadata.and_then(|metadata| metadata.modified());
    modified.map(seconds).map_err(|source| Failure::Io {
        what: format!("cannot tell the age of {}", path.display()),
        source,
    })
}

/// Evidence from a file.
pub(crate) fn evidence(path: &Path) -> Result<Evidence, Failure> {
    decode_evidence(&file(path)?).map_err(|error| {
        Failure::Refused(format!(
            "{}: {error}; save evidence with `hv attest`",
            path.display()
        ))
    })
}

/// A policy from a file, and its text.
pub(crate) fn policy(path: &Path) -> Result<(Policy, String), Failure> {
    let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
    let text = String::from_utf8(file(path)?)
        .map_err(|_| wrong("the policy is not text (UTF-8)".to_owned()))?;
    let policy = Policy::parse(&text).map_err(|error| wrong(error.to_string()))?;
    Ok((policy, text))
}
