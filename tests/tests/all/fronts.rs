//! What components have that answer in the host's own name, beyond what agents have: rows, time after their client has left, a caller
//! whom the host names, keys that have names.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::Cursor;

use bhttp::{Message, Mode};
use hypervisor_client::protocol::{ContentFormat, Exit, Operation, OwnerKey, Rejection};
use hypervisor_tests::agents::{owner, rejection};
use hypervisor_tests::programs::{guest, guest_file};
use hypervisor_tests::{Host, RawSession, eventually};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::agents::binary_http::written;
use crate::payments::kit::checked;

/// The section that has the guest `keeper` answer below `/keep/`.
fn keeper(more: &str) -> String {
    let component = guest_file("keeper");
    format!(
        "[[protocols]]\nname = 'keeper'\ncomponent = {component:?}\npaths = ['/keep/']\n{more}\n"
    )
}

/// A platform that gives a sealing key, so that rows survive a restart.
const LASTING: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'fronts'\n";

fn url(host: &Host, path: &str) -> String {
    format!("{}/keep/{path}", host.url())
}

async fn ask(host: &Host, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Response {
    let request = Client::new().request(method, url(host, path)).body(body);
    request.send().await.unwrap()
}

async fn put(host: &Host, path: &str, value: impl Into<reqwest::Body>) -> u16 {
    ask(host, Method::PUT, path, value).await.status().as_u16()
}

async fn get(host: &Host, path: &str) -> Option<String> {
    let answer = ask(host, Method::GET, path, "").await;
    match answer.status().as_u16() {
        200 => Some(answer.text().await.unwrap()),
        404 => None,
        status => panic!("{status}: {}", answer.text().await.unwrap()),
    }
}

/// Waits until the row `k` in the bucket `a` has this value.
async fn is_marked(host: &Host, mark: &str) {
    let is_there = async || {
        let value = get(host, "row?bucket=a&key=k").await;
        (value.as_deref() == Some(mark)).then_some(())
    };
    eventually(mark, is_there).await;
}

async fn said(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn what_one_instance_wrote_the_next_one_reads() {
    let host = Host::with(&keeper(""));
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
    assert_eq!(put(&host, "row?bucket=a&key=k", "a value").await, 200);
    assert_eq!(
        get(&host, "row?bucket=a&key=k").await.as_deref(),
        Some("a value")
    );
    assert_eq!(
        get(&host, "row?bucket=b&key=k").await,
        None,
        "another bucket"
    );
    let deleted = ask(&host, Method::DELETE, "row?bucket=a&key=k", "").await;
    assert_eq!(deleted.status(), 200);
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
}

#[tokio::test]
async fn all_keys_of_a_bucket_are_listed_however_many() {
    let host = Host::with(&keeper(""));
    let names: Vec<String> = (0..300).map(|number| format!("key {number:03}")).collect();
    let rows: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), json!("a value")))
        .collect();
    let body = Value::Object(rows).to_string();
    let written = ask(&host, Method::POST, "rows?bucket=a", body).await;
    assert_eq!(written.status(), 200);
    assert_eq!(put(&host, "row?bucket=b&key=other", "").await, 200);
    let listed = said(ask(&host, Method::GET, "keys?bucket=a", "").await).await;
    assert_eq!(listed["keys"], json!(names));
    let none = said(ask(&host, Method::GET, "keys?bucket=c", "").await).await;
    assert_eq!(none["keys"], json!([]));
}

#[tokio::test]
async fn a_number_grows_by_one_for_each_of_those_who_add_at_once() {
    let host = Host::with(&keeper(""));
    let mut adding = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let to = url(&host, "add?bucket=a&key=n");
        adding.spawn(async move { said(Client::new().post(to).send().await.unwrap()).await });
    }
    let mut sums: Vec<u64> = Vec::new();
    while let Some(sum) = adding.join_next().await {
        sums.push(sum.unwrap()["sum"].as_u64().unwrap());
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=32).collect::<Vec<u64>>());
    assert_eq!(put(&host, "row?bucket=a&key=n", "no number").await, 200);
    let refused = ask(&host, Method::POST, "add?bucket=a&key=n", "").await;
    assert_eq!(refused.status(), 507);
}

