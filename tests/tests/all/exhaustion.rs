//! More than there is room for: who is refused, what they are told, and that it passes. `hypervisor-load` does the same for longer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;

use hypervisor_client::Program;
use hypervisor_client::protocol::{ContentFormat, Exit, LimitKind};
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component, guest};
use hypervisor_tests::{Host, RawSession, eventually, within};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test]
async fn of_twice_the_queue_the_excess_is_told_when_to_come_again_and_the_rest_is_served() {
    const QUEUE: usize = 4;
    let host = Host::with(&format!(
        "[limits]\nexecutions = 1\nqueue = {QUEUE}\ncpu = '1h'\nwall = '1h'\n"
    ));
    // Holds the only slot until the excess is refused.
    let session = host.session().await;
    let holder = tokio::spawn(async move {
        let sleepy = guest("sleepy");
        let program = Program::new(&sleepy).argument("3600000");
        let _ = session.run_wasm(program).await;
    });
    let url = format!("{}/status", host.admin());
    let operator = host.operator();
    eventually("the slot is taken", async || {
        let status = operator.get(&url).send().await.ok()?.text().await.ok()?;
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        (status["in_use"][0]["used"] == 1).then_some(())
    })
    .await;

    let raw = Arc::new(RawSession::open(&host).await);
    let mut offered = JoinSet::new();
    for _ in 0..2 * QUEUE {
        let raw = Arc::clone(&raw);
        let (request, pending) = raw.request(&guest("hello"), None, &[]);
        offered.spawn(async move { (raw.send(&request).await, pending) });
    }
    for _ in 0..QUEUE {
        let refused = within("a refusal", offered.join_next()).await;
        let (answer, _) = refused.unwrap().unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.problem(), "overloaded");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    holder.abort();
    for _ in 0..QUEUE {
        let served = within("an answer", offered.join_next()).await;
        let (answer, pending) = served.unwrap().unwrap();
        let opened = raw.open_answer(ContentFormat::Cbor, &pending, &answer);
        assert_eq!(opened.result, b"hello\n");
    }
}

#[tokio::test]
async fn a_host_without_a_descriptor_left_serves_again_when_connections_end() {
    let host = Host::start();
    let hello = guest("hello");
    assert_eq!(host.run(Program::new(&hello)).await.result, b"hello\n");
    let Ok(open) = host.descriptors() else {
        eprintln!("SKIPPED: this test may not count the host's descriptors");
        return;
    };
    // What a compiler takes has room, and more connections than that have not.
    let most = open + 24;
    host.bound_descriptors(most);
    let address = host.url().strip_prefix("http://").unwrap().to_owned();
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect(&address).await.unwrap());
    }
    eventually("the host has no descriptor left", async || {
        (host.descriptors().unwrap() >= most).then_some(())
    })
    .await;
    drop(held);
    let result = eventually("the host serves again", async || {
        let session = host.client().open_session().await.ok()?;
        let ran = session.run_wasm(Program::new(&hello)).await.ok()?;
        (ran.report.exit == Exit::Ok).then_some(ran.result)
    });
    assert_eq!(result.await, b"hello\n");
}

#[tokio::test]
async fn programs_that_take_all_the_memory_they_may_end_by_their_own_limit_and_leave_the_host_serving()
 {
    const SLOTS: usize = 8;
    let host = Host::with(&format!(
        "[limits]\nexecutions = {SLOTS}\nmemory = '32 MiB'\n"
    ));
    let session = Arc::new(host.session().await);
    let mut running = JoinSet::new();
    for _ in 0..4 * SLOTS {
        let session = Arc::clone(&session);
        running.spawn(async move {
            let oom = guest("oom");
            session.run_wasm(Program::new(&oom)).await.unwrap()
        });
    }
    while let Some(ran) = running.join_next().await {
        let exit = ran.unwrap().report.exit;
        let Exit::Limit { which, .. } = exit else {
            panic!("{exit:?}");
        };
        assert_eq!(which, LimitKind::Memory);
    }
    let hello = guest("hello");
    assert_eq!(host.run(Program::new(&hello)).await.result, b"hello\n");
}

#[tokio::test]
async fn what_a_flood_took_of_memory_goes_back_while_nobody_calls() {
    const BODY: usize = 8 << 20;
    const FLOOD: u64 = 48 << 20;
    let host = Host::start();
    let hello = Arc::new(guest("hello"));
    assert_eq!(host.run(Program::new(&hello)).await.result, b"hello\n");
    let session = Arc::new(host.session().await);
    let before = host.resident();
    // How many are there at once is up to the machine.
    eventually("enough memory to tell", async || {
        let mut running = JoinSet::new();
        for _ in 0..8 {
            let (session, hello) = (Arc::clone(&session), Arc::clone(&hello));
            running.spawn(async move {
                let input = vec![7; BODY];
                session.run_wasm(Program::new(&hello).stdin(&input)).await
            });
        }
        while running.join_next().await.is_some() {}
        (host.peak() > before + FLOOD).then_some(())
    })
    .await;
    // No call wakes anything up that would give it back.
    host.grown(before, FLOOD / 2).await;
}

#[tokio::test]
async fn slots_that_wait_warm_have_a_bound_whatever_number_of_programs_had_one() {
    // Torn down beside the next program.
    const ENDING: usize = 16;
    let cores = std::thread::available_parallelism().unwrap().get();
    let most = (16 * cores).min(128);
    let host = Host::start();
    let session = host.session().await;
    for number in 0..most + 2 * ENDING {
        let program = component(&format!(
            r#"(memory 1)
               (func (export "run") (result i32) (i32.store (i32.const 0) (i32.const {number})) (i32.const 0))"#
        ));
        let ran = session.run_wasm(Program::new(&program)).await.unwrap();
        assert_eq!(ran.report.exit, Exit::Ok);
    }
    let scrape = reqwest::get(format!("{}/metrics", host.admin()))
        .await
        .unwrap();
    let scrape = scrape.text().await.unwrap();
    let warm = "hypervisor_pool_memories{state=\"warm\"} ";
    let warm = scrape.lines().find_map(|line| line.strip_prefix(warm));
    let warm: usize = warm.unwrap().parse().unwrap();
    assert!(warm <= most + ENDING, "{warm} wait");
}

#[test]
fn the_hosts_allocator_is_built_as_the_project_says() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let text = std::fs::read_to_string(format!("{root}/.cargo/config.toml")).unwrap();
    let (_, said) = text
        .split_once("JEMALLOC_SYS_WITH_MALLOC_CONF = \"")
        .unwrap();
    let (said, _) = said.split_once('"').unwrap();
    for name in ["hypervisor", "hypervisor-ctl"] {
        let program = std::fs::read(binary(name)).unwrap();
        let found = memchr::memmem::find(&program, said.as_bytes());
        assert!(found.is_some(), "{name} was built without {said}");
    }
}
