//! Fronts that fail, and clients that take all that a front may give: its own clients see errors, and everybody else is served.

use std::net::{IpAddr, Ipv4Addr};

use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::guest_file;
use hypervisor_tests::{Host, eventually};
use reqwest::{Client, Method, Response};
use tokio::task::JoinSet;

use crate::agents::kit::fails;
use crate::protocols::protocol;

/// Who attacks, while the test's other requests come from 127.0.0.1.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PATHS: [&str; 7] = [
    "/trap-before",
    "/trap-after-headers",
    "/never",
    "/spin",
    "/oom",
    "/sleep-forever",
    "/counter",
];

/// A host with a front that misbehaves, one that keeps rows, and an agent.
async fn fronted(limits: &str, front: &str) -> Host {
    let keeper = guest_file("keeper");
    let host = Host::with(&format!(
        "[limits]\n{limits}\n{}\n[[protocols]]\nname = 'keeper'\ncomponent = {keeper:?}\npaths = ['/keep/']\n{front}\n",
        protocol("bad", "bad-agent", &PATHS)
    ));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    host
}

/// A client whose requests come from an address.
fn from(address: IpAddr) -> Client {
    Client::builder().local_address(address).build().unwrap()
}

async fn asked(client: &Client, host: &Host, method: Method, path: &str, body: String) -> Response {
    let url = format!("{}{path}", host.url());
    client.request(method, url).body(body).send().await.unwrap()
}

