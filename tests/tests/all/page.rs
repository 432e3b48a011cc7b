//! The operator's page: what it shows, what a browser makes of it, and who may send its form.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use hypervisor_client::Program;
use hypervisor_tests::agents::owner;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::{component_file, guest};
use hypervisor_tests::{Host, RawSession, eventually};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;

/// What an agent's owner writes that would like to be markup.
const PLANTED: &str = "\"><img src=https://attacker.example/x onerror=alert(1)><b>planted";

fn with_page(more: &str) -> Host {
    let page = component_file("status");
    Host::with(&format!(
        "[admin]\nlistening = '127.0.0.1:0'\npage = {page:?}\n{more}"
    ))
}

async fn page(host: &Host) -> Response {
    let asked = host.operator().get(format!("{}/", host.admin()));
    asked.send().await.unwrap()
}

async fn deploy(host: &Host, name: &str) {
    host.deploy(&owner(), "http-hello", name, "").await;
}

/// The token that the forms of the page bring.
fn csrf(html: &str) -> &str {
    let (_, rest) = html.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn without_a_component_the_page_is_the_document() {
    let host = Host::start();
    let answer = page(&host).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(document["in_use"].is_array());
}

#[tokio::test]
async fn the_page_takes_one_style_and_nothing_from_elsewhere() {
    let host = with_page("");
    let answer = page(&host).await;
    assert_eq!(answer.status(), 200);
    let fields = answer.headers().clone();
    let policy = fields["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'nonce-"));
    assert!(policy.contains("form-action 'self'") && !policy.contains("unsafe"));
    assert_eq!(fields["cache-control"], "no-store");
    assert_eq!(fields["x-content-type-options"], "nosniff");
    let (_, nonce) = policy.split_once("'nonce-").unwrap();
    let nonce = nonce.split_once('\'').unwrap().0.to_owned();
    let html = answer.text().await.unwrap();
    assert!(html.contains(&format!("<style nonce=\"{nonce}\">")));
    let next = page(&host).await.text().await.unwrap();
    assert!(!next.contains(&nonce), "a nonce is used once");
}

/// Names and versions have no room for markup; the component does not rely on it.
#[tokio::test]
async fn what_is_in_the_document_is_text_on_the_page() {
    let document = serde_json::json!({ "csrf": PLANTED, "nonce": "0", "status": {
        "state": PLANTED, "reason": PLANTED, "level": PLANTED, "listening": PLANTED,
        "plugins": [{ "name": PLANTED, "sha384": PLANTED }],
        "recent": [{ "kind": PLANTED, "outcome": PLANTED }],
        "owners": [{ "owner": PLANTED, "environments": 1, "agents": [{ "address": PLANTED, "version": PLANTED }] }],
    } });
    let (host, component) = (
        Host::start(),
        std::fs::read(component_file("status")).unwrap(),
    );
    let document = document.to_string();
    let program = Program::new(&component).stdin(document.as_bytes());
    let html = String::from_utf8(host.run(program).await.result).unwrap();
    assert!(html.contains("&lt;b&gt;planted"), "{html}");
    assert!(!html.contains("<img") && !html.contains("<b>"), "{html}");
}

#[tokio::test]
async fn the_component_is_measured_and_can_be_swapped_and_a_wrong_one_changes_nothing() {
    let host = with_page("");
    let plugin = async || {
        let asked = host.operator().get(format!("{}/status", host.admin()));
        let status = asked.send().await.unwrap().text().await.unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        let plugins = status["plugins"].as_array().unwrap();
        let page = plugins.iter().find(|it| it["name"] == "status").unwrap();
        (page["sha384"].clone(), status["log_entries"].clone())
    };
    let before = plugin().await;
    assert_eq!(before.1, 1);
    let swap = |component: &Path| {
        Command::new(binary("hypervisor-ctl"))
            .args(["swap", "status", "--admin", &host.admin(), "--token-file"])
            .arg(host.admin_token())
            .arg(component)
            .output()
            .unwrap()
    };
    let wrong = tempfile::tempdir().unwrap();
    for name in ["hello", "trap"] {
        let file = wrong.path().join(name);
        let component = if name == "hello" {
            b"no component".to_vec()
        } else {
            guest(name)
        };
        std::fs::write(&file, component).unwrap();
        assert_eq!(swap(&file).status.code(), Some(1), "{name}");
    }
    assert_eq!(plugin().await.0, before.0);
    // A program that says hello to everything is a page, and not a good one.
    let hello = wrong.path().join("hello.wasm");
    std::fs::write(&hello, guest("hello")).unwrap();
    let swapped = swap(&hello);
    assert!(swapped.status.success(), "{swapped:?}");
    assert_eq!(page(&host).await.text().await.unwrap(), "hello\n");
    assert_ne!(plugin().await.0, before.0);
    assert!(swap(&component_file("status")).status.success());
    assert_eq!(plugin().await.0, before.0);
}

#[test]
fn a_page_that_is_no_component_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hypervisor.toml");
    std::fs::write(folder.path().join("page.wasm"), b"no component").unwrap();
    std::fs::write(
        &config,
        "listening = '127.0.0.1:0'\n[admin]\npage = 'page.wasm'\n",
    )
    .unwrap();
    let done = Command::new(binary("hypervisor"))
        .current_dir(folder.path())
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    let words = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(words.contains("[admin] `page`"), "{words}");
}

