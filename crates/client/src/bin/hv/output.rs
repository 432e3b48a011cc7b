//! Shows an execution.

pub(crate) mod attested;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use hypervisor_client::Execution;
use hypervisor_client::attestation::SessionAttestation;
use hypervisor_client::payment::Payment;
use hypervisor_client::protocol::{Exit, LimitKind, SessionId};
use serde_json::json;

use crate::pay;
use crate::run::stderr;

pub(crate) struct Shown<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) execution: &'a Execution,
    /// What became of paying, if there is a payer.
    pub(crate) payment: Option<&'a Payment>,
    /// What the host proved, if it was asked to.
    pub(crate) attestation: Option<&'a SessionAttestation>,
}

impl Shown<'_> {
    /// The program's own streams on this command's own; how it ended, if not by itself, on standard error.
    pub(crate) fn text(&self, verbose: bool) -> io::Result<()> {
        let Execution { result, report, .. } = self.execution;
        let mut out = io::stdout().lock();
        out.write_all(result)?;
        out.flush()?;
        io::stderr().write_all(&report.stderr.0)?;
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
            stderr(format_args!("{ending}"))?;
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
    pub(crate) fn json(&self) -> io::Result<()> {
        let Execution {
            result,
            report,
            sequence,
            request_commitment,
            result_commitment,
            attestation,
        } = self.execution;
        let mut document = json!({
            "session_id": self.session,
            "sequence": sequence,
            "request_commitment": request_commitment,
            "result_commitment": result_commitment,
            "verified": true,
            "report": report,
        });
        if let Some(object) = document.as_object_mut() {
            match std::str::from_utf8(result) {
                Ok(text) => object.insert("result".to_owned(), json!(text)),
                Err(_) => object.insert(
                    "result_hex".to_owned(),
                    json!(hypervisor_client::protocol::HexBytes(result.clone())),
                ),
            };
            if let Some(payment) = self.payment {
                object.insert("payment".to_owned(), pay::json(payment));
            }
            if let (Some(session), Some(run)) = (self.attestation, attestation) {
                object.insert("attestation".to_owned(), attested::json(session, run));
            }
        }
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)
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

/// How a program ended that did not end by itself.
fn ending(exit: &Exit) -> Option<String> {
    Some(match exit {
        Exit::Ok | Exit::Code { .. } => return None,
        Exit::Trap { reason } => format!("the program trapped: {reason}"),
        Exit::Limit {
            which,
            used,
            allowed,
        } => {
            format!(
                "stopped at the limit of {}: {} of {}",
                name(*which),
                quantity(*which, *used),
                quantity(*which, *allowed)
            )
        }
        Exit::Denied { reason } => format!("denied by the host's policy: {reason}"),
        Exit::Rejected { detail, .. } => format!("the host cannot run this program: {detail}"),
    })
}

fn name(which: LimitKind) -> &'static str {
    match which {
        LimitKind::Cpu => "processor time",
        LimitKind::Wall => "wall-clock time",
        LimitKind::Memory => "memory",
        LimitKind::Table => "table elements",
        LimitKind::Instances => "instances",
        LimitKind::Output => "standard output",
        LimitKind::Stack => "call stack",
        LimitKind::HostBuffer => "bytes for one host call",
        LimitKind::Handles => "live handles",
        LimitKind::CompileTime => "compile time",
        LimitKind::CompileMemory => "compiler memory",
    }
}

fn quantity(which: LimitKind, amount: u64) -> String {
    match which {
        LimitKind::Cpu | LimitKind::Wall | LimitKind::CompileTime => micros(amount),
        LimitKind::Table | LimitKind::Instances | LimitKind::Handles => amount.to_string(),
        _ => bytes(amount),
    }
}

fn micros(amount: u64) -> String {
    format!("{:.1?}", Duration::from_micros(amount))
}

fn bytes(amount: u64) -> String {
    indicatif::BinaryBytes(amount).to_string()
}
