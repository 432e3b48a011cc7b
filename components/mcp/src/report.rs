//! The report of a run as a result that a model can act on: how it ended, in words and in members, and what it wrote.

use front::words::words;
use hypervisor_protocol::{Exit, LimitKind, Report};
use serde_json::{Map, Value, json};

use crate::outcome::{Outcome, Shown};

/// The longest words of a guest's in a line, in characters.
const LONGEST: usize = 8 * 1024;

/// The result of a run that wrote `stdout`.
pub fn outcome(stdout: &[u8], report: &Report) -> Outcome {
    let stdout = Shown::new(stdout, report.stdout_truncated);
    let stderr = Shown::new(&report.stderr.0, report.stderr_truncated);
    let mut outcome = Outcome::default();
    let said = said(&report.exit);
    let is_error = said.is_some();
    if let Some(said) = &said {
        outcome = outcome.and_text(said);
    }
    if !stdout.text.is_empty() {
        outcome = outcome.and_text(stdout.marked());
    }
    if !stderr.text.is_empty() {
        outcome = outcome.and_text(format!("standard error:\n{}", stderr.marked()));
    }
    if !is_error && stdout.text.is_empty() {
        outcome = outcome.and_text("[it wrote nothing to standard output]");
    }
    outcome
        .marked_error(is_error)
        .with_structured(members(report, &stdout, &stderr))
}

fn members(report: &Report, stdout: &Shown, stderr: &Shown) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    put("exit", exit(&report.exit));
    for (name, shown) in [("stdout", stdout), ("stderr", stderr)] {
        put(name, shown.text.clone().into());
        put(&format!("{name}_truncated"), shown.is_cut.into());
        if shown.is_base64 {
            put(&format!("{name}_encoding"), "base64".into());
        }
    }
    put("cpu_microseconds", report.cpu_microseconds.into());
    put("wall_microseconds", report.wall_microseconds.into());
    put("peak_memory_bytes", report.peak_memory_bytes.into());
    members
}

/// The end of a run as the protocol writes it, and of a limit its unit.
fn exit(exit: &Exit) -> Value {
    match exit {
        Exit::Ok => json!({"kind": "ok", "code": 0}),
        Exit::Trap { reason } => json!({"kind": "trap", "reason": words(reason, LONGEST)}),
        Exit::Denied { reason } => json!({"kind": "denied", "reason": words(reason, LONGEST)}),
        Exit::Rejected { problem, detail } => {
            json!({"kind": "rejected", "problem": problem, "detail": words(detail, LONGEST)})
        }
        Exit::Limit {
            which,
            used,
            allowed,
        } => json!({
            "kind": "limit", "which": which, "used": used, "allowed": allowed, "unit": unit(*which),
        }),
        Exit::Code { code } => json!({"kind": "code", "code": code}),
    }
}

/// What went wrong, in words; none where nothing did.
fn said(exit: &Exit) -> Option<String> {
    let lines = |text: &str| text.chars().take(LONGEST).collect::<String>();
    Some(match exit {
        Exit::Ok => return None,
        Exit::Code { code } => format!("exit code {code}"),
        Exit::Trap { reason } => format!("it trapped: {}", lines(reason)),
        Exit::Limit {
            which,
            used,
            allowed,
        } => format!(
            "stopped at the limit of {which}: {used} of {allowed} {} used",
            unit(*which)
        ),
        Exit::Denied { reason } => format!("denied by the host's policy: {}", lines(reason)),
        Exit::Rejected { problem, detail } => {
            let problem = json!(problem);
            let problem = problem.as_str().unwrap_or_default();
            format!("it can not be run: {problem}: {}", lines(detail))
        }
    })
}

fn unit(which: LimitKind) -> &'static str {
    match which {
        LimitKind::Cpu | LimitKind::Wall | LimitKind::CompileTime => "microseconds",
        LimitKind::Memory
        | LimitKind::Output
        | LimitKind::Stack
        | LimitKind::HostBuffer
        | LimitKind::CompileMemory
        | LimitKind::State => "bytes",
        LimitKind::Table => "elements",
        LimitKind::Instances => "instances",
        LimitKind::Handles => "handles",
        LimitKind::Price => "of the smallest unit of the asset",
    }
}

#[cfg(test)]
mod tests {
    use hypervisor_protocol::{Commitment, Rejection};

    use super::*;

    fn result(exit: Exit, stdout: &[u8], stderr: &[u8]) -> Value {
        let commitment: Commitment = serde_json::from_value(json!("00".repeat(32))).unwrap();
        let mut report = Report::new(exit, b"", commitment);
        report.stderr = stderr.to_vec().into();
        Value::Object(outcome(stdout, &report).into_result())
    }

    #[test]
    fn a_run_that_ended_well_is_what_it_wrote() {
        let done = result(Exit::Ok, b"1\n", b"");
        assert_eq!(done["content"], json!([{"type": "text", "text": "1\n"}]));
        assert_eq!(done["isError"], false);
        let structured = &done["structuredContent"];
        assert_eq!(structured["exit"], json!({"kind": "ok", "code": 0}));
        assert_eq!(
            (&structured["stdout"], &structured["stdout_truncated"]),
            (&json!("1\n"), &json!(false))
        );
        let silent = result(Exit::Ok, b"", b"note");
        let text = silent["content"].to_string();
        assert!(text.contains("wrote nothing") && text.contains("note"));
    }

    #[test]
    fn each_other_end_is_an_error_that_says_which() {
        let limit = Exit::Limit {
            which: LimitKind::Cpu,
            used: 30_000_000,
            allowed: 30_000_000,
        };
        let rejected = Exit::Rejected {
            problem: Rejection::MissingImport,
            detail: "a:b/c".to_owned(),
        };
        let reason = "because".to_owned();
        for (exit, words) in [
            (Exit::Code { code: 3 }, "exit code 3"),
            (
                limit,
                "stopped at the limit of processor time: 30000000 of 30000000 microseconds",
            ),
            (
                Exit::Trap {
                    reason: reason.clone(),
                },
                "it trapped: because",
            ),
            (
                Exit::Denied { reason },
                "denied by the host's policy: because",
            ),
            (rejected, "it can not be run: missing-import: a:b/c"),
        ] {
            let result = result(exit, b"", b"Traceback");
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(text.starts_with(words), "{text}");
            assert_eq!(result["content"][1]["text"], "standard error:\nTraceback");
            assert_eq!(result["isError"], true);
            assert_eq!(result["structuredContent"]["stderr"], "Traceback");
        }
    }

    #[test]
    fn every_limit_is_named_with_its_unit() {
        for name in [
            "cpu",
            "wall",
            "memory",
            "table",
            "instances",
            "output",
            "stack",
            "host-buffer",
            "handles",
            "compile-time",
            "compile-memory",
            "price",
            "state",
        ] {
            let which: LimitKind = serde_json::from_value(json!(name)).unwrap();
            let result = result(
                Exit::Limit {
                    which,
                    used: 2,
                    allowed: 1,
                },
                b"",
                b"",
            );
            let exit = &result["structuredContent"]["exit"];
            assert_eq!(exit["which"], name);
            assert!(!exit["unit"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_no_text_says_so() {
        let result = result(Exit::Ok, &[0xff], b"");
        assert_eq!(result["structuredContent"]["stdout_encoding"], "base64");
    }
}
