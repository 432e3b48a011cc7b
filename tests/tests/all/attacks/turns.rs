//! Turns at the compiler: who has them, and what becomes of whoever waits in vain.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hypervisor_client::Program;
use hypervisor_client::protocol::{ContentFormat, Exit, Rejection};
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::programs::{component, guest, huge_function, wat};
use hypervisor_tests::{Host, RawSession, eventually, within};
use rustix::process::{Pid, Signal, kill_process};

const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Compilations may take as long as a test does.
const PATIENT: &str = "[limits]\ncompile = '10m'\n";

/// Compilers that stand still, and so keep their places; ended with the test.
struct Still(Vec<Pid>);

impl Still {
    /// Stops every compiler of the host, of which there is one at the least.
    async fn all(host: &Host) -> Self {
        let compilers = eventually("a compiler", async || {
            let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
            let children = threads
                .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
            let children: String = children.collect();
            let pids = children.split_whitespace();
            let pids: Vec<Pid> = pids
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .collect();
            (!pids.is_empty()).then_some(pids)
        })
        .await;
        for pid in &compilers {
            kill_process(*pid, Signal::STOP).unwrap();
        }
        Self(compilers)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn many_sessions_of_one_address_leave_a_place_at_the_compiler_for_another() {
    const SESSIONS: u64 = 6;
    let host = Host::with(PATIENT);
    let slow = huge_function(6 << 20);
    let mut attack = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        let session = RawSession::open_from(&host, ATTACKER).await;
        let slow = slow.clone();
        attack.spawn(async move {
            let (request, _) = session.request(&slow, None, &[]);
            session.send(&request).await
        });
    }
    eventually("all of them have been admitted", async || {
        (host.counter("hypervisor_executions").await == SESSIONS).then_some(())
    })
    .await;
    let _still = Still::all(&host).await;
    let hello = guest("hello");
    let execution = within("the victim's program", host.run(Program::new(&hello))).await;
    assert_eq!(execution.result, b"hello\n");
}

#[tokio::test]
async fn a_deployment_that_finds_no_turn_at_the_compiler_is_told_to_come_again() {
    let host = Host::with(PATIENT);
    let greedy = host.session().await;
    let slow = huge_function(8 << 20);
    let compiling = tokio::spawn(async move { greedy.run_wasm(Program::new(&slow)).await.is_ok() });
    let _still = Still::all(&host).await;
    let session = Arc::new(RawSession::open(&host).await);
    let owner = Arc::new(owner());
    let small = component(r#"(func (export "run") (result i32) (i32.const 0))"#);
    let mut waiting = tokio::task::JoinSet::new();
    let refused = loop {
        let (by, its, small) = (Arc::clone(&session), Arc::clone(&owner), small.clone());
        let text = manifest("agent", "");
        waiting.spawn(async move { by.deploy(&its, &small, &text).await.0 });
        assert!(waiting.len() < 200, "so many may wait");
        if let Some(answer) = waiting.try_join_next() {
            break answer.unwrap();
        }
        // Components are read in the order of their arrival: what was sent before this one waits to be compiled.
        let (answer, pending) = reading(&session, &owner).await;
        let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
        assert!(matches!(opened.report.exit, Exit::Rejected { .. }));
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.problem(), "overloaded");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(!compiling.is_finished());
    compiling.abort();
}

/// Deploys a component that is read, and no more than that.
async fn reading(
    session: &RawSession,
    owner: &hypervisor_client::protocol::OwnerKey,
) -> (
    hypervisor_tests::Answer,
    hypervisor_client::protocol::PendingRequest,
) {
    session
        .deploy(owner, &wat("(component)"), &manifest("nothing", ""))
        .await
}

#[tokio::test]
async fn a_deployment_with_more_imports_than_a_host_takes_is_rejected_with_that_sentence() {
    let host = Host::start();
    let imports: String = (0..300)
        .map(|n| format!("(import \"wasi:clocks/monotonic-clock@0.2.{n}\" (instance))"))
        .collect();
    let many = wat(&format!("(component {imports})"));
    let refused = host
        .try_deploy(&owner(), &many, &manifest("many", ""))
        .await;
    let (problem, detail) = hypervisor_tests::agents::rejection(&refused.unwrap_err());
    assert_eq!(problem, Rejection::InvalidComponent);
    assert!(
        detail.contains("has too many imports") && detail.contains("256"),
        "{detail}"
    );
}
