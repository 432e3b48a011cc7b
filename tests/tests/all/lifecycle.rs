//! Admission, clients that go away, and the end of the host.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;

use hypervisor_client::protocol::{ContentFormat, PendingRequest, SessionId};
use hypervisor_client::{Error, Program, Session};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession, eventually, within};
use tokio::task::JoinHandle;

/// Starts a program in the only slot of a host without a queue, and returns once it holds the slot.
async fn occupy(
    host: &Host,
    program: &'static str,
    argument: &'static str,
) -> (JoinHandle<Result<Vec<u8>, Error>>, Session) {
    let session = host.session().await;
    let running = tokio::spawn(async move {
        let bytes = guest(program);
        loop {
            let ran = session
                .run_wasm(Program::new(&bytes).argument(argument))
                .await;
            match ran {
                // The probe was in the slot.
                Err(error) if is_overload(&error) => tokio::task::yield_now().await,
                ran => return ran.map(|execution| execution.result),
            }
        }
    });
    let probe = host.session().await;
    // The probe is refused exactly while the slot is held.
    eventually("the program holds the slot", async || {
        match probe.run_wasm(Program::new(b"not wasm")).await {
            Err(error) if is_overload(&error) => Some(()),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
    (running, probe)
}

fn is_overload(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if problem.kind.ends_with(":overloaded"))
}

/// Times that a program sleeps, for a test that needs something to happen meanwhile: the next longer one is for a machine that
/// was too slow for the one before.
const SLEEPS: [&str; 3] = ["1500", "6000", "24000"];

const ONE_SLOT: &str = "[limits]\nexecutions = 1\nqueue = 0\ncpu = '1h'\nwall = '1h'\n";

#[tokio::test]
async fn beyond_the_queue_the_answer_is_503_with_retry_after() {
    let host = Host::with(ONE_SLOT);
    let (running, _) = occupy(&host, "sleepy", "3600000").await;
    let raw = RawSession::open(&host).await;
    let (request, _) = raw.request(&guest("hello"), None, &[]);
    let answer = raw.send(&request).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded")
    );
    assert_eq!(answer.headers.get("retry-after").unwrap(), "1");
    running.abort();
}

#[tokio::test]
async fn a_waiting_request_gets_the_slot_when_it_is_free() {
    let host = Host::with("[limits]\nexecutions = 1\nqueue = 8");
    let session = Arc::new(host.session().await);
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let session = Arc::clone(&session);
            tokio::spawn(async move {
                session
                    .run_wasm(Program::new(&guest("hello")))
                    .await
                    .unwrap()
                    .result
            })
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), b"hello\n");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_stops_a_guest_that_spins() {
    client_goes_away("spin").await;
}

#[tokio::test]
async fn a_client_that_goes_away_stops_a_guest_that_sleeps() {
    client_goes_away("sleepy").await;
}

