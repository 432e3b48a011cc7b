//! How many requests one instance serves.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use reqwest::Client;
use serde_json::Value;

/// The number of the request among those that its instance has served.
async fn count(host: &Host, agent: &str) -> u64 {
    let text = host.get(agent, "/counter").await.text().await.unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["served"]
        .as_u64()
        .unwrap()
}

async fn counts<const N: usize>(host: &Host, agent: &str) -> [u64; N] {
    let mut counts = [0; N];
    for one in &mut counts {
        *one = count(host, agent).await;
    }
    counts
}

#[tokio::test]
async fn each_request_meets_an_instance_of_its_own() {
    let host = Host::start();
    let info = host.deploy(&owner(), "bad-agent", "bad", "").await.info;
    assert_eq!(info.reuse, 1);
    assert_eq!(counts(&host, "bad").await, [1, 1, 1]);
}

#[tokio::test]
async fn an_instance_serves_as_many_as_its_manifest_says() {
    let host = Host::start();
    host.deploy(&owner(), "bad-agent", "bad", "reuse = 3").await;
    assert_eq!(counts(&host, "bad").await, [1, 2, 3, 1, 2, 3, 1]);
}

#[tokio::test]
async fn after_a_trap_or_a_limit_there_is_a_new_one() {
    let host = Host::with("[limits]\nwall = '1s'");
    host.deploy(&owner(), "bad-agent", "bad", "reuse = 1000")
        .await;
    for end in ["/trap-before", "/sleep-forever"] {
        assert_eq!(counts(&host, "bad").await, [1, 2]);
        assert!(host.get("bad", end).await.status().is_server_error());
    }
    assert_eq!(count(&host, "bad").await, 1);
}

#[tokio::test]
async fn an_instance_whose_client_went_away_serves_nobody_else() {
    let host = Host::with("[limits]\nexecutions = 1\nqueue = 100");
    host.deploy(&owner(), "bad-agent", "bad", "reuse = 1000")
        .await;
    assert_eq!(count(&host, "bad").await, 1);
    let mut wire = hypervisor_tests::wire::Wire::open(host.url()).await;
    wire.send("GET /agents/bad/write-forever HTTP/1.1\r\nhost: h\r\n\r\n")
        .await;
    wire.until("xxxx").await;
    drop(wire);
    assert_eq!(count(&host, "bad").await, 1);
}

#[tokio::test]
async fn one_instance_serves_one_request_at_a_time() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "echo", "reuse = 1000")
        .await;
    let send = |number: u32| {
        let request = Client::new().post(host.agent("echo", "/"));
        async move {
            let body = number.to_string().repeat(10_000);
            let answer = request.body(body.clone()).send().await.unwrap();
            assert!(answer.text().await.unwrap() == body);
        }
    };
    let calls: Vec<_> = (0..50).map(|number| tokio::spawn(send(number))).collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn agents_of_the_same_component_share_no_instance() {
    let host = Host::start();
    let (one, other) = (owner(), owner());
    for (owner, name) in [(&one, "first"), (&one, "second"), (&other, "third")] {
        host.deploy(owner, "bad-agent", name, "reuse = 1000").await;
    }
    assert_eq!(counts(&host, "first").await, [1, 2]);
    assert_eq!(counts(&host, "second").await, [1, 2]);
    assert_eq!(count(&host, "third").await, 1);
    assert_eq!(count(&host, "first").await, 3);
}

#[tokio::test]
async fn an_agent_that_is_deployed_again_begins_anew() {
    let host = Host::start();
    let owner = owner();
    for _ in 0..2 {
        host.deploy(&owner, "bad-agent", "bad", "reuse = 1000")
            .await;
        assert_eq!(counts(&host, "bad").await, [1, 2]);
    }
}

#[tokio::test]
async fn sealed_and_plain_calls_meet_the_same_instances() {
    let host = Host::start();
    host.deploy(&owner(), "bad-agent", "bad", "reuse = 1000")
        .await;
    assert_eq!(count(&host, "bad").await, 1);
    let request = axum::http::Request::get("/counter").body(Vec::new());
    let name = hypervisor_tests::agents::reference("bad");
    let session = host.session().await;
    let answer = session.call_service(&name, request.unwrap(), None).await;
    let answer = answer.unwrap().into_response().unwrap();
    assert_eq!(answer.body(), b"{\"served\":2}\n");
}
