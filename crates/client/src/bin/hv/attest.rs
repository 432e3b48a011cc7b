//! `hv attest` and `hv verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use hypervisor_client::Client;
use hypervisor_client::attest::{
    Challenge, Evidence, Expected, ExpectedSubject, Policy, RawQuote, Verdict, VerifierNonce,
    verify,
};
use hypervisor_client::attestation::{challenge, decode_evidence, now};
use hypervisor_client::protocol::ContentFormat;
use serde_json::json;

use crate::console::{document, file, print};
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

A host at an address is asked with a fresh nonce. A file is judged offline, its nonce taken to be as old as the file.
Exit status: 0 every check passed, 3 one failed.")]
pub(crate) struct Verify {
    /// Address of a host, or a file with evidence of a host's identity (CBOR or JSON).
    #[arg(value_name = "FILE|URL")]
    target: String,
    /// What the evidence must show: see `hv policy init`.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The nonce that the file's evidence must hold.
    #[arg(long, value_name = "HEX")]
    nonce: Option<VerifierNonce>,
    /// Judge the file as of this time instead of now: 2026-11-21T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    at: Option<SystemTime>,
    /// Form of the output: text has a line for each check, json is an EAT attestation result (EAR).
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
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
        print(|out| match self.output {
            Form::Text => writeln!(
                out,
                "saved {} bytes of evidence ({kind}) to {file}, not verified\nnonce {nonce}",
                bytes.len()
            ),
            Form::Json => document(
                out,
                &json!({
                    "file": self.to,
                    "bytes": bytes.len(),
                    "kind": kind,
                    "nonce": nonce.to_string(),
                    "verified": false,
                }),
            ),
        })
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Verify {
    pub(crate) async fn execute(&self) -> Result<ExitCode, Failure> {
        let policy = policy(&self.policy)?;
        let remote = ["http://", "https://"]
            .iter()
            .any(|scheme| self.target.starts_with(scheme));
        let verdict = if remote {
            if self.nonce.is_some() || self.at.is_some() {
                return Err(Failure::Usage(
                    "--nonce and --at are for files; a host is asked now, with a fresh nonce"
                        .to_owned(),
                ));
            }
            Client::new(&self.target)?.verify_host(&policy).await?.1
        } else {
            self.offline(&policy)?
        };
        print(|out| match self.output {
            Form::Text => write!(out, "{verdict}"),
            Form::Json => document(out, &verdict.to_ear()),
        })?;
        Ok(if verdict.passed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(VERIFICATION_FAILED)
        })
    }

    fn offline(&self, policy: &Policy) -> Result<Verdict, Failure> {
        let path = Path::new(&self.target);
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
        Ok(verify(&evidence, policy, &expected, at))
    }
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

/// A policy from a file.
pub(crate) fn policy(path: &Path) -> Result<Policy, Failure> {
    let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
    let text = String::from_utf8(file(path)?)
        .map_err(|_| wrong("the policy is not text (UTF-8)".to_owned()))?;
    Policy::parse(&text).map_err(|error| wrong(error.to_string()))
}