async fn client_goes_away(program: &'static str) {
    let host = Host::with(ONE_SLOT);
    let (running, probe) = occupy(&host, program, "3600000").await;
    // Dropping the request closes its connection.
    running.abort();
    let _ = running.await;
    // The guest may run for an hour, so the slot comes free only because it was stopped.
    let hello = guest("hello");
    let result = eventually("the slot is free", async || {
        match probe.run_wasm(Program::new(&hello)).await {
            Ok(execution) => Some(execution.result),
            Err(error) if is_overload(&error) => None,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
    assert_eq!(result, b"hello\n");
}

#[tokio::test]
async fn sigterm_lets_running_executions_finish_and_takes_no_new_ones() {
    for sleep in SLEEPS {
        let mut host = Host::with(ONE_SLOT);
        let (running, _) = occupy(&host, "sleepy", sleep).await;
        host.terminate();
        host.has_logged("draining").await;
        let overlapped = !running.is_finished();
        assert_eq!(
            within("the result", running).await.unwrap().unwrap(),
            b"awake\n"
        );
        assert!(host.wait().success());
        assert!(host.client().open_session().await.is_err());
        if overlapped {
            return;
        }
    }
    panic!("each program ended before the signal was taken");
}

#[tokio::test]
async fn executions_that_outlive_the_drain_deadline_are_cut_off_and_the_exit_status_says_so() {
    let mut host = Host::with(&format!("{ONE_SLOT}drain = '100ms'"));
    let (running, _) = occupy(&host, "spin", "").await;
    host.terminate();
    assert!(within("an end", running).await.unwrap().is_err());
    assert_eq!(host.wait().code(), Some(1));
    assert!(host.log().contains("draining"));
}

#[tokio::test]
async fn a_second_signal_ends_the_host_at_once() {
    let mut host = Host::with(ONE_SLOT);
    let (running, _) = occupy(&host, "sleepy", "3600000").await;
    host.terminate();
    host.has_logged("draining").await;
    host.terminate();
    assert_eq!(host.wait().code(), Some(143));
    assert!(within("an end", running).await.unwrap().is_err());
}

#[tokio::test]
async fn a_connection_that_never_sends_a_byte_is_closed() {
    use tokio::io::AsyncReadExt;
    let host = Host::with("[limits]\nreceive = '100ms'");
    let address = host.url().strip_prefix("http://").unwrap();
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let read = within("the end of the connection", silent.read(&mut byte)).await;
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_that_never_ends_its_request_is_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = Host::with("[limits]\nreceive = '100ms'");
    let address = host.url().strip_prefix("http://").unwrap();
    for part in [
        "POST /test/exec",
        "POST /test/execute/wasm HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
        slow.write_all(part.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within("the end of the connection", slow.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut host = Host::start();
    let address = host.url().strip_prefix("http://").unwrap().to_owned();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    host.client().ping().await.unwrap();
    host.terminate();
    assert!(host.wait().success());
}

#[tokio::test]
async fn a_flood_of_sessions_is_bounded_and_the_one_idle_for_longest_goes() {
    let host = Host::with("[limits]\nsessions = 20");
    let (idle, used) = (RawSession::open(&host).await, RawSession::open(&host).await);
    for _ in 0..5 {
        for _ in 0..5 {
            RawSession::open(&host).await;
        }
        used.still_works().await;
    }
    let (request, _) = idle.request(&guest("hello"), None, &[]);
    assert_eq!(idle.send(&request).await.problem(), "unknown-session");
    used.still_works().await;
}

#[tokio::test]
async fn many_executions_at_once_all_answer() {
    let host = Host::start();
    let session = Arc::new(RawSession::open(&host).await);
    let hello = Arc::new(guest("hello"));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (session, hello) = (Arc::clone(&session), Arc::clone(&hello));
        all.spawn(async move {
            let (request, pending): (_, PendingRequest) = session.request(&hello, None, &[]);
            let answer = session.send(&request).await;
            session
                .open_answer(ContentFormat::Cbor, &pending, &answer)
                .result
        });
    }
    assert!(
        all.join_all()
            .await
            .iter()
            .all(|result| result == b"hello\n")
    );
}

#[tokio::test]
async fn two_hundred_sleepers_sleep_at_the_same_time() {
    let host = Host::start();
    let session = Arc::new(host.session().await);
    let sleepy = Arc::new(guest("sleepy"));
    let one = session
        .run_wasm(Program::new(&sleepy).argument("0"))
        .await
        .unwrap();
    assert_eq!(one.result, b"awake\n");
    let started = std::time::Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (session, sleepy) = (Arc::clone(&session), Arc::clone(&sleepy));
        all.spawn(async move {
            session
                .run_wasm(Program::new(&sleepy).argument("1000"))
                .await
                .unwrap()
                .result
        });
    }
    assert!(
        all.join_all()
            .await
            .iter()
            .all(|result| result == b"awake\n")
    );
    // One after another they would take 200 s; nothing finer is asserted of a machine that is shared.
    assert!(started.elapsed().as_secs() < 100);
}

#[tokio::test]
async fn ids_of_sessions_sort_by_time() {
    let host = Host::start();
    let first: SessionId = *host.session().await.id();
    let second = *host.session().await.id();
    assert!(first < second);
}

#[tokio::test]
async fn probes_find_the_host_alive_and_ready_on_a_port_of_their_own() {
    let host = Host::with("[admin]\nlistening = '127.0.0.1:0'\n");
    host.ready().await;
    for probe in ["livez", "readyz"] {
        let answer = reqwest::get(format!("{}/{probe}", host.admin()))
            .await
            .unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.text().await.unwrap().as_str()
            ),
            (200, "ok\n")
        );
    }
    let public = reqwest::get(format!("{}/readyz", host.url()))
        .await
        .unwrap();
    assert_eq!(public.status(), 404);
}