#[tokio::test]
async fn what_was_written_is_there_after_the_host_was_killed() {
    let mut host = Host::with(&format!("{}{LASTING}", keeper("")));
    assert_eq!(put(&host, "row?bucket=a&key=k", "a value").await, 200);
    // A write of no rows returns when all that was written before has reached the disk.
    let flushed = ask(&host, Method::POST, "rows?bucket=a", "{}").await;
    assert_eq!(flushed.status(), 200);
    host.kill_and_restart();
    assert_eq!(
        get(&host, "row?bucket=a&key=k").await.as_deref(),
        Some("a value")
    );
}

#[tokio::test]
async fn where_the_platform_gives_no_key_nothing_outlasts_the_host() {
    let mut host = Host::with(&keeper(""));
    assert_eq!(put(&host, "row?bucket=a&key=k", "a value").await, 200);
    let flushed = ask(&host, Method::POST, "rows?bucket=a", "{}").await;
    assert_eq!(flushed.status(), 200);
    host.kill_and_restart();
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
}

#[tokio::test]
async fn nothing_that_is_kept_can_be_read_on_the_disk() {
    let host = Host::with(&format!("{}{LASTING}", keeper("")));
    let path = "row?bucket=planted-bucket&key=planted-key";
    assert_eq!(put(&host, path, "planted-value").await, 200);
    let flushed = ask(&host, Method::POST, "rows?bucket=a", "{}").await;
    assert_eq!(flushed.status(), 200);
    let file = std::fs::read(host.state().join("store/protocols.redb")).unwrap();
    assert!(!file.windows(8).any(|bytes| bytes == b"planted-"));
    assert!(!host.log().contains("planted-"));
}

#[tokio::test]
async fn two_that_keep_rows_see_nothing_of_each_other() {
    let component = guest_file("keeper");
    let other =
        format!("[[protocols]]\nname = 'other'\ncomponent = {component:?}\npaths = ['/other/']\n");
    let host = Host::with(&format!("{}{other}", keeper("")));
    assert_eq!(put(&host, "row?bucket=a&key=k", "a value").await, 200);
    let theirs = format!("{}/other/row?bucket=a&key=k", host.url());
    assert_eq!(reqwest::get(theirs).await.unwrap().status(), 404);
    let theirs = format!("{}/other/keys?bucket=a", host.url());
    let listed = said(reqwest::get(theirs).await.unwrap()).await;
    assert_eq!(listed["keys"], json!([]));
}

#[tokio::test]
async fn what_a_component_and_a_client_may_keep_is_bounded_and_less_always_fits() {
    let host = Host::with(&keeper("storage = '64KiB'"));
    let value = |bytes: usize| "v".repeat(bytes);
    // A quarter of it for one client.
    assert_eq!(put(&host, "row?bucket=a&key=1", value(8_000)).await, 200);
    assert_eq!(put(&host, "row?bucket=a&key=2", value(7_000)).await, 200);
    let refused = ask(&host, Method::PUT, "row?bucket=b&key=3", value(4_000)).await;
    assert_eq!(refused.status(), 507);
    let words = said(refused).await["error"].as_str().unwrap().to_owned();
    assert!(words.contains("one client"), "{words}");
    // What is there stays, and what takes less room is taken.
    assert_eq!(get(&host, "row?bucket=a&key=2").await, Some(value(7_000)));
    assert_eq!(put(&host, "row?bucket=a&key=1", value(2_000)).await, 200);
    assert_eq!(put(&host, "row?bucket=b&key=3", value(4_000)).await, 200);
    // All of a write or nothing.
    let both = json!({"4": value(10), "5": value(9_000)}).to_string();
    let refused = ask(&host, Method::POST, "rows?bucket=c", both).await;
    assert_eq!(refused.status(), 507);
    assert_eq!(get(&host, "row?bucket=c&key=4").await, None);
}

