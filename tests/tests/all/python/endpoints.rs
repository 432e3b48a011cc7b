//! The endpoints, and what can be seen from outside.

use hypervisor_client::protocol::{
    ContentFormat, ExecutePythonRequest, ExecuteResponse, Exit, OpenResponse, Operation,
};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host, RawSession};

use crate::python::text;

const PYTHON: &str = "test/policy/unsafe/python";

/// Sends a script by hand to `endpoint`.
async fn send(
    host: &Host,
    endpoint: &str,
    format: ContentFormat,
    script: &[u8],
) -> (Answer, Option<OpenResponse>) {
    let session = RawSession::open(host).await.session;
    let arguments: [&[u8]; 1] = [b"argument"];
    let (sealed, pending) = session
        .seal_request(Operation::Python, script, Some(b"input"), &arguments)
        .unwrap();
    let request = ExecutePythonRequest::new(session.public_key(), *session.id(), sealed);
    let url = format!("{}/{endpoint}", host.url());
    let body = format.encode(&request).unwrap();
    let answer = post(&reqwest::Client::new(), &url, format.media_type(), body).await;
    let opened = (answer.status == 200).then(|| {
        let response: ExecuteResponse = format.decode(&answer.body).unwrap();
        session.open_response(&pending, response.into()).unwrap()
    });
    (answer, opened)
}

#[tokio::test]
async fn the_attested_endpoint_gives_the_same_execution() {
    let host =
        Host::with_python("[attestation]\nbackend = 'simulated'\nsimulated_seed = 'python'\n");
    let script = b"import sys; print(sys.argv, sys.stdin.read()); sys.exit(4)";
    for format in [ContentFormat::Cbor, ContentFormat::Json] {
        let (_, plain) = send(&host, PYTHON, format, script).await;
        let (_, attested) = send(&host, &format!("{PYTHON}/attest"), format, script).await;
        let (plain, attested) = (plain.unwrap(), attested.unwrap());
        assert_eq!(text(&plain.result), "['script.py', 'argument'] input\n");
        assert_eq!(plain.result, attested.result);
        assert_eq!(plain.report.exit, Exit::Code { code: 4 });
        assert_eq!(plain.report.exit, attested.report.exit);
    }
}

#[tokio::test]
async fn the_attested_endpoint_runs_nothing_without_an_attester() {
    let host = Host::with_python("[attestation]\nbackend = 'none'\n");
    let endpoint = format!("{PYTHON}/attest");
    let (answer, _) = send(&host, &endpoint, ContentFormat::Json, b"print(1)").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem(), "attestation-unavailable");
}

#[tokio::test]
async fn a_host_without_a_script_engine_says_so() {
    let host = Host::start();
    for endpoint in [PYTHON.to_owned(), format!("{PYTHON}/attest")] {
        let (answer, _) = send(&host, &endpoint, ContentFormat::Json, b"print(1)").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.problem(), "scripts-unavailable");
        assert!(
            answer.detail().contains("[runtime.python]"),
            "{}",
            answer.detail()
        );
    }
}

#[tokio::test]
async fn a_request_sealed_for_another_operation_is_refused() {
    let host = Host::with_python("");
    let session = RawSession::open(&host).await.session;
    let none: [&[u8]; 0] = [];
    let (sealed, _) = session
        .seal_request(Operation::Wasm, b"print(1)", None, &none)
        .unwrap();
    let request = ExecutePythonRequest::new(session.public_key(), *session.id(), sealed);
    let body = ContentFormat::Cbor.encode(&request).unwrap();
    let answer = post(
        &reqwest::Client::new(),
        &format!("{}/{PYTHON}", host.url()),
        ContentFormat::Cbor.media_type(),
        body,
    )
    .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.problem(), "authentication-failed");
}

#[tokio::test]
async fn nothing_of_a_script_reaches_the_log_or_the_wire() {
    const MARKER: &str = "PLANTED-MARKER-7c2e";
    let host = Host::with_python("[limits]\ncpu = '300ms'\n");
    let session = RawSession::open(&host).await.session;
    let scripts = [
        format!("import sys\nprint('{MARKER}', sys.argv, sys.stdin.read())"),
        format!(
            "import sys\nprint('{MARKER}', sys.argv[1], file=sys.stderr); raise ValueError(sys.stdin.read())"
        ),
        format!("def f(: {MARKER}"),
        format!("import sys; sys.exit('{MARKER}')"),
        format!("import os; x = '{MARKER}'; print(x, flush=True); os.abort()"),
        format!("x = '{MARKER}'\nprint(x, flush=True)\nwhile True: pass"),
        format!("import hypervisor; hypervisor.evidence(b'{MARKER}')"),
    ];
    for script in scripts {
        let marker = MARKER.as_bytes();
        let (sealed, pending) = session
            .seal_request(
                Operation::Python,
                script.as_bytes(),
                Some(marker),
                &[marker],
            )
            .unwrap();
        let request = ExecutePythonRequest::new(session.public_key(), *session.id(), sealed);
        let answer = post(
            &reqwest::Client::new(),
            &format!("{}/{PYTHON}", host.url()),
            ContentFormat::Cbor.media_type(),
            ContentFormat::Cbor.encode(&request).unwrap(),
        )
        .await;
        assert!(
            !answer
                .body
                .windows(marker.len())
                .any(|window| window == marker)
        );
        let response: ExecuteResponse = ContentFormat::Cbor.decode(&answer.body).unwrap();
        let opened = session.open_response(&pending, response.into()).unwrap();
        let told = [opened.result, opened.report.stderr.0].concat();
        assert!(
            text(&told).contains(MARKER) || script.contains("evidence"),
            "the marker did travel: {script}"
        );
    }
    let log = host.log();
    assert!(log.contains("request_id"), "the log is on");
    let hex: String = MARKER.bytes().map(|b| format!("{b:02x}")).collect();
    for form in [MARKER, &MARKER.to_lowercase(), &hex] {
        assert!(!log.contains(form), "{form} is in the log");
    }
}
