//! Shows an execution.

pub(crate) mod agent;
pub(crate) mod attested;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use hypervisor_client::attestation::SessionAttestation;
use hypervisor_client::payment::Payment;
use hypervisor_client::protocol::{Exit, HexBytes, SessionId};
use hypervisor_client::{Execution, ending};
use serde_json::{Map, Value, json};

use crate::console::{document, plain, stderr};
use crate::{Failure, Output, pay};

pub(crate) struct Shown<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) execution: &'a Execution,
    /// What became of paying, if there is a payer.
    pub(crate) payment: Option<&'a Payment>,
    /// What the host proved, if it was asked to.
    pub(crate) attestation: Option<&'a SessionAttestation>,
    /// Whether what it wrote was shown while it ran.
    pub(crate) was_shown: bool,
}

impl Shown<'_> {
    /// The result and all that is known of the execution.
    pub(crate) fn print(&self, form: Output, verbose: bool) -> Result<(), Failure> {
        match form {
            Output::Text => self.text(verbose),
            Output::Json => self.json(),
        }
        .map_err(written)
    }

    /// The program's own streams on this command's own; how it ended, if not by itself, on standard error.
    fn text(&self, verbose: bool) -> io::Result<()> {
        if !self.was_shown {
            let mut out = io::stdout().lock();
            out.write_all(&self.execution.result)?;
            out.flush()?;
        }
        self.remarks(verbose)
    }

    /// What goes to standard error.
    pub(crate) fn remarks(&self, verbose: bool) -> io::Result<()> {
        let Execution { result, report, .. } = self.execution;
        if !self.was_shown {
            io::stderr().write_all(&report.stderr.0)?;
        }
        if report.stdout_truncated {
            stderr(format_args!(
                "standard output was cut at {} bytes",
                result.len()
            ))?;
        }
        if report.stderr_truncated {
            stderr(format_args!(
                "standard error was cut at {} bytes",
                report.stderr.0.len()
            ))?;
        }
        if let Some(ending) = ending(&report.exit) {
            stderr(format_args!("{}", plain(&ending)))?;
        }
        if let Some(payment) = self.payment {
            stderr(format_args!("{}", pay::text(payment)))?;
        }
        if verbose {
            self.details()?;
        }
        Ok(())
    }

    fn details(&self) -> io::Result<()> {
        let Execution {
            report,
            sequence,
            request_commitment,
            result_commitment,
            ..
        } = self.execution;
        stderr(format_args!(
            "session            {} (sequence {sequence})",
            self.session
        ))?;
        stderr(format_args!("program SHA-256    {}", report.program_digest))?;
        stderr(format_args!(
            "request commitment {request_commitment}  matches what was sent"
        ))?;
        stderr(format_args!(
            "result commitment  {result_commitment}  matches what was received"
        ))?;
        if let (Some(session), Some(run)) = (self.attestation, &self.execution.attestation) {
            attested::details(session, run)?;
        }
        let (cpu, wall) = (report.cpu_microseconds, report.wall_microseconds);
        let memory = bytes(report.peak_memory_bytes);
        stderr(format_args!(
            "used               {} processor, {} wall, {memory} memory",
            micros(cpu),
            micros(wall)
        ))
    }

    /// One document; the result as text where it is UTF-8, as hex where it is not.
    fn json(&self) -> io::Result<()> {
        let mut members = self.members();
        insert_bytes(&mut members, "result", &self.execution.result);
        document(&mut io::stdout().lock(), &members)
    }

    /// All but the result.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let Execution {
            result: _,
            printed: _,
            report,
            sequence,
            request_commitment,
            result_commitment,
            attestation,
        } = self.execution;
        let mut members = Map::new();
        let mut insert = |name: &str, value| members.insert(name.to_owned(), value);
        insert("session_id", json!(self.session));
        insert("sequence", json!(sequence));
        insert("request_commitment", json!(request_commitment));
        insert("result_commitment", json!(result_commitment));
        insert("verified", json!(true));
        insert("report", json!(report));
        if let Some(payment) = self.payment {
            insert("payment", pay::json(payment));
        }
        if let (Some(session), Some(run)) = (self.attestation, attestation) {
            insert("attestation", attested::json(session, run));
        }
        members
    }
}

/// Bytes as text where they are UTF-8; else as hex, under the name with `_hex`.
pub(crate) fn insert_bytes(members: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => members.insert(name.to_owned(), json!(text)),
        Err(_) => members.insert(format!("{name}_hex"), json!(HexBytes(bytes.to_vec()))),
    };
}

pub(crate) fn written(source: io::Error) -> Failure {
    Failure::Io {
        what: "writing the result".to_owned(),
        source,
    }
}

/// Exit status for a program's end: its own code, 1 where it was stopped or refused.
pub(crate) fn status(exit: &Exit) -> ExitCode {
    match exit {
        Exit::Ok => ExitCode::SUCCESS,
        Exit::Code { code } => ExitCode::from(u8::try_from(*code).unwrap_or(u8::MAX)),
        _ => ExitCode::FAILURE,
    }
}

fn micros(amount: u64) -> String {
    format!("{:.1?}", Duration::from_micros(amount))
}

fn bytes(amount: u64) -> String {
    indicatif::BinaryBytes(amount).to_string()
}