#[tokio::test]
async fn names_keys_and_values_have_bounds() {
    let host = Host::with(&keeper(""));
    let long = |bytes: usize| "k".repeat(bytes);
    for (path, value, status) in [
        (format!("row?bucket=a&key={}", long(1024)), 10, 200),
        (format!("row?bucket=a&key={}", long(1025)), 10, 507),
        ("row?bucket=a&key=".to_owned(), 10, 507),
        (format!("row?bucket={}&key=k", long(256)), 10, 200),
        (format!("row?bucket={}&key=k", long(257)), 10, 507),
        ("row?bucket=&key=k".to_owned(), 10, 507),
        ("row?bucket=a&key=k".to_owned(), 1 << 20, 200),
        ("row?bucket=a&key=k".to_owned(), (1 << 20) + 1, 507),
    ] {
        assert_eq!(
            put(&host, &path, long(value)).await,
            status,
            "{}",
            path.len()
        );
    }
}

#[tokio::test]
async fn an_agent_has_no_rows() {
    let host = Host::start();
    let manifest = hypervisor_tests::agents::manifest("keeper", "");
    let refused = host.try_deploy(&owner(), &guest("keeper"), &manifest).await;
    let (problem, words) = rejection(&refused.err().unwrap());
    assert_eq!(problem, Rejection::MissingImport);
    assert!(words.contains("wasi:keyvalue/"), "{words}");
}

#[tokio::test]
async fn one_in_the_background_goes_on_after_its_answer() {
    let host = Host::with(&keeper("background = '1m'"));
    let answer = ask(&host, Method::POST, "later?bucket=a&key=k&ms=300", "").await;
    assert_eq!(answer.status(), 202);
    assert_eq!(said(answer).await["accepted"], true);
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
    is_marked(&host, "done").await;
}

#[tokio::test]
async fn one_in_the_background_goes_on_when_its_client_has_left() {
    let host = Host::with(&keeper("background = '1m'"));
    let mut answer = ask(&host, Method::GET, "drip?bucket=a&key=k", "").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "drip\n");
    drop(answer);
    is_marked(&host, "left").await;
}

#[tokio::test]
async fn one_in_the_background_ends_when_its_time_is_up() {
    let host = Host::with(&keeper("background = '300ms'"));
    let answer = ask(&host, Method::POST, "later?bucket=a&key=k&ms=60000", "").await;
    assert_eq!(answer.status(), 202);
    let limit = "hypervisor_agent_calls_total{exit=\"limit\"}";
    let is_over = async || (host.counter(limit).await == 1).then_some(());
    eventually("it was stopped", is_over).await;
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
}

#[tokio::test]
async fn what_goes_on_in_the_background_holds_its_slot() {
    let host = Host::with(&format!(
        "{}[limits]\nexecutions = 2\nqueue = 0\n",
        keeper("background = '1m'")
    ));
    for key in ["1", "2"] {
        let path = format!("later?bucket=a&key={key}&ms=60000");
        assert_eq!(ask(&host, Method::POST, &path, "").await.status(), 202);
    }
    let full = ask(&host, Method::GET, "keys?bucket=a", "").await;
    assert_eq!(full.status(), 503);
}

#[tokio::test]
async fn without_background_one_ends_with_its_client() {
    let host = Host::with(&keeper(""));
    let mut answer = ask(&host, Method::GET, "drip?bucket=a&key=k", "").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "drip\n");
    drop(answer);
    let is_over = async || (host.counter("hypervisor_executions ").await == 0).then_some(());
    eventually("it was stopped", is_over).await;
    assert_eq!(get(&host, "row?bucket=a&key=k").await, None);
}

