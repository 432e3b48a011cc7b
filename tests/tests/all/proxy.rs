//! `hv proxy`, asked as clients of HTTP ask that know nothing of sealing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use hypervisor_client::agents::create_owner_key;
use hypervisor_tests::agents::{owner, problem};
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::{Payment, Version};
use hypervisor_tests::programs::{component_file, guest_file};
use hypervisor_tests::raw::post;
use hypervisor_tests::wire::Wire;
use hypervisor_tests::{Answer, Host, eventually, within};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha384};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::agents::kit::arrived;
use crate::agents::swap::swapped;
use crate::attestation::{Known, policy_text, simulated, simulator};
use crate::mcp::{official_at, speaking_with};
use crate::payments::kit::{PRICE, Shop, asked};
use crate::protocols::protocol;

/// `hv proxy`, on a free port.
struct Proxy {
    child: Child,
    /// What it said when it was ready.
    said: String,
    url: String,
    folder: TempDir,
}

impl Proxy {
    fn start(server: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = command(server, options, &folder)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        let stderr = || std::fs::read_to_string(folder.path().join("stderr")).unwrap();
        let url = said.strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("{said}{}", stderr()));
        Self {
            url: url.split(' ').next().unwrap().to_owned(),
            child,
            said,
            folder,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn get(&self, path: &str) -> Response {
        reqwest::get(self.at(path)).await.unwrap()
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Sends SIGTERM and waits for the end.
    fn end(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Ended already where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With a home of its own.
fn command(server: &str, options: &[&str], home: &TempDir) -> Command {
    let mut command = Command::new(binary("hv"));
    command
        .args(["proxy", "--listen", "127.0.0.1:0", "--server", server])
        .args(options)
        .env("HOME", home.path())
        .env_remove("XDG_STATE_HOME")
        .env_remove("HYPERVISOR_OWNER")
        .env_remove("HYPERVISOR_SERVER")
        .stdin(Stdio::null());
    command
}

/// Passes connections on to a host, which may be another one later.
struct Relay {
    url: String,
    to: Arc<Mutex<String>>,
}

impl Relay {
    async fn to(host: &Host) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::new(Mutex::new(address(host)));
        let target = Arc::clone(&to);
        tokio::spawn(async move {
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                let to = target.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(to).await.unwrap();
                    // It ends when one of them does.
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self { url, to }
    }

    /// Connections lead there from now on; those to the host before end with it.
    fn switch(&self, host: &Host) {
        *self.to.lock().unwrap() = address(host);
    }
}

fn address(host: &Host) -> String {
    host.url().trim_start_matches("http://").to_owned()
}

/// What a service saw of a request.
async fn seen(response: Response) -> Value {
    serde_json::from_str(&arrived(response).await).unwrap()
}

/// How `hv proxy` says why there is no answer: the status, and the name of the type.
async fn refusal(response: Response) -> (u16, String) {
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let (status, problem) = problem(response).await;
    let name = problem.kind.rsplit(':').next().unwrap().to_owned();
    (status, name)
}

#[tokio::test]
async fn an_agent_sees_the_request_as_it_was_sent_and_the_network_does_not() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "echo", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    let request = Client::new()
        .put(proxy.at("/agents/echo/info?marker=of%20the-test"))
        .header("x-own", "one")
        .header("x-own", "two")
        .header("authorization", "Bearer token")
        .header("connection", "x-hop")
        .header("x-hop", "not passed on");
    let seen = seen(request.send().await.unwrap()).await;
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["path_with_query"], "/info?marker=of%20the-test");
    assert!(
        seen["authority"].as_str().unwrap().starts_with("echo."),
        "{seen}"
    );
    let headers = seen["headers"].as_array().unwrap();
    let values = |name: &str| -> Vec<&str> {
        let named = headers.iter().filter(|pair| pair[0] == name);
        named.map(|pair| pair[1].as_str().unwrap()).collect()
    };
    assert_eq!(values("x-own"), ["one", "two"]);
    assert_eq!(values("authorization"), ["Bearer token"]);
    assert!(values("x-hop").is_empty() && values("connection").is_empty());
    let log = host.log();
    assert!(!log.contains("marker") && !log.contains("/agents/echo/info"));
}

#[tokio::test]
async fn an_answer_comes_back_as_the_agent_gave_it() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "echo", "").await;
    host.deploy(&owner(), "bad-agent", "page", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = Client::new()
        .post(proxy.at("/agents/echo/"))
        .header("content-type", "application/x-own")
        .body(body.clone());
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-own");
    assert!(response.bytes().await.unwrap() == body);

    let page = proxy.get("/agents/page/origin").await;
    let headers = page.headers();
    assert_eq!(headers["x-own"], "stays");
    assert!(
        !headers.contains_key("service-worker-allowed"),
        "it is not the agent's origin"
    );
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=b; HttpOnly; Path=/agents/page/"]);
}

#[tokio::test]
async fn a_command_answers_as_it_does_where_nothing_is_sealed() {
    let host = Host::start();
    host.deploy(&owner(), "echo", "parrot", "").await;
    host.deploy(&owner(), "exit-code", "leaver", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    for path in ["/agents/parrot/?arg=-x&arg=a%20b", "/agents/leaver/?arg=3"] {
        let asked = |url: String| Client::new().post(url).body("in").send();
        let (sealed, plain) = (
            asked(proxy.at(path)).await,
            asked(format!("{}{path}", host.url())).await,
        );
        let (sealed, plain) = (sealed.unwrap(), plain.unwrap());
        assert_eq!(sealed.status(), plain.status());
        assert_eq!(
            sealed.headers()["x-exit-code"],
            plain.headers()["x-exit-code"]
        );
        assert_eq!(sealed.text().await.unwrap(), plain.text().await.unwrap());
    }
}

#[tokio::test]
async fn what_is_no_agent_is_said_and_what_names_none_is_not_sent() {
    let host = Host::start();
    let proxy = Proxy::start(host.url(), &[]);
    let unknown = refusal(proxy.get("/agents/nobody/").await).await;
    assert_eq!(unknown, (404, "agent-not-found".to_owned()));
    for path in ["/agents", "/agents/secret-name", "/agents/Secret-Name/"] {
        assert_eq!(
            refusal(proxy.get(path).await).await,
            (404, "not-found".to_owned())
        );
    }
    assert!(!host.log().to_lowercase().contains("secret-name"));
    let upgrade = Client::new()
        .get(proxy.at("/agents/nobody/"))
        .header("upgrade", "websocket");
    let upgrade = upgrade
        .header("connection", "upgrade")
        .send()
        .await
        .unwrap();
    assert_eq!(refusal(upgrade).await.0, 501);
}

#[tokio::test]
async fn an_agent_that_fails_is_a_problem_and_never_half_an_answer() {
    let host = Host::with("[limits]\ncpu = '1s'\n");
    host.deploy(&owner(), "bad-agent", "bad", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    for (path, expected) in [
        ("/agents/bad/never", (502, "agent-failed")),
        ("/agents/bad/trap-before", (502, "agent-failed")),
        ("/agents/bad/trap-after-headers", (502, "agent-failed")),
        ("/agents/bad/spin", (504, "agent-limit")),
    ] {
        let (status, name) = refusal(proxy.get(path).await).await;
        assert_eq!((status, name.as_str()), expected, "{path}");
    }
    let streamed = events(&proxy, "/agents/bad/write-forever").await;
    assert_eq!(streamed.status(), 200);
    assert!(streamed.bytes().await.is_err(), "it is not whole");
    assert!(!proxy.stderr().contains("trap"), "{}", proxy.stderr());
}

/// Asks as clients do that read an answer while it comes.
async fn events(proxy: &Proxy, path: &str) -> Response {
    let request = Client::new().get(proxy.at(path));
    let request = request.header("accept", "application/json, text/event-stream");
    request.send().await.unwrap()
}

#[tokio::test]
async fn an_answer_is_passed_on_while_it_comes_and_a_client_that_goes_away_ends_its_call() {
    let host = Host::with("[limits]\nexecutions = 1\nwall = '1h'\ncpu = '1h'\noutput = '1 GiB'\n");
    host.deploy(&owner(), "bad-agent", "writer", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    // A second one has a place only where the first ended.
    for _ in 0..2 {
        let mut endless = events(&proxy, "/agents/writer/write-forever").await;
        let first = within("the first of it", endless.chunk()).await;
        assert!(!first.unwrap().unwrap().is_empty());
        drop(endless);
        eventually("the only slot is free", async || {
            (host.counter("hypervisor_executions").await == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_begins_ends_its_call_too() {
    let host = Host::with("[limits]\nexecutions = 1\nwall = '1h'\ncpu = '1h'\n");
    host.deploy(&owner(), "bad-agent", "sleeper", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    let mut wire = Wire::open(&proxy.url).await;
    wire.send("GET /agents/sleeper/sleep-forever HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    eventually("it runs", async || {
        (host.counter("hypervisor_executions").await == 1).then_some(())
    })
    .await;
    drop(wire);
    eventually("the only slot is free", async || {
        (host.counter("hypervisor_executions").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_streamed_is_that_of_the_agent_to_the_end() {
    let host = Host::start();
    host.deploy(&owner(), "http-echo", "echo", "").await;
    let proxy = Proxy::start(host.url(), &["--stream"]);
    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for size in [0, 1, 100_000, body.len()] {
        let request = Client::new().post(proxy.at("/agents/echo/"));
        let response = request.body(body[..size].to_vec()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.unwrap() == body[..size], "{size}");
    }
}

#[tokio::test]
async fn several_clients_are_answered_at_once() {
    let host = Host::start();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..16 {
        let url = proxy.at(&format!("/agents/hello/{n}"));
        asked.spawn(async move { (n, reqwest::get(url).await.unwrap().text().await.unwrap()) });
    }
    while let Some(answered) = asked.join_next().await {
        let (n, text) = answered.unwrap();
        assert_eq!(text, format!("hello from GET /{n}\n"));
    }
}

#[tokio::test]
async fn pages_of_others_and_names_made_to_lead_here_are_refused() {
    let host = Host::start();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let proxy = Proxy::start(host.url(), &["--allow-host", "proxy.example"]);
    let asked = |name: &'static str, value: &'static str| {
        let request = Client::new().get(proxy.at("/agents/hello/"));
        request.header(name, value).send()
    };
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let refused = refusal(asked(name, value).await.unwrap()).await;
        assert_eq!(
            refused,
            (403, "foreign-request".to_owned()),
            "{name}: {value}"
        );
    }
    for (name, value) in [
        ("host", "proxy.example:80"),
        ("host", "localhost"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let taken = asked(name, value).await.unwrap();
        assert_eq!(taken.status(), 200, "{name}: {value}");
    }
}

#[tokio::test]
async fn what_is_larger_than_a_host_takes_is_not_waited_for() {
    let host = Host::start();
    let proxy = Proxy::start(host.url(), &[]);
    let mut wire = Wire::open(&proxy.url).await;
    wire.send("POST /agents/a/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n")
        .await;
    let said = wire.until("\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_verified_is_said_before_anything_is_asked() {
    let known = Known::start();
    let unverified = Proxy::start(known.host.url(), &[]);
    assert!(
        unverified.said.contains("not verified"),
        "{}",
        unverified.said
    );
    let policy = known.path("policy.toml");
    let proxy = Proxy::start(known.host.url(), &["--verify", policy.to_str().unwrap()]);
    assert!(
        proxy.said.contains(": verified, SIMULATED"),
        "{}",
        proxy.said
    );
    assert!(proxy.stderr().contains("SIMULATED"), "{}", proxy.stderr());
    assert!(proxy.end().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_verification_is_sent_nothing() {
    let known = Known::start();
    let policy = known.path("policy.toml");
    let options = ["--verify", policy.to_str().unwrap()];
    let other = simulated("one", "");
    let folder = TempDir::new().unwrap();
    let output = command(other.url(), &options, &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("manifest")
    );
    assert!(!other.log().contains("/agents"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_in_the_place_of_the_one_that_was_verified_is_sent_nothing_that_it_can_read() {
    let mut known = Known::start();
    let policy = known.path("policy.toml");
    let relay = Relay::to(&known.host).await;
    let proxy = Proxy::start(&relay.url, &["--verify", policy.to_str().unwrap()]);
    let other = simulated("one", "");
    other.deploy(&owner(), "http-echo", "echo", "").await;
    relay.switch(&other);
    known.host.kill();
    // The first finds that the session is gone, and all find another host behind the name.
    for _ in 0..2 {
        let asked = Client::new()
            .post(proxy.at("/agents/echo/"))
            .body("marker-of-the-test");
        let (status, name) = refusal(asked.send().await.unwrap()).await;
        assert_eq!((status, name.as_str()), (502, "verification-failed"));
    }
    assert!(!other.log().contains("marker-of-the-test"));
    assert_eq!(
        other
            .counter("hypervisor_agent_calls_total{exit=\"ok\"}")
            .await,
        0
    );
    assert_eq!(proxy.end().code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_host_forgot_is_opened_again() {
    let mut host = Host::start();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let relay = Relay::to(&host).await;
    let proxy = Proxy::start(&relay.url, &[]);
    assert_eq!(proxy.get("/agents/hello/").await.status(), 200);
    host.kill_and_restart();
    host.deploy(&owner(), "http-hello", "again", "").await;
    relay.switch(&host);
    assert_eq!(
        arrived(proxy.get("/agents/again/").await).await,
        "hello from GET /\n"
    );
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_problem() {
    let mut host = Host::start();
    let proxy = Proxy::start(host.url(), &[]);
    host.kill();
    let asked = refusal(proxy.get("/agents/hello/").await).await;
    assert_eq!(asked, (502, "host-unreachable".to_owned()));
    let folder = TempDir::new().unwrap();
    let output = command("http://127.0.0.1:9", &[], &folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn an_owner_reaches_private_agents_and_nobody_else_does() {
    let host = Host::start();
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("owner.key");
    let owner = create_owner_key(&key).unwrap();
    host.deploy(&owner, "http-hello", "hidden", "private = true")
        .await;
    host.deploy(&owner, "echo", "parrot", "private = true")
        .await;
    let own = Proxy::start(host.url(), &["--owner", key.to_str().unwrap()]);
    assert_eq!(
        arrived(own.get("/agents/hidden/x").await).await,
        "hello from GET /x\n"
    );
    assert_eq!(arrived(own.get("/agents/parrot/?arg=a").await).await, "a\n");
    let other = Proxy::start(host.url(), &[]);
    let refused = refusal(other.get("/agents/hidden/x").await).await;
    assert_eq!(refused, (404, "agent-not-found".to_owned()));
}

#[tokio::test]
async fn where_nobody_pays_the_client_is_asked_to_and_may() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let proxy = Proxy::start(shop.host.url(), &[]);
    let asking = |headers: &[(&str, String)]| {
        let request = Client::new().get(proxy.at("/agents/http-echo/info"));
        let request = headers
            .iter()
            .fold(request, |it, (name, value)| it.header(*name, value));
        async move {
            let response = request.send().await.unwrap();
            Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes().await.unwrap().to_vec(),
            }
        }
    };
    let demand = asking(&[]).await;
    assert_eq!(demand.status, 402);
    let offer = asked(&demand, Version::V2)["accepts"][0].clone();
    assert_eq!(offer["amount"], (2 * PRICE).to_string());

    let payment = Payment::for_offer(shop.chain.payer(0), &offer);
    let (name, value) = payment.header();
    let answered = asking(&[(name, value.clone())]).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert!(answered.headers.contains_key("payment-response"));
    let text = String::from_utf8(answered.body).unwrap();
    assert!(
        !text.to_lowercase().contains(&name.to_lowercase()),
        "it is the host's: {text}"
    );
    let paid: u128 = shop.chain.transfers().await.iter().map(|it| it.value).sum();
    assert_eq!(paid, 2 * PRICE);
}

#[tokio::test]
async fn with_a_key_a_call_is_paid_for_and_for_no_more_than_was_allowed() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, shop.chain.payer(0).private_key()).unwrap();
    let key = key.to_str().unwrap();

    let poor = Proxy::start(shop.host.url(), &["--pay", key, "--max-price", "0.001"]);
    let refused = refusal(poor.get("/agents/http-hello/").await).await;
    assert_eq!(refused, (402, "not-paid".to_owned()));
    assert_eq!(shop.chain.transfers().await.len(), 0);

    let proxy = Proxy::start(shop.host.url(), &["--pay", key, "--max-price", "0.05"]);
    assert_eq!(
        arrived(proxy.get("/agents/http-hello/").await).await,
        "hello from GET /\n"
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
    assert!(
        proxy.stderr().contains("paid 0.02 USDC"),
        "{}",
        proxy.stderr()
    );
}

#[tokio::test]
async fn any_other_path_is_answered_by_what_the_host_has_there() {
    let host = Host::with(&protocol("echo", "http-echo", &["/mine/", "/info"]));
    let proxy = Proxy::start(host.url(), &[]);
    let asked = Client::new()
        .post(proxy.at("/mine/a?b=c"))
        .body("marker-of-the-test");
    assert_eq!(
        arrived(asked.send().await.unwrap()).await,
        "marker-of-the-test"
    );
    let seen = seen(proxy.get("/info?a=b").await).await;
    assert_eq!(seen["path_with_query"], "/info?a=b");
    for path in ["/", "/other", "/agentsx", "/ping"] {
        let refused = refusal(proxy.get(path).await).await;
        assert_eq!(refused, (404, "not-found".to_owned()), "{path}");
    }
    assert!(!host.log().contains("/info?a=b"));
}

#[tokio::test]
async fn an_unchanged_client_of_mcp_uses_the_host_sealed() {
    let public = "environment = { PUBLIC_URL = 'https://host.example' }";
    let host = speaking_with("", public);
    host.deploy(&owner(), "http-hello", "greeter", "").await;
    host.deploy(&owner(), "mcp-everything", "mcp-everything", "")
        .await;
    let proxy = Proxy::start(host.url(), &[]);
    for era in ["modern", "legacy"] {
        let calls = json!([
            { "name": "run_python", "arguments": { "code": "print('marker-' + 'of-the-test')" } },
            { "name": "greeter", "arguments": { "input": "hi" } },
        ]);
        let said = official_at(&proxy.at("/mcp"), era, calls).await.to_string();
        assert!(said.contains("marker-of-the-test"), "{said}");
        assert!(said.contains("hello from POST /"), "{said}");
        // An agent that is a server itself, and asks on the way.
        let call = json!([{ "name": "test_input_required_result_elicitation" }]);
        let server = proxy.at("/mcp/mcp-everything");
        let said = official_at(&server, era, call).await.to_string();
        assert!(said.contains("Hello, Ada!"), "{era}: {said}");
    }
    let log = host.log();
    assert!(!log.contains("\"/mcp\"") && !log.contains("marker-of-the-test"));
}

/// A host that proves itself by the simulator, and speaks A2A.
fn speaking_a2a() -> Host {
    let component = component_file("a2a");
    let front = format!(
        "[[protocols]]\nname = 'a2a'\ncomponent = {component:?}\npaths = ['/a2a/']\nbackground = '1m'\n"
    );
    simulated("one", &front)
}

#[tokio::test]
async fn a_client_of_a2a_is_led_to_the_proxy_by_the_card_and_streams_through_it() {
    let host = speaking_a2a();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    let proxy = Proxy::start(host.url(), &[]);
    let card = seen(proxy.get("/a2a/hello/.well-known/agent-card.json").await).await;
    let url = card["supportedInterfaces"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&proxy.url), "{card}");
    assert!(card.get("signatures").is_none(), "{card}");
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "hi" }] });
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": { "message": message },
    });
    let answer = Client::new()
        .post(url)
        .header("a2a-version", "1.0")
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(request.to_string());
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = answer.text().await.unwrap();
    assert!(events.contains("hello from POST /"), "{events}");
    assert!(events.contains("TASK_STATE_COMPLETED"), "{events}");
    assert!(
        !host.log().contains("/a2a/hello/"),
        "the path is sealed, too"
    );
}

/// What `hv verify --card` says of the card of `hello`, which has to hold.
fn verified_card(host: &Host) -> String {
    let folder = TempDir::new().unwrap();
    let simulator = simulator("one");
    let root = const_hex::encode(simulator.fingerprint());
    let policy = policy_text(&format!("simulated = \"{root}\""), &simulator);
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let output = Command::new(binary("hv"))
        .args(["verify", "--policy", "policy.toml", "--card"])
        .arg(format!("{}/a2a/hello/", host.url()))
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_that_made_a_card_vouches_for_it() {
    let host = speaking_a2a();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    host.ready().await;
    let said = verified_card(&host);
    assert!(
        said.contains("The component protocol/a2a, SHA-384"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_was_swapped_in_vouches_for_its_cards_and_knows_the_tasks_of_the_one_before() {
    let host = speaking_a2a();
    host.deploy(&owner(), "http-hello", "hello", "").await;
    host.ready().await;
    let ask = async |method: &str, params: Value| -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = Client::new()
            .post(format!("{}/a2a/hello/", host.url()))
            .header("a2a-version", "1.0")
            .bearer_auth("me")
            .header("content-type", "application/json")
            .body(request.to_string());
        let answer = answer.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "hi" }] });
    let task = ask("SendMessage", json!({ "message": message })).await["result"]["task"].take();
    // The same program, and another component: a custom section of no name and one byte.
    let mut component = std::fs::read(component_file("a2a")).unwrap();
    component.extend([0, 2, 0, 7]);
    let after = const_hex::encode(Sha384::digest(&component));
    let swapped = swapped(&host, "a2a.protocol", component).await;
    assert_eq!(swapped["plugin"], "a2a.protocol");
    assert_eq!(swapped["sha384"], after);
    let found = ask("GetTask", json!({ "id": task["id"] })).await["result"].take();
    assert_eq!(found, task);
    let said = verified_card(&host);
    assert!(said.contains(&after), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_front_is_not_swapped_in() {
    let host = speaking_a2a();
    let hello = std::fs::read(guest_file("hello")).unwrap();
    let admin = format!("{}/swap/a2a.protocol", host.admin());
    let answer = post(&host.operator(), &admin, "application/wasm", hello).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 422, "{text}");
    assert!(text.contains("wasi:http/incoming-handler"), "{text}");
    let nobody = format!("{}/swap/other.protocol", host.admin());
    let component = std::fs::read(component_file("a2a")).unwrap();
    let answer = post(&host.operator(), &nobody, "application/wasm", component).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 422, "{text}");
    assert!(text.contains("[[protocols]]"), "{text}");
}

#[tokio::test]
async fn it_says_in_json_where_it_listens_and_ends_when_it_is_told() {
    let host = Host::start();
    let folder = TempDir::new().unwrap();
    let mut child = command(host.url(), &["--output", "json"], &folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let said: Value = serde_json::Deserializer::from_reader(&mut output)
        .into_iter()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(said["server"], host.url());
    assert_eq!(said["verified"], json!(null));
    assert!(
        said["url"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
