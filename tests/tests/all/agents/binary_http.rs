//! Binary HTTP (RFC 9292): what is sealed for a service, well formed and not.

use std::io::Cursor;

use bhttp::{Message, Mode};
use hypervisor_client::protocol::{
    ContentFormat, Exit, OpenResponse, Operation, PendingRequest, Rejection,
};
use hypervisor_tests::agents::owner;
use hypervisor_tests::{Answer, Host, RawSession};
use reqwest::Method;

/// Seals `input` for the agent under one name and sends it to the path of another.
pub(crate) async fn sent(
    session: &RawSession,
    sealed_name: &str,
    path: &str,
    input: &[u8],
) -> (Answer, PendingRequest) {
    let (request, pending) = session.about(Operation::Agent, sealed_name, Some(input), None);
    let path = format!("/agents/{path}");
    (
        session.send_to(Method::POST, &path, &request).await,
        pending,
    )
}

async fn echo() -> Host {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "agent", "").await;
    host
}

/// What comes of bytes that are sealed for `agent`.
async fn called(host: &Host, input: &[u8]) -> OpenResponse {
    let session = RawSession::open(host).await;
    let (answer, pending) = sent(&session, "agent", "agent", input).await;
    session.open_answer(ContentFormat::Cbor, &pending, &answer)
}

/// A request that posts nothing.
pub(crate) fn message(path: &str) -> Message {
    Message::request(b"POST".into(), b"http".into(), b"any".into(), path.into())
}

/// A message in one of its two forms.
pub(crate) fn written(message: &Message, mode: Mode) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write_bhttp(mode, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn either_form_of_binary_http_is_read_and_trailers_come_back() {
    let host = echo().await;
    let mut request = message("/");
    request.put_header("trailer", "x-checksum");
    request.write_content(b"body");
    request.put_trailer("x-checksum", "1234");
    for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
        let answer = called(&host, &written(&request, mode)).await;
        assert_eq!(answer.report.exit, Exit::Ok);
        let response = Message::read_bhttp(&mut Cursor::new(answer.result)).unwrap();
        assert_eq!(response.content(), b"body");
        assert_eq!(
            response.trailer().get(b"x-checksum"),
            Some(b"1234".as_slice())
        );
    }
}

#[tokio::test]
async fn padding_is_passed_over() {
    let host = echo().await;
    let bytes = [written(&message("/info"), Mode::KnownLength), vec![0; 1000]].concat();
    assert_eq!(called(&host, &bytes).await.report.exit, Exit::Ok);
}

#[tokio::test]
async fn what_is_no_request_in_binary_http_is_refused_and_nothing_runs() {
    let owner = owner();
    let host = Host::start();
    host.deploy(&owner, "bad-agent", "agent", "").await;
    let good = written(&message("/log?bytes=5"), Mode::KnownLength);
    let response = Message::response(200_u16.try_into().unwrap());
    let mut header = message("/log");
    header.put_header("x y", "1");
    let mut value = message("/log");
    value.put_header("x", "a\r\nb: c");
    let method = Message::request(b"G T".into(), b"http".into(), b"a".into(), b"/log".into());
    let tunnel = Message::request(b"CONNECT".into(), b"".into(), b"a:1".into(), b"/log".into());
    let known = |message: &Message| written(message, Mode::KnownLength);
    let mut taken = Vec::new();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("no framing", vec![0xff; 100]),
        ("a half", good[..good.len() / 2].to_vec()),
        ("something after it", [&good, b"x".as_slice()].concat()),
        ("a response", known(&response)),
        ("no path", known(&message(""))),
        ("a path without a slash", known(&message("log"))),
        ("an asterisk", known(&message("*"))),
        ("a URL", known(&message("http://elsewhere.example/log"))),
        ("a path with a space", known(&message("/lo g"))),
        ("no method", known(&method)),
        ("a tunnel", known(&tunnel)),
        ("no name of a field", known(&header)),
        ("no value of a field", known(&value)),
    ] {
        let exit = called(&host, &bytes).await.report.exit;
        let problem = Rejection::InvalidRequest;
        if !matches!(exit, Exit::Rejected { problem: found, .. } if found == problem) {
            taken.push((what, exit));
        }
    }
    assert!(taken.is_empty(), "{taken:?}");
    assert!(host.logs(&owner, "agent").await.lines.is_empty());
    assert_eq!(called(&host, &good).await.report.exit, Exit::Ok);
    assert_eq!(host.logs(&owner, "agent").await.lines.len(), 1);
}
