//! Plain HTTP to agents.

use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, problem};
use hypervisor_tests::eventually;
use hypervisor_tests::wire::{Wire, exchange};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// A host with a service of `guests/` under its own name.
async fn serving(guest: &str) -> Host {
    let host = Host::start();
    host.deploy(&owner(), guest, guest, "").await;
    host
}

/// What `http-echo` saw of a request.
async fn seen(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// The values of a header field in that.
fn field<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = seen["headers"].as_array().unwrap();
    let named = fields.iter().filter(|field| field[0] == name);
    named.map(|field| field[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_deployed_service_answers_under_its_name_and_its_address() {
    let host = Host::start();
    let owner = owner();
    let deployed = host.deploy(&owner, "http-hello", "hello", "").await;
    assert_eq!(deployed.info.path, "/agents/hello/");
    for reference in ["hello", deployed.info.address.as_str()] {
        let answer = host.get(reference, "/a/b?c=d").await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-request-id"));
        let text = answer.text().await.unwrap();
        assert!(text.contains("/a/b?c=d"), "{text}");
    }
    let (status, problem) = problem(host.get("nobody", "/").await).await;
    assert_eq!(
        (status, problem.kind.as_str()),
        (404, "urn:hypervisor:problem:agent-not-found")
    );
}

#[tokio::test]
async fn sixty_four_mebibytes_go_through_and_come_back() {
    let host = serving("http-echo").await;
    let body: Vec<u8> = (0..64_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let request = Client::new().post(host.agent("http-echo", "/"));
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == body);
}

#[tokio::test]
async fn an_answer_begins_before_the_request_has_ended() {
    let host = serving("http-echo").await;
    let mut wire = Wire::open(host.url()).await;
    wire.send("POST /agents/http-echo/ HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n")
        .await;
    wire.send("first").await;
    let head = wire.until("first").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    wire.send("other").await;
    wire.until("other").await;
}

#[tokio::test]
async fn every_method_reaches_the_agent() {
    let host = serving("http-echo").await;
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE",
    ] {
        let named = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Client::new().request(named, host.agent("http-echo", "/info"));
        assert_eq!(seen(request.send().await.unwrap()).await["method"], method);
    }
}

#[tokio::test]
async fn head_is_answered_with_the_fields_of_get_and_no_body() {
    let host = serving("http-hello").await;
    let head = Client::new().head(host.agent("http-hello", "/x"));
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/plain; charset=utf-8");
    let answers = exchange(
        host.url(),
        "HEAD /agents/http-hello/x HTTP/1.1\r\nhost: h\r\n\r\n\
         GET /agents/http-hello/y HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(!answers.contains("hello from HEAD"), "{answers}");
    assert!(answers.contains("hello from GET /y"), "{answers}");
}

#[tokio::test]
async fn an_answer_that_is_written_whole_has_a_length() {
    let host = serving("http-hello").await;
    // One whose agent is interrupted by other work is not whole when its head is sent.
    eventually("an answer with a length", async || {
        let answer = exchange(
            host.url(),
            "GET /agents/http-hello/x HTTP/1.0\r\nhost: h\r\n\r\n",
        )
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "hello from GET /x\n");
        let length = format!("content-length: {}", body.len());
        head.lines().any(|line| line == length).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_may_read_an_answer_is_the_agents_to_say() {
    let host = serving("http-hello").await;
    for method in [Method::OPTIONS, Method::GET] {
        let answer = Client::new()
            .request(method.clone(), host.agent("http-hello", "/"))
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", "PUT")
            .send()
            .await
            .unwrap();
        let added: Vec<_> = answer
            .headers()
            .keys()
            .filter(|name| name.as_str().starts_with("access-control-"))
            .collect();
        assert!(added.is_empty(), "{added:?}");
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(&format!("hello from {method}")), "{text}");
    }
}

#[tokio::test]
async fn an_agent_sees_its_own_path_and_is_told_what_stood_before_it() {
    let host = Host::start();
    let deployed = host.deploy(&owner(), "http-echo", "echo", "").await;
    let address = deployed.info.address.as_str();
    for reference in ["echo", address] {
        let request = Client::new()
            .get(host.agent(reference, "/info"))
            .header("x-forwarded-prefix", "/forged");
        let seen = seen(request.send().await.unwrap()).await;
        assert_eq!(seen["path_with_query"], "/info");
        let prefix = format!("/agents/{reference}");
        assert_eq!(field(&seen, "x-forwarded-prefix"), [prefix]);
    }
}

#[tokio::test]
async fn path_and_query_reach_the_agent_as_they_were_written() {
    let host = serving("http-hello").await;
    for target in [
        "/a%2Fb//c/./%2e%2e/../d;e=f?x=%2F&x=a+b&y=%00&z",
        "/?",
        "/%C3%A4?q=%C3%A4%FF",
        "/http://elsewhere.example/",
        "//elsewhere.example/",
    ] {
        let answer = exchange(
            host.url(),
            format!(
                "GET /agents/http-hello{target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
            ),
        )
        .await;
        assert!(
            answer.contains(&format!("hello from GET {target}\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn scheme_and_authority_are_those_that_the_client_used() {
    let host = serving("http-echo").await;
    let authority = host.url().strip_prefix("http://").unwrap();
    let (one, two) = (
        Client::new(),
        Client::builder().http2_prior_knowledge().build().unwrap(),
    );
    for client in [one, two] {
        let answer = client.get(host.agent("http-echo", "/info")).send().await;
        let seen = seen(answer.unwrap()).await;
        assert_eq!(
            (&seen["scheme"], &seen["authority"]),
            (&"http".into(), &authority.into())
        );
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_malformed() {
    let host = serving("http-hello").await;
    for request in [
        "GET /agents/http-hello/ HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /agents/http-hello/ HTTP/1.0\r\n\r\n",
    ] {
        let answer = exchange(host.url(), request).await;
        let head = answer.lines().next().unwrap();
        assert!(head.ends_with("400 Bad Request"), "{answer}");
        assert!(answer.contains("malformed-request"), "{answer}");
    }
}

#[tokio::test]
async fn other_protocols_are_not_offered() {
    let host = serving("http-hello").await;
    let upgrade = "GET /agents/http-hello/ HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut wire = Wire::open(host.url()).await;
    wire.send(upgrade).await;
    let answer = wire.until("}").await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    assert!(
        answer.contains("urn:hypervisor:problem:upgrade-unsupported"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_offer_of_http_2_is_passed_over() {
    let host = serving("http-hello").await;
    let answer = exchange(
        host.url(),
        "GET /agents/http-hello/ HTTP/1.1\r\nhost: h\r\nconnection: close, upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// A host with one slot and no queue, and one agent.
async fn narrow(guest: &str) -> Host {
    let host = Host::with("[limits]\nexecutions = 1\nqueue = 0");
    let component = hypervisor_tests::programs::guest(guest);
    let session = host.session().await;
    let manifest = manifest(guest, "");
    session
        .deploy(&component, &manifest, &owner())
        .await
        .unwrap();
    host
}

/// A connection whose request holds the only slot. It is sent again where it met a probe there.
async fn holding(host: &Host, request: &str) -> Wire {
    let mut wire = Wire::open(host.url()).await;
    wire.send(request).await;
    eventually("the only slot is taken", async || {
        let taken = host.get("bad-agent", "/counter").await.status() == 503;
        let refused = wire
            .has_come()
            .is_some_and(|came| came.starts_with("HTTP/1.1 503"));
        if refused {
            wire = Wire::open(host.url()).await;
            wire.send(request).await;
        }
        (taken && !refused).then_some(())
    })
    .await;
    wire
}

#[tokio::test]
async fn a_host_with_no_slot_left_says_when_to_come_back() {
    let host = narrow("bad-agent").await;
    let request = "GET /agents/bad-agent/sleep-forever HTTP/1.1\r\nhost: h\r\n\r\n";
    let _holds = holding(&host, request).await;
    let refused = host.get("bad-agent", "/counter").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let (status, problem) = problem(refused).await;
    assert_eq!(
        (status, problem.kind.as_str()),
        (503, "urn:hypervisor:problem:overloaded")
    );
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_agent() {
    let host = narrow("bad-agent").await;
    for request in [
        "GET /agents/bad-agent/sleep-forever HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET /agents/bad-agent/spin HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET /agents/bad-agent/write-forever HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /agents/bad-agent/read-forever HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nx",
    ] {
        drop(holding(&host, request).await);
        let status = async || host.get("bad-agent", "/counter").await.status();
        eventually(
            "the slot is free again after its client went away",
            async || (status().await == StatusCode::OK).then_some(()),
        )
        .await;
    }
}

#[tokio::test]
async fn a_client_that_cancels_a_stream_of_http_2_stops_the_agent() {
    let host = narrow("bad-agent").await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    for path in ["/sleep-forever", "/spin"] {
        // The connection stays.
        let (client, url) = (client.clone(), host.agent("bad-agent", path));
        let call = tokio::spawn(async move {
            // Where it meets the probe in the slot, it comes again.
            while let Ok(answer) = client.post(&url).body("x").send().await {
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            }
        });
        let status = async || host.get("bad-agent", "/counter").await.status();
        eventually("the only slot is taken", async || {
            (status().await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
        })
        .await;
        call.abort();
        eventually("the slot is free again", async || {
            (status().await == StatusCode::OK).then_some(())
        })
        .await;
    }
}
