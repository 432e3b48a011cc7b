//! Output that goes out as it is written: sealed in chunks, in order, and no more of it than any other caller gets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::process::Command;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hypervisor_client::environments::{ExecuteInput, Page, Terms};
use hypervisor_client::protocol::{
    ContentFormat, ExecuteResponse, Exit, LimitKind, PendingRequest, Problem, Stream, StreamReader,
    stream,
};
use hypervisor_client::{Inputs, Program, Session};
use hypervisor_tests::agents::{owner, reference};
use hypervisor_tests::environments::bundle;
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::Version;
use hypervisor_tests::programs::{guest, python_plugin};
use hypervisor_tests::{Answer, Host, RawSession, assert_limit};
use tokio::sync::Notify;

use crate::payments::kit::{Purchase, Shop};

const CBOR: ContentFormat = ContentFormat::Cbor;

/// Prints, waits for a time that a chunk takes many times over, and prints again.
const SLOW: &str = "
    console.log('one');
    console.error('careful');
    await new Promise(after => setTimeout(after, 200));
    console.log('two');
";
/// Prints, and waits for longer than a test may take.
pub(crate) const ENDLESS: &str =
    "console.log('one'); await new Promise(after => setTimeout(after, 3_600_000));";

/// Parts of output, in their order.
type Parts = Vec<(Stream, Vec<u8>)>;

/// What a session's listener was told.
#[derive(Clone, Default)]
pub(crate) struct Told {
    parts: Arc<Mutex<Parts>>,
    more: Arc<Notify>,
}

impl Told {
    pub(crate) fn by(&self, session: Session) -> Session {
        let told = self.clone();
        session.with_output(move |stream, output| {
            told.parts.lock().unwrap().push((stream, output.to_vec()));
            told.more.notify_one();
        })
    }

    /// Waits until this much was told of standard output.
    pub(crate) async fn has(&self, bytes: usize) {
        while self.of(Stream::Stdout).len() < bytes {
            self.more.notified().await;
        }
    }

    fn of(&self, stream: Stream) -> Vec<u8> {
        let parts = self.parts.lock().unwrap();
        let parts = parts.iter().filter(|(of, _)| *of == stream);
        parts.flat_map(|(_, output)| output).copied().collect()
    }
}

/// A streamed answer, taken apart.
struct Taken {
    chunks: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Taken {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], stream::MEDIA_TYPE);
        assert_eq!(answer.headers["cache-control"], "no-store");
        let mut reader = StreamReader::default();
        let chunks = reader.push(&answer.body).unwrap();
        let last = reader.finish().unwrap();
        Self { chunks, last }
    }

    /// What was written before the answer.
    fn written(&self, session: &RawSession, pending: &PendingRequest) -> Vec<u8> {
        let chunks = (0..).zip(self.chunks.clone());
        let opened = chunks.map(|(number, chunk)| {
            let opened = session.session.open_chunk(pending, number, chunk);
            opened.unwrap().1
        });
        opened.flatten().collect()
    }
}

/// Sends a body to a path as a client does that wants output as it is written.
async fn send(host: &Host, path: &str, format: ContentFormat, body: Vec<u8>) -> Answer {
    let request = reqwest::Client::new()
        .post(format!("{}{path}", host.url()))
        .header("content-type", format.media_type())
        .header("accept", "application/json;q=0.5, Application/CBOR-seq")
        .body(body);
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

#[tokio::test]
async fn output_is_there_while_the_program_still_runs() {
    let host = Host::with_javascript("");
    let told = Told::default();
    let session = told.by(host.session().await);
    let running = session.run_javascript(Program::new(ENDLESS.as_bytes()));
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = told.has(4) => {}
    }
    assert_eq!(told.of(Stream::Stdout), b"one\n");
}

#[tokio::test]
async fn a_streamed_run_gives_what_any_other_gives_and_tells_it_once() {
    let host = Host::with_javascript("");
    let (told, plain) = (Told::default(), host.session().await);
    let session = told.by(host.session().await);
    let script = || Program::new(SLOW.as_bytes());
    let streamed = session.run_javascript(script()).await.unwrap();
    let other = plain.run_javascript(script()).await.unwrap();
    assert_eq!(other.report.streamed, None);
    assert!(streamed.report.streamed.unwrap().chunks >= 1);
    for ran in [&streamed, &other] {
        assert_eq!(ran.result, b"one\ntwo\n");
        assert_eq!(ran.report.stderr.0, b"careful\n");
        assert_eq!(ran.report.exit, Exit::Ok);
    }
    assert_eq!(told.of(Stream::Stdout), streamed.result);
    assert_eq!(told.of(Stream::Stderr), streamed.report.stderr.0);
}

#[tokio::test]
async fn a_run_that_ends_at_once_is_told_whole() {
    let host = Host::start();
    let told = Told::default();
    let session = told.by(host.session().await);
    let ran = session.run_wasm(Program::new(&guest("hello"))).await;
    assert_eq!(ran.unwrap().result, b"hello\n");
    assert_eq!(told.of(Stream::Stdout), b"hello\n");
}