#[tokio::test]
async fn a_named_key_is_the_same_in_each_instance_and_other_for_each_name() {
    let host = Host::with(&keeper(""));
    let signed = async |label: &str| {
        let signed =
            said(ask(&host, Method::GET, &format!("signed?label={label}"), "").await).await;
        signed["public_key"].as_str().unwrap().to_owned()
    };
    let key = signed("card").await;
    assert_eq!(key.len(), 66);
    assert_eq!(signed("card").await, key);
    assert_ne!(signed("other").await, key);
    let unnamed = ask(&host, Method::GET, "signed?label=", "").await;
    assert_eq!(unnamed.status(), 422);
}

/// What the guest is told of who asked, where that is sealed.
async fn sealed(
    host: &Host,
    reference: &str,
    path: &str,
    owner: Option<&OwnerKey>,
) -> (Exit, Value) {
    let raw = RawSession::open(host).await;
    let authority = b"127.0.0.1:9000".into();
    let mut message = Message::request(b"GET".into(), b"http".into(), authority, path.into());
    message.put_header("hypervisor-caller", "owner=forged");
    let input = written(&message, Mode::KnownLength);
    let proof = owner.map(|owner| raw.prove(owner));
    let (request, pending) = raw.about(Operation::Agent, reference, Some(&input), proof);
    let to = format!("/agents/{reference}");
    let answer = raw.send_to(Method::POST, &to, &request).await;
    let opened = raw.open_answer(ContentFormat::Cbor, &pending, &answer);
    let body = match opened.report.exit {
        Exit::Ok => {
            let response = Message::read_bhttp(&mut Cursor::new(&opened.result)).unwrap();
            serde_json::from_slice(response.content()).unwrap()
        }
        _ => Value::Null,
    };
    (opened.report.exit, body)
}

#[tokio::test]
async fn who_asks_is_said_by_the_host_and_nobody_else() {
    let host = Host::with(&keeper(""));
    let plain = Client::new()
        .get(url(&host, "caller"))
        .header("hypervisor-caller", "owner=forged");
    assert_eq!(
        said(plain.send().await.unwrap()).await["caller"],
        Value::Null
    );
    let (_, seen) = sealed(&host, "_.protocol", "/keep/caller", None).await;
    assert_eq!(seen["caller"], "anonymous");
    let owner = owner();
    let (_, seen) = sealed(&host, "keeper.protocol", "/keep/caller", Some(&owner)).await;
    let expected = format!("owner={}", owner.id());
    assert_eq!(seen["caller"], json!(expected));
    assert_eq!(seen["host"], "127.0.0.1:9000");
    assert_eq!(seen["path"], "/keep/caller");
}

#[tokio::test]
async fn a_sealed_call_finds_what_answers_at_its_path_and_nothing_else() {
    let host = Host::with(&keeper(""));
    for (reference, path) in [
        ("_.protocol", "/other/"),
        ("other.protocol", "/keep/caller"),
        ("keeper.protocol", "/ping"),
    ] {
        let (exit, _) = sealed(&host, reference, path, None).await;
        let Exit::Rejected { problem, .. } = exit else {
            panic!("{exit:?}");
        };
        assert_eq!(problem, Rejection::UnknownAgent, "{reference} {path}");
    }
}

#[tokio::test]
async fn the_operator_is_told_what_is_wrong_and_what_it_may_import() {
    let said = checked(&keeper("background = '25h'"));
    let words = String::from_utf8(said.stderr).unwrap();
    assert!(
        !said.status.success() && words.contains("`background` of `keeper`"),
        "{words}"
    );
    let said = checked(&keeper(""));
    let words = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.success() && words.contains("wasi:keyvalue/store@0.2.0-draft"),
        "{words}"
    );
}

#[tokio::test]
async fn a_host_that_ends_lets_what_goes_on_finish() {
    let mut host = Host::with(&format!("{}{LASTING}", keeper("background = '1m'")));
    let answer = ask(&host, Method::POST, "later?bucket=a&key=k&ms=300", "").await;
    assert_eq!(answer.status(), 202);
    host.terminate();
    assert!(host.wait().success());
    host.kill_and_restart();
    assert_eq!(
        get(&host, "row?bucket=a&key=k").await.as_deref(),
        Some("done")
    );
}