#[tokio::test]
async fn the_form_takes_an_agent_down_for_whoever_was_shown_it_and_for_nobody_else() {
    let host = with_page("");
    deploy(&host, "target").await;
    let html = page(&host).await.text().await.unwrap();
    let token = csrf(&html).to_owned();
    let there = async || page(&host).await.text().await.unwrap().contains("target.");
    let admin = host.admin();
    let send = async |client: &Client, csrf: &str, fields: &[(&str, &str)]| {
        let body = format!("csrf={csrf}&agent=target");
        let mut asked = client.post(format!("{admin}/take-down")).body(body);
        for (name, value) in fields {
            asked = asked.header(*name, *value);
        }
        asked.send().await.unwrap()
    };
    let bearer = std::fs::read_to_string(host.admin_token()).unwrap();
    let bearer = format!("Bearer {}", bearer.trim());
    let authorized = ("authorization", bearer.as_str());
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let near = ("sec-fetch-site", "same-origin");
    let own = ("origin", admin.as_str());
    for (csrf, fields, status) in [
        (token.as_str(), &[near, own][..], 401),
        ("", &[authorized, near, own], 403),
        (
            "00000000000000000000000000000000",
            &[authorized, near, own],
            403,
        ),
        (
            &token,
            &[authorized, ("origin", "https://attacker.example")],
            403,
        ),
        (&token, &[authorized, ("origin", "null")], 403),
        (
            &token,
            &[authorized, ("sec-fetch-site", "cross-site"), own],
            403,
        ),
        (
            &token,
            &[authorized, ("sec-fetch-site", "same-site"), own],
            403,
        ),
    ] {
        let answer = send(&client, csrf, fields).await;
        assert_eq!(answer.status(), status, "{csrf} {fields:?}");
        assert!(there().await);
    }
    let answer = send(&client, &token, &[authorized, near, own]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/".parse().unwrap())
    );
    assert!(!there().await);
}

#[tokio::test]
async fn a_browser_shows_it_light_and_dark_on_a_phone_and_without_colour() {
    let fleet = Fleet::start();
    let limits = "[limits]\nexecutions = 1\nqueue = 0\ncpu = '1h'\nwall = '1h'\n";
    let host = with_page(&format!("{limits}{}", fleet.section()));
    let other = fleet.host("");
    let tag = RawSession::open(&other).await.session.id().as_bytes()[12..].to_vec();
    let tag = const_hex::encode(tag);
    deploy(&host, "looked-at").await;
    eventually("the other host is seen", async || {
        (page(&host).await.text().await.unwrap().contains(&tag)).then_some(())
    })
    .await;
    host.run(Program::new(&guest("hello"))).await;
    let session = host.session().await;
    let running = tokio::spawn(async move {
        let sleepy = guest("sleepy");
        let _ = session
            .run_wasm(Program::new(&sleepy).argument("3600000"))
            .await;
    });
    eventually("the slots are full", async || {
        page(&host)
            .await
            .text()
            .await
            .unwrap()
            .contains("<strong>for ")
            .then_some(())
    })
    .await;
    let shots = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/page");
    let look = concat!(env!("CARGO_MANIFEST_DIR"), "/page/look.py");
    let done = Command::new("python3")
        .args([
            look,
            "chromium-headless-shell",
            &format!("{}/", host.admin()),
        ])
        .arg(host.admin_token())
        .arg(shots)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{errors}; run scripts/setup-browser.sh"
    );
    running.abort();
    let seen: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(seen["console"], Value::Array(Vec::new()));
    let requests = seen["requests"].as_array().unwrap();
    let admin = host.admin();
    let is_own = |url: &Value| {
        let url = url.as_str().unwrap();
        url.starts_with(&format!("{admin}/")) || url.starts_with("data:")
    };
    assert!(
        requests.len() >= 6 && requests.iter().all(is_own),
        "{requests:?}"
    );
    let views = seen["views"].as_object().unwrap();
    assert_eq!(views.len(), 5);
    for (name, view) in views {
        let text = view["text"].as_str().unwrap();
        // States are told by words.
        for words in [
            "Ready: requests may come here",
            "for ",
            "looked-at.",
            "wasm",
            "The fleet",
            ", this one",
            &tag,
            "takeovers 0, requests forwarded 0",
        ] {
            assert!(text.contains(words), "{name}: {words} in {text}");
        }
        assert_eq!(view["title"], "Ready – hypervisor", "{name}");
        assert_eq!(
            (&view["charts"], &view["labels"]),
            (&4.into(), &true.into())
        );
        assert_eq!(
            (&view["scripts"], &view["markup"]),
            (&0.into(), &0.into()),
            "{name}"
        );
        assert_eq!(view["wider"], false, "{name} has to be scrolled sideways");
    }
    let colours = |name: &str| (views[name]["ground"].clone(), views[name]["ink"].clone());
    assert_ne!(colours("light-wide"), colours("dark-wide"));
    assert_eq!(colours("dark-wide"), colours("dark-phone"));
    let after = seen["after"]["text"].as_str().unwrap();
    assert!(
        after.contains("Ready") && !after.contains("looked-at."),
        "{after}"
    );
}