#[tokio::test]
async fn what_a_program_wrote_before_a_limit_is_there_and_counts_towards_it() {
    let host = Host::with_javascript("[limits]\noutput = '100 KiB'");
    let told = Told::default();
    let session = told.by(host.session().await);
    let script = "
        for (;;) {
            console.log('x'.repeat(999));
            await new Promise(after => setTimeout(after, 1));
        }";
    let ran = session.run_javascript(Program::new(script.as_bytes()));
    let ran = ran.await.unwrap();
    assert_limit(&ran.report, LimitKind::Output, 100 << 10);
    assert_eq!(ran.result.len(), 100 << 10);
    assert_eq!(told.of(Stream::Stdout), ran.result);
    assert!(ran.report.stdout_truncated);
    // However often a program writes, a chunk comes once in ten milliseconds at the most.
    let (chunks, wall) = (
        ran.report.streamed.unwrap().chunks,
        ran.report.wall_microseconds,
    );
    assert!(
        u64::from(chunks) <= wall / 10_000 + 1,
        "{chunks} in {wall} µs"
    );
}

#[tokio::test]
async fn a_handler_and_a_setup_are_heard_while_they_run_and_the_log_has_what_they_wrote() {
    let host = Host::with_environments("");
    let mut tenant = host.tenant().await;
    let told = Told::default();
    tenant.session = told.by(tenant.session);
    let source = "
        console.log('setting up');
        await new Promise(after => setTimeout(after, 100));
        export async function handler(event) {
            console.log('called with', event.data);
            await new Promise(after => setTimeout(after, event.data));
            console.log('done');
            return 'value';
        }";
    let bundle = bundle("javascript", source);
    let done = tenant.try_set_up(&bundle, &Terms::default()).await;
    assert!(done.execution.report.streamed.is_some());
    assert_eq!(done.answer.stdout.0, b"setting up\n");
    assert_eq!(told.of(Stream::Stdout), b"setting up\n");
    let id = done.answer.environment.unwrap().id;

    let (session, owner) = (&tenant.session, &tenant.owner);
    let input = |data: &str| ExecuteInput {
        data: data.to_owned(),
        ..ExecuteInput::default()
    };
    let called = session.execute(&id, &input("100"), owner).await.unwrap();
    assert!(called.execution.report.streamed.is_some());
    assert_eq!(called.answer.value.as_deref(), Some("\"value\""));
    assert_eq!(called.answer.stdout.0, b"called with 100\ndone\n");
    assert_eq!(
        told.of(Stream::Stdout),
        b"setting up\ncalled with 100\ndone\n"
    );
    let (_, rows) = session
        .environment_log(&id, &Page::default(), owner)
        .await
        .unwrap();
    let written = b"called with 100\ndone\n\"value\"".len() as u64;
    assert_eq!(rows[1].bytes[1], written);

    let before = told.of(Stream::Stdout).len();
    let forever = input("3600000");
    let endless = session.execute(&id, &forever, owner);
    tokio::select! {
        ended = endless => panic!("{ended:?}"),
        () = told.has(before + "called with 3600000\n".len()) => {}
    }
}

#[tokio::test]
async fn a_service_is_heard_by_its_body_and_a_command_keeps_its_log() {
    let host = Host::start();
    let key = owner();
    let limits = "[limits]\noutput = '32 MiB'\n";
    host.deploy(&key, "bad-agent", "writer", limits).await;
    host.deploy(&key, "http-echo", "repeater", "").await;
    host.deploy(&key, "sleepy", "sleeper", "").await;
    let told = Told::default();
    let session = told.by(host.session().await);

    let request = Request::get("/write-forever").body(Vec::new()).unwrap();
    let answer = session
        .call_service(&reference("writer"), request, None)
        .await;
    let execution = answer.unwrap().execution;
    assert_limit(&execution.report, LimitKind::Output, 32 << 20);
    assert!(execution.report.streamed.is_some());
    let heard = told.of(Stream::Stdout).len();
    assert!(heard > 0 && heard <= 32 << 20, "{heard}");

    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = Request::post("/").body(body.clone()).unwrap();
    let answer = session
        .call_service(&reference("repeater"), request, None)
        .await;
    let response = answer.unwrap().into_response().unwrap();
    assert!(*response.body() == body);
    assert!(told.of(Stream::Stdout)[heard..] == body);

    let inputs = Inputs::new().argument("soon");
    let command = session
        .call_command(&reference("sleeper"), inputs, None)
        .await;
    assert_eq!(command.unwrap().report.exit, Exit::Code { code: 1 });
    let log = host.logs(&key, "sleeper").await;
    assert!(
        format!("{log:?}").contains("milliseconds `soon`"),
        "{log:?}"
    );
}

