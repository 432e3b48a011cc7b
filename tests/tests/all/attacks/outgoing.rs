//! Requests that agents send.

use hypervisor_tests::agents::owner;
use hypervisor_tests::{Host, eventually};
use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const LOOPBACK: &str = "[agents]\nprivate_networks = ['127.0.0.0/8']\n";

/// The URL that has the agent send a request to `url`.
fn through(host: &Host, agent: &str, url: &str) -> Url {
    Url::parse_with_params(&host.agent(agent, "/"), [("url", url)]).unwrap()
}

/// The error that an agent met.
async fn error(response: reqwest::Response) -> String {
    assert_eq!(response.status(), 502);
    let text = response.text().await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["error"].as_str().unwrap().to_owned()
}

/// What takes connections and never answers; the connections come out of the channel.
async fn tarpit() -> (String, mpsc::UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(stream).is_err() {
                break;
            }
        }
    });
    (origin, receiver)
}

async fn refusals(host: &Host, reason: &str) -> u64 {
    let name = format!("hypervisor_agent_outgoing_requests_total{{outcome=\"{reason}\"}}");
    host.counter(&name).await
}

#[tokio::test]
async fn one_agent_cannot_take_the_connections_of_the_host() {
    const SHARE: usize = 4;
    const TRIED: usize = 12;
    let (origin, mut stuck) = tarpit().await;
    let host = Host::with(&format!("{LOOPBACK}connections_per_agent = {SHARE}\n"));
    let outgoing = format!("outgoing = ['{origin}', 'http://other.agent.internal']");
    host.deploy(&owner(), "chain", "greedy", &outgoing).await;
    host.deploy(&owner(), "chain", "modest", &outgoing).await;

    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..TRIED {
        calls.spawn(reqwest::get(through(&host, "greedy", &origin)));
    }
    for _ in 0..TRIED - SHARE {
        let refused = calls.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(error(refused).await, "connection-limit-reached");
    }
    assert_eq!(calls.len(), SHARE);
    let mut held = Vec::new();
    for _ in 0..SHARE {
        held.push(stuck.recv().await.unwrap());
    }
    assert!(
        stuck.try_recv().is_err(),
        "one connection more than the share"
    );
    let counted = refusals(&host, "limit").await;
    assert_eq!(counted, u64::try_from(TRIED - SHARE).unwrap());

    // Everybody else goes on, and what is given up comes back.
    let other = tokio::spawn(reqwest::get(through(&host, "modest", &origin)));
    held.push(stuck.recv().await.unwrap());
    other.abort();
    calls.shutdown().await;
    drop(held);
    eventually(
        "a connection for the agent that had taken its share",
        async || {
            let again = tokio::spawn(reqwest::get(through(&host, "greedy", &origin)));
            let arrived = tokio::time::timeout(std::time::Duration::from_millis(500), stuck.recv());
            let arrived = arrived.await.is_ok();
            again.abort();
            arrived.then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn an_agent_reaches_neither_the_host_nor_its_admin_port() {
    let host = Host::with(LOOPBACK);
    let (public, admin) = (host.url().to_owned(), host.admin());
    let by_name = admin.replace("127.0.0.1", "localhost");
    let by_other = public.replace("127.0.0.1", "127.4.5.6");
    let origins = [&public, &admin, &by_name, &by_other];
    let outgoing = format!("outgoing = {origins:?}");
    host.deploy(&owner(), "chain", "chain", &outgoing).await;
    for (url, path) in [
        (&public, "/ping"),
        (&admin, "/metrics"),
        (&by_name, "/metrics"),
        (&by_other, "/ping"),
    ] {
        let url = format!("{url}{path}");
        let sent = reqwest::get(through(&host, "chain", &url)).await.unwrap();
        assert_eq!(error(sent).await, "destination-ip-prohibited", "{url}");
    }
}

#[tokio::test]
async fn a_network_that_the_operator_denies_is_not_reached_although_it_is_allowed_otherwise() {
    let (origin, mut stuck) = tarpit().await;
    let host = Host::with(&format!("{LOOPBACK}denied_networks = ['127.0.0.1']\n"));
    let outgoing = format!("outgoing = ['{origin}']");
    host.deploy(&owner(), "chain", "chain", &outgoing).await;
    let sent = reqwest::get(through(&host, "chain", &origin))
        .await
        .unwrap();
    assert_eq!(error(sent).await, "destination-ip-prohibited");
    assert!(stuck.try_recv().is_err());
}

#[tokio::test]
async fn an_agent_cannot_fill_the_operators_log() {
    const SENT: usize = 60;
    let host = Host::with("");
    host.deploy(&owner(), "chain", "chain", "").await;
    let began = std::time::Instant::now();
    for _ in 0..SENT {
        // Neither an origin that is not listed nor a URI that is none writes a line each time.
        for url in ["http://a.example/", "http://127.1/"] {
            let sent = reqwest::get(through(&host, "chain", url)).await.unwrap();
            error(sent).await;
        }
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert_eq!(
        refusals(&host, "not_listed").await,
        2 * u64::try_from(SENT).unwrap()
    );
    let log = host.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("a component's request was not sent"));
    let lines = lines.count();
    assert!(
        (1..=seconds + 1).contains(&lines),
        "{lines} lines in {seconds} s"
    );
    assert!(!log.contains("wasmtime_wasi_http"));
}
