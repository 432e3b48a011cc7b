//! Requests that agents send: where they may go, what becomes of them, and who learns of it.

use hypervisor_client::protocol::Rejection;
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::programs::guest;
use reqwest::Client;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::agents::kit::{
    Destination, LOOPBACK, Policy, arrived, counted, error, outgoing, sent, through,
};

/// A host with this configuration, and on it `chain`, which may send to these origins.
async fn sending(config: &str, origins: &[&str]) -> Host {
    let host = Host::with(config);
    host.deploy(&owner(), "chain", "chain", &outgoing(origins))
        .await;
    host
}

#[tokio::test]
async fn a_listed_destination_is_reached_and_its_answer_comes_back() {
    let there = Destination::start().await;
    let host = sending(LOOPBACK, &[there.origin()]).await;
    let url = format!("{}/echo?a=%2F", there.origin());
    let request = Client::new().post(through(&host.agent("chain", "/"), &url));
    let body = vec![b'x'; 1 << 20];
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == body);
    assert_eq!(counted(&host, "sent").await, 1);
    let [head] = &there.seen()[..] else {
        panic!("not one request")
    };
    assert_eq!(format!("{} {}", head.method, head.uri), "POST /echo?a=%2F");
    let authority = there.origin().strip_prefix("http://").unwrap();
    assert_eq!(head.headers["host"], authority);
}

#[tokio::test]
async fn what_is_sent_says_nothing_of_the_client_or_the_host() {
    let there = Destination::start().await;
    let host = sending(LOOPBACK, &[there.origin()]).await;
    let url = through(&host.agent("chain", "/"), there.origin());
    let request = Client::new()
        .get(url)
        .header("authorization", "Bearer secret")
        .header("cookie", "a=b");
    arrived(request.send().await.unwrap()).await;
    let seen = there.seen();
    let names: Vec<_> = seen[0].headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["host", "connection"]);
}

#[tokio::test]
async fn an_origin_that_the_manifest_does_not_list_is_denied() {
    let there = Destination::start().await;
    let port = there.origin().rsplit(':').next().unwrap();
    let listed = format!("http://localhost:{port}");
    let host = sending(LOOPBACK, &[&listed, "https://*.example.com"]).await;
    for url in [
        there.origin(),
        "http://example.com/",
        "https://example.com/",
        "https://notexample.com/",
        "http://a.example.com/",
        "https://a.example.com:8443/",
        "https://example.com.elsewhere.example/",
    ] {
        let error = error(sent(&host, url).await).await;
        assert_eq!(error, "http-request-denied", "{url}");
    }
    assert_eq!(counted(&host, "not_listed").await, 7);
    assert_eq!(there.seen().len(), 0);
    arrived(sent(&host, &listed).await).await;
}

#[tokio::test]
async fn an_agent_without_a_list_sends_nothing() {
    let there = Destination::start().await;
    let host = sending(LOOPBACK, &[]).await;
    let error = error(sent(&host, there.origin()).await).await;
    assert_eq!(error, "http-request-denied");
}