#[tokio::test]
async fn chunks_come_before_the_answer_in_either_format_of_the_request() {
    let host = Host::with(&format!("[runtime.python]\n{}", python_plugin()));
    let session = RawSession::open(&host).await;
    for format in [ContentFormat::Json, CBOR] {
        let (request, pending) = session.request(&guest("sleepy"), None, &[b"1"]);
        let body = format.encode(&request).unwrap();
        let answer = send(&host, "/test/execute/wasm", format, body).await;
        let taken = Taken::of(&answer);
        let response: ExecuteResponse = CBOR.decode(&taken.last).unwrap();
        assert!(response.encrypted_chunks.is_empty(), "they came before");
        let mut sealed = hypervisor_client::protocol::SealedResponse::from(response);
        sealed.encrypted_chunks = taken.chunks;
        let opened = session.session.open_response(&pending, sealed).unwrap();
        let all = [opened.streamed.stdout, opened.result].concat();
        assert_eq!(all, b"awake\n");
    }
}

#[tokio::test]
async fn what_is_refused_before_anything_was_written_has_its_own_status() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, _) = session.request(&guest("hello"), None, &[]);
    let body = CBOR.encode(&request).unwrap();
    let first = send(&host, "/test/execute/wasm", CBOR, body.clone()).await;
    Taken::of(&first);
    let again = send(&host, "/test/execute/wasm", CBOR, body).await;
    assert_eq!(
        (again.status, again.problem().as_str()),
        (409, "replayed-sequence")
    );
    let broken = send(&host, "/test/execute/wasm", CBOR, b"no CBOR".to_vec()).await;
    assert_eq!(
        (broken.status, broken.problem().as_str()),
        (400, "malformed-request")
    );
}

/// Prints, waits and prints again, in Python.
const SLOW_PYTHON: &str = "
import time
print('one', flush=True)
time.sleep(0.2)
print('two')
";

#[tokio::test]
async fn what_is_paid_for_after_the_run_goes_out_after_it_and_what_was_paid_before_as_it_is_written()
 {
    for (config, is_streamed) in [("", false), ("settle_first = true\n", true)] {
        let shop = Shop::with(&format!("{config}[runtime.python]\n{}", python_plugin()));
        let purchase = Purchase::of_script(&shop.host, SLOW_PYTHON).await;
        let payment = purchase.payment(&shop.chain, Version::V2).await;
        let (name, value) = payment.header();
        let with = [(name, value.as_str()), ("accept", stream::MEDIA_TYPE)];
        let first = purchase.send(&with).await;
        assert!(first.headers.contains_key("payment-response"), "{first:?}");
        let taken = Taken::of(&first);
        assert_eq!(!taken.chunks.is_empty(), is_streamed);
        let written = taken.written(&purchase.session, purchase.pending());
        assert_eq!(written.starts_with(b"one\n"), is_streamed);

        // Who lost the answer gets it again, with all that was sent before it.
        let again = purchase.pay(&payment).await;
        let opened = purchase.opened(&again);
        let all = [&opened.streamed.stdout[..], &opened.result].concat();
        assert_eq!(all, b"one\ntwo\n");
        assert_eq!(opened.streamed.stdout, written);
        assert_eq!(shop.chain.transfers().await.len(), 1);
    }
}

#[tokio::test]
async fn where_the_account_has_no_room_for_a_stream_the_output_comes_with_the_answer() {
    let host = Host::with_javascript("[limits]\nbody = '100 KiB'\nbodies = '200 KiB'");
    let told = Told::default();
    let session = told.by(host.session().await);
    let ran = session.run_javascript(Program::new(SLOW.as_bytes())).await;
    let ran = ran.unwrap();
    assert_eq!(
        (ran.result, ran.report.streamed),
        (b"one\ntwo\n".to_vec(), None)
    );
    assert_eq!(told.of(Stream::Stdout), b"one\ntwo\n");
}

#[tokio::test]
async fn a_failure_after_the_first_chunk_is_the_last_item() {
    // Room for the stream and not for the answer behind it.
    let host =
        Host::with_javascript("[limits]\nbody = '100 KiB'\nbodies = '400 KiB'\noutput = '1 MiB'");
    let session = host.session().await.with_output(|_, _| {});
    let script = "
        console.log('one');
        await new Promise(after => setTimeout(after, 200));
        console.log('x'.repeat(500_000));";
    let error = session
        .run_javascript(Program::new(script.as_bytes()))
        .await;
    let error = error.unwrap_err();
    let hypervisor_client::Error::Refused(problem) = error else {
        panic!("{error:?}");
    };
    let Problem {
        status, request_id, ..
    } = *problem;
    assert_eq!(status, 503);
    assert!(request_id.is_some());
}

#[test]
fn hv_shows_output_while_it_comes_and_says_what_goes_together() {
    let host = Host::with_javascript("");
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("slow.js");
    std::fs::write(&script, SLOW).unwrap();
    let hv = |more: &[&str]| {
        let mut hv = Command::new(binary("hv"));
        hv.args(["--server", host.url(), "js"]).arg(&script);
        hv.args(more).output().unwrap()
    };
    let output = hv(&["--stream"]);
    assert!(output.status.success());
    assert_eq!(output.stdout, b"one\ntwo\n");
    assert_eq!(output.stderr, b"careful\n");
    let output = hv(&["--stream", "--output", "json"]);
    assert_eq!(output.status.code(), Some(2));
}