/// That agents, the other front and the host's own API answer.
async fn others_are_served(host: &Host) {
    assert_eq!(host.get("hello", "/").await.status(), 200);
    for path in ["/ping", "/agents", "/keep/keys?bucket=a"] {
        let answer = reqwest::get(format!("{}{path}", host.url())).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_front_that_traps_or_gives_no_answer_fails_for_that_request_alone() {
    let host = fronted("", "").await;
    for path in ["/trap-before", "/never"] {
        for _ in 0..3 {
            let answer = reqwest::get(format!("{}{path}", host.url())).await.unwrap();
            assert_eq!(answer.status(), 502, "{path}");
            let body = answer.text().await.unwrap();
            assert!(!body.contains("panic") && !body.contains("wasm"), "{body}");
        }
    }
    fails(Client::new().get(format!("{}/trap-after-headers", host.url()))).await;
    let counted = reqwest::get(format!("{}/counter", host.url()))
        .await
        .unwrap();
    assert_eq!(counted.status(), 200);
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_front_that_computes_for_ever_is_stopped_by_its_limit_while_others_are_served() {
    let host = fronted("cpu = '1s'", "").await;
    let mut spinning = JoinSet::new();
    for _ in 0..4 {
        let url = format!("{}/spin", host.url());
        spinning.spawn(async move { reqwest::get(url).await.unwrap().status().as_u16() });
    }
    others_are_served(&host).await;
    while let Some(status) = spinning.join_next().await {
        let status = status.unwrap();
        assert!(matches!(status, 502 | 504), "{status}");
    }
    let limit = "hypervisor_agent_calls_total{exit=\"limit\"}";
    assert_eq!(host.counter(limit).await, 4);
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_front_that_takes_all_its_memory_fails_alone() {
    let host = fronted("memory = '64MiB'", "").await;
    let mut taking = JoinSet::new();
    for _ in 0..4 {
        let url = format!("{}/oom", host.url());
        taking.spawn(async move { reqwest::get(url).await.unwrap().status().as_u16() });
    }
    while let Some(status) = taking.join_next().await {
        let status = status.unwrap();
        assert!(matches!(status, 502 | 504), "{status}");
    }
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_front_that_waits_for_ever_ends_at_its_time() {
    let host = fronted("wall = '500ms'", "").await;
    let answer = reqwest::get(format!("{}/sleep-forever", host.url()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 504);
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_client_that_fills_its_part_of_a_fronts_rows_leaves_others_theirs() {
    let host = fronted("", "storage = '256KiB'").await;
    let attacker = from(ATTACKER);
    let value = "v".repeat(10_000);
    let mut written = 0;
    loop {
        let path = format!("/keep/row?bucket=a&key={written}");
        let answer = asked(&attacker, &host, Method::PUT, &path, value.clone()).await;
        match answer.status().as_u16() {
            200 => written += 1,
            507 => break,
            status => panic!("{status}"),
        }
        assert!(written < 100, "nothing bounds one client");
    }
    // A quarter of it.
    assert!((4..=6).contains(&written), "{written}");
    let client = Client::new();
    let path = "/keep/row?bucket=a&key=mine";
    let answer = asked(&client, &host, Method::PUT, path, value).await;
    assert_eq!(answer.status(), 200);
    others_are_served(&host).await;
    // What it gives back it may use again.
    let path = "/keep/row?bucket=a&key=0";
    let answer = asked(&attacker, &host, Method::DELETE, path, String::new()).await;
    assert_eq!(answer.status(), 200);
    let answer = asked(&attacker, &host, Method::PUT, path, "v".repeat(9_000)).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_row_is_its_first_writers_and_nobody_else_pays_for_it() {
    let host = fronted("", "storage = '64KiB'").await;
    let attacker = from(ATTACKER);
    let path = "/keep/row?bucket=a&key=k";
    let client = Client::new();
    let first = asked(&client, &host, Method::PUT, path, "v".repeat(1000)).await;
    assert_eq!(first.status(), 200);
    // The attacker makes somebody else's row longer: that fills what is left of the other's part, and no more.
    let grown = asked(&attacker, &host, Method::PUT, path, "v".repeat(20_000)).await;
    assert_eq!(grown.status(), 507);
    let path = "/keep/row?bucket=a&key=own";
    let own = asked(&attacker, &host, Method::PUT, path, "v".repeat(10_000)).await;
    assert_eq!(own.status(), 200);
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_client_that_has_a_front_go_on_in_the_background_fills_its_own_share_of_slots_alone() {
    let host = fronted(
        "executions = 8\npeer_executions = 3\nqueue = 0\n",
        "background = '5m'",
    )
    .await;
    let attacker = from(ATTACKER);
    for key in 0..3 {
        let path = format!("/keep/later?bucket=a&key={key}&ms=600000");
        let answer = asked(&attacker, &host, Method::POST, &path, String::new()).await;
        assert_eq!(answer.status(), 202);
    }
    for path in ["/keep/keys?bucket=a", "/agents/hello/"] {
        let answer = asked(&attacker, &host, Method::GET, path, String::new()).await;
        assert_eq!(answer.status(), 503, "{path}");
    }
    others_are_served(&host).await;
}

#[tokio::test]
async fn a_host_whose_slots_all_go_on_in_the_background_still_says_what_it_is() {
    let host = fronted("executions = 2\nqueue = 0\n", "background = '5m'").await;
    for key in 0..2 {
        let path = format!("/keep/later?bucket=a&key={key}&ms=600000");
        let answer = asked(&Client::new(), &host, Method::POST, &path, String::new()).await;
        assert_eq!(answer.status(), 202);
    }
    assert_eq!(host.get("hello", "/").await.status(), 503);
    for path in ["/ping", "/agents"] {
        let answer = reqwest::get(format!("{}{path}", host.url())).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_front_in_the_background_that_computes_gives_its_slot_back_at_its_limit() {
    let component = guest_file("bad-agent");
    let host = Host::with(&format!(
        "[limits]\nexecutions = 2\ncpu = '500ms'\n[[protocols]]\nname = 'bad'\ncomponent = {component:?}\npaths = ['/spin']\nbackground = '5m'\n"
    ));
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let mut left = JoinSet::new();
    for _ in 0..2 {
        let url = format!("{}/spin", host.url());
        left.spawn(async move { reqwest::get(url).await.map(|it| it.status().as_u16()) });
    }
    while let Some(status) = left.join_next().await {
        let status = status.unwrap().unwrap();
        assert!(matches!(status, 502 | 504), "{status}");
    }
    eventually("the slots are free", async || {
        (host.counter("hypervisor_executions ").await == 0).then_some(())
    })
    .await;
    assert_eq!(host.get("hello", "/").await.status(), 200);
}