#[tokio::test]
async fn the_operator_may_allow_less_than_the_manifest_lists() {
    let there = Destination::start().await;
    let config = format!("{LOOPBACK}outgoing = ['https://api.example.org']");
    let host = sending(&config, &[there.origin()]).await;
    let error = error(sent(&host, there.origin()).await).await;
    assert_eq!(error, "http-request-denied");
    assert_eq!(
        (counted(&host, "not_listed").await, there.seen().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn private_addresses_are_not_reached_even_when_listed() {
    let origins = [
        "http://127.0.0.1",
        "http://127.9.9.9:8080",
        "http://localhost",
        "http://localhost.",
        "http://[::1]",
        "http://0.0.0.0",
        "http://[::]",
        "http://169.254.169.254",
        "http://10.0.0.1",
        "http://172.16.0.1",
        "http://192.168.1.1",
        "http://100.64.0.1",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[::127.0.0.1]",
        "http://[64:ff9b::7f00:1]",
        "http://[2002:7f00:1::]",
        "http://224.0.0.1",
        "http://255.255.255.255",
    ];
    let host = sending("", &origins).await;
    for url in origins {
        let error = error(sent(&host, url).await).await;
        assert_eq!(error, "destination-ip-prohibited", "{url}");
    }
    let refused = u64::try_from(origins.len()).unwrap();
    assert_eq!(counted(&host, "private_address").await, refused);
}

#[tokio::test]
async fn a_network_that_the_operator_allows_opens_no_other() {
    let there = Destination::start().await;
    let port = there.origin().rsplit(':').next().unwrap();
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}");
    let host = sending(
        LOOPBACK,
        &[there.origin(), &mapped, "http://10.0.0.1", "http://[::1]"],
    )
    .await;
    assert_eq!(arrived(sent(&host, there.origin()).await).await, "arrived");
    for url in ["http://10.0.0.1/", "http://[::1]/"] {
        let error = error(sent(&host, url).await).await;
        assert_eq!(error, "destination-ip-prohibited", "{url}");
    }
    // The same address in another spelling, by either answer, is no way around.
    let answer = sent(&host, &mapped).await;
    assert!([200, 502].contains(&answer.status().as_u16()));
}

#[tokio::test]
async fn addresses_in_the_spellings_of_old_are_no_origins() {
    let there = Destination::start().await;
    let port = there.origin().rsplit(':').next().unwrap();
    let host = sending(LOOPBACK, &[there.origin()]).await;
    for spelling in [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
    ] {
        let url = format!("http://{spelling}:{port}");
        let error = error(sent(&host, &format!("{url}/")).await).await;
        assert_eq!(error, "http-request-uri-invalid", "{url}");
        let list = manifest("other", &outgoing(&[&url]));
        let refused = host.try_deploy(&owner(), &guest("chain"), &list).await;
        let (problem, detail) = rejection(&refused.unwrap_err());
        assert_eq!(problem, Rejection::InvalidManifest, "{detail}");
    }
    assert_eq!(there.seen().len(), 0);
}

#[tokio::test]
async fn a_redirection_is_the_agents_to_follow() {
    let there = Destination::start().await;
    let host = sending(LOOPBACK, &[there.origin()]).await;
    let moved = sent(&host, &format!("{}/moved", there.origin())).await;
    assert_eq!(moved.status(), 303);
    let paths: Vec<_> = there
        .seen()
        .iter()
        .map(|head| head.uri.to_string())
        .collect();
    assert_eq!(paths, ["/moved"]);
}

#[tokio::test]
async fn the_policy_decides_on_each_request() {
    let there = Destination::start().await;
    let policy = Policy::python(
        r#"
def authorize(action):
    if action.kind != "outgoing-request":
        return True
    facts = f"{action.method} {action.resource} {action.agent} {len(action.subject)} {action.sizes.input}"
    if facts.startswith(f"POST {BASE}/echo?allowed chain.") and facts.endswith(" 64 4"):
        return True
    return Deny(facts)
"#
        .replace("{BASE}", there.origin())
        .as_str(),
    );
    let host = Host::with(&format!("{LOOPBACK}{}", policy.section()));
    let owner = owner();
    let manifest = outgoing(&[there.origin()]);
    host.deploy(&owner, "chain", "chain", &manifest).await;
    let post = async |query: &str| {
        let url = format!("{}/echo?{query}", there.origin());
        let request = Client::new().post(through(&host.agent("chain", "/"), &url));
        request.body("four").send().await.unwrap()
    };
    assert_eq!(arrived(post("allowed").await).await, "four");
    assert_eq!(error(post("denied").await).await, "http-request-denied");
    assert_eq!((counted(&host, "policy").await, there.seen().len()), (1, 1));
    // Why is between the policy and the agent's owner.
    let said = "host the policy denied a request: POST ";
    let lines = host.logs(&owner, "chain").await.lines;
    assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    assert!(!host.log().contains("/echo?denied"));
}

#[tokio::test]
async fn a_policy_that_fails_lets_nothing_out() {
    let there = Destination::start().await;
    let policy = Policy::python(
        "def authorize(action):\n    return action.kind != 'outgoing-request' or 1 / 0\n",
    );
    let config = format!("{LOOPBACK}{}", policy.section());
    let host = sending(&config, &[there.origin()]).await;
    let error = error(sent(&host, there.origin()).await).await;
    assert_eq!(
        (error.as_str(), there.seen().len()),
        ("http-request-denied", 0)
    );
}

#[tokio::test]
async fn the_hosts_log_says_that_a_request_was_not_sent_and_not_where_to() {
    let host = sending("", &["http://127.0.0.1"]).await;
    for url in ["http://127.0.0.1/", "http://a-secret-place.example/"] {
        error(sent(&host, url).await).await;
    }
    let log = host.log();
    for reason in ["private_address", "not_listed"] {
        let said = |line: &&str| {
            line.contains("a component's request was not sent") && line.contains(reason)
        };
        assert_eq!(log.lines().filter(said).count(), 1, "{reason}");
    }
    assert!(!log.contains("a-secret-place"));
}

#[tokio::test]
async fn a_destination_where_nobody_listens_refuses() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let host = sending(LOOPBACK, &[&origin]).await;
    assert_eq!(
        error(sent(&host, &origin).await).await,
        "connection-refused"
    );
    assert_eq!(counted(&host, "failed").await, 1);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_an_error_of_the_agents() {
    let origin = "http://nobody.invalid";
    let host = sending("", &[origin]).await;
    let error = error(sent(&host, origin).await).await;
    assert!(
        ["dns-error", "dns-timeout", "destination-not-found"].contains(&error.as_str()),
        "{error}"
    );
}

#[tokio::test]
async fn a_destination_that_never_answers_is_waited_for_as_long_as_the_agent_may_run() {
    let there = Destination::start().await;
    let config = format!("[limits]\nwall = '1s'\n{LOOPBACK}");
    let host = sending(&config, &[there.origin()]).await;
    let answer = sent(&host, &format!("{}/never", there.origin())).await;
    assert_eq!(answer.status(), 504);
    let problem = hypervisor_tests::agents::problem(answer).await.1;
    assert!(problem.kind.ends_with(":agent-limit"), "{problem:?}");
    assert_eq!(arrived(sent(&host, there.origin()).await).await, "arrived");
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_an_error_of_the_agents() {
    let there = Destination::start().await;
    let secure = there.origin().replace("http://", "https://");
    let host = sending(LOOPBACK, &[&secure]).await;
    assert_eq!(
        error(sent(&host, &secure).await).await,
        "tls-protocol-error"
    );
    assert_eq!(there.seen().len(), 0);
}

#[tokio::test]
async fn a_destination_that_hangs_up_midway_is_an_error_of_the_agents() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let host = sending(LOOPBACK, &[&origin]).await;
    let hangs_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
    };
    let (answer, ()) = tokio::join!(sent(&host, &origin), hangs_up);
    let error = error(answer).await;
    assert!(
        ["http-response-incomplete", "connection-terminated"].contains(&error.as_str()),
        "{error}"
    );
}

#[tokio::test]
async fn user_information_in_a_url_leads_nowhere() {
    let there = Destination::start().await;
    let host = sending(LOOPBACK, &[there.origin(), "http://example.org"]).await;
    let authority = there.origin().strip_prefix("http://").unwrap();
    let answer = sent(&host, &format!("http://example.org@{authority}/")).await;
    let status = answer.status().as_u16();
    assert!([400, 502].contains(&status), "{status}");
    assert_eq!(there.seen().len(), 0);
}
