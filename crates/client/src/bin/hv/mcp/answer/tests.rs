use hypervisor_client::protocol::{Commitment, LimitKind, Rejection, Report};

use super::*;

fn execution(exit: Exit, stdout: &[u8], stderr: &[u8]) -> Execution {
    let commitment = Commitment([0; 32]);
    let mut report = Report::new(exit, b"", commitment);
    report.stderr.0 = stderr.to_vec();
    Execution {
        result: stdout.to_vec(),
        printed: Vec::new(),
        report,
        sequence: 0,
        request_commitment: commitment,
        result_commitment: commitment,
        attestation: None,
    }
}

/// The texts, what has names, and whether it is an error.
fn parts(result: &CallToolResult) -> (Vec<String>, Value, bool) {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    (
        texts.map(|text| text.text.clone()).collect(),
        result.structured_content.clone().unwrap(),
        result.is_error.unwrap(),
    )
}

fn run(exit: Exit, stdout: &[u8], stderr: &[u8]) -> (Vec<String>, Value, bool) {
    parts(&of_run(&execution(exit, stdout, stderr), None))
}

#[test]
fn what_a_program_printed_is_alone_in_the_first_text() {
    let (texts, named, is_error) = run(Exit::Ok, b"1\n", b"");
    assert_eq!(texts, ["1\n"]);
    assert_eq!(
        named,
        json!({"exit": "ok", "attested": false, "stdout": "1\n", "stderr": "", "truncated": false})
    );
    assert!(!is_error);
    let (texts, _, is_error) = run(Exit::Ok, b"", b"");
    assert_eq!(texts, ["[the program wrote nothing]"]);
    assert!(!is_error);
}

#[test]
fn how_it_ended_is_told_by_name_and_in_words() {
    let limit = Exit::Limit {
        which: LimitKind::Cpu,
        used: 2_000_000,
        allowed: 1_000_000,
    };
    let rejected = Exit::Rejected {
        problem: Rejection::MissingImport,
        detail: "a:b/c".to_owned(),
    };
    let reason = || "why".to_owned();
    for (exit, name, words) in [
        (Exit::Code { code: 3 }, "code", "exited with code 3"),
        (limit, "limit", "limit of processor time: 2.0s of 1.0s"),
        (Exit::Trap { reason: reason() }, "trap", "trapped: why"),
        (Exit::Denied { reason: reason() }, "denied", "policy: why"),
        (rejected, "rejected", "a:b/c"),
    ] {
        let (texts, named, is_error) = run(exit, b"out", b"err");
        assert!(is_error);
        assert_eq!(named["exit"], name);
        assert_eq!(texts.first().unwrap(), "out");
        assert_eq!(texts.get(1).unwrap(), "standard error:\nerr");
        assert!(texts.get(2).unwrap().contains(words), "{texts:?}");
    }
}

#[test]
fn a_limit_has_its_name_and_numbers() {
    let exit = Exit::Limit {
        which: LimitKind::HostBuffer,
        used: 9,
        allowed: 8,
    };
    let (_, named, _) = run(exit, b"", b"");
    assert_eq!(
        named["limit"],
        json!({"name": "host-buffer", "used": 9, "allowed": 8})
    );
}

#[test]
fn long_output_is_cut_between_characters_and_says_so() {
    let long = format!("x{}", "é".repeat(MOST));
    let (texts, named, is_error) = run(Exit::Ok, long.as_bytes(), b"");
    assert!(!is_error);
    assert_eq!(named["truncated"], true);
    let first = texts.first().unwrap();
    assert_eq!(first.len(), MOST - 1);
    assert!(!first.contains(char::REPLACEMENT_CHARACTER));
    assert!(texts.get(1).unwrap().contains("stdout is cut"), "{texts:?}");
}

#[test]
fn what_the_host_cut_is_marked_too() {
    let mut execution = execution(Exit::Ok, b"out", b"");
    execution.report.stderr_truncated = true;
    let (texts, named, _) = parts(&of_run(&execution, None));
    assert_eq!(named["truncated"], true);
    assert!(texts.get(1).unwrap().contains("standard error"));
}

#[test]
fn bytes_that_are_no_text_are_there_as_base64() {
    let (texts, named, _) = run(Exit::Ok, b"\xff\x00", b"");
    assert_eq!(named["stdout_base64"], "/wA=");
    assert!(texts.get(1).unwrap().contains("not all UTF-8"), "{texts:?}");
}

#[test]
fn an_agents_status_is_told_and_may_be_an_error() {
    for (status, is_bad) in [(200, false), (404, true)] {
        let response = http::Response::builder().status(status);
        let response = response.header("content-type", "application/json");
        let answer = ServiceAnswer {
            response: Some(response.body(b"{}".to_vec()).unwrap()),
            trailers: http::HeaderMap::new(),
            execution: execution(Exit::Ok, b"", b""),
        };
        let (texts, named, is_error) = parts(&of_service(&answer, None));
        assert_eq!(texts.first().unwrap(), "{}");
        assert_eq!((&named["status"], is_error), (&json!(status), is_bad));
        assert_eq!(named["body"], "{}");
    }
}

#[test]
fn a_turn_tells_its_value_and_whether_it_was_kept() {
    let answer = EvaluateAnswer {
        turns: 1,
        kept: true,
        value: Some("42".to_owned()),
        stdout: b"hi\n".to_vec().into(),
    };
    let (texts, named, is_error) = parts(&of_turn(
        &answer,
        &execution(Exit::Ok, b"", b""),
        None,
        true,
    ));
    assert_eq!(texts.get(..2).unwrap(), ["hi\n", "42"]);
    assert!(texts.get(2).unwrap().contains("new one"), "{texts:?}");
    assert_eq!(
        (&named["value"], &named["kept"]),
        (&json!("42"), &json!(true))
    );
    assert!(!is_error);
}

#[test]
fn a_price_nobody_pays_is_named() {
    let trouble = Trouble::Price {
        price: "0.01 USDC on base".to_owned(),
    };
    let (texts, named, is_error) = parts(&of_trouble(&trouble));
    assert!(texts.first().unwrap().contains("0.01 USDC on base"));
    assert_eq!(named["exit"], "payment-required");
    assert!(is_error);
}
