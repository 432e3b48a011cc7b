//! The admin port, seen from a web page and from other users of the machine.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hypervisor_tests::host::binary;
use hypervisor_tests::programs::component_file;
use hypervisor_tests::{Host, eventually};
use reqwest::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_web_page_can_neither_swap_a_plugin_nor_read_anything() {
    let host = Host::start();
    let url = |path: &str| format!("{}{path}", host.admin());
    // What a page can have a browser send, with the token even.
    for (name, value, status) in [
        (ORIGIN, "https://attacker.example", 403),
        (ORIGIN, "null", 403),
        (FETCH_SITE, "cross-site", 403),
        (FETCH_SITE, "same-origin", 403),
        (HOST, "attacker.example", 421),
    ] {
        let browser = host.operator();
        let post = browser.post(url("/swap/payments")).body("text");
        let answer = post.header(&name, value).send().await.unwrap();
        assert_eq!(answer.status(), status, "POST with {name}: {value}");
        for path in ["/metrics", "/livez"] {
            let get = browser.get(url(path)).header(&name, value);
            let answer = get.send().await.unwrap();
            assert_eq!(answer.status(), status, "GET {path} with {name}: {value}");
        }
    }
}

#[tokio::test]
async fn who_does_not_know_the_token_changes_nothing() {
    let host = Host::start();
    let (http, url) = (reqwest::Client::new(), host.admin());
    for token in [None, Some("Bearer "), Some("Bearer 00"), Some("Basic abc")] {
        let mut swap = http.post(format!("{url}/swap/policy")).body("component");
        let mut remove = http.delete(format!("{url}/agents/weather"));
        if let Some(token) = token {
            swap = swap.header(AUTHORIZATION, token);
            remove = remove.header(AUTHORIZATION, token);
        }
        assert_eq!(swap.send().await.unwrap().status(), 401, "{token:?}");
        assert_eq!(remove.send().await.unwrap().status(), 401, "{token:?}");
    }
    // With it the request is looked at: this host has no policy to swap.
    let swap = host.operator().post(format!("{url}/swap/policy"));
    assert_eq!(swap.body("component").send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn who_does_not_know_the_token_reads_no_names_and_no_log_and_drains_nothing() {
    let host = Host::start();
    let (http, url) = (reqwest::Client::new(), host.admin());
    for (method, path) in [
        ("GET", "/status"),
        ("GET", "/logs"),
        ("GET", "/logs?from=0"),
        ("GET", "/level"),
        ("PUT", "/level"),
        ("POST", "/drain"),
        ("POST", "/drain?stay"),
        ("DELETE", "/drain"),
        ("DELETE", "/owners/someone/environments"),
    ] {
        let method: reqwest::Method = method.parse().unwrap();
        let asked = http.request(method.clone(), format!("{url}{path}"));
        let answer = asked.body("trace").send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
    }
    let ready = host.operator().get(format!("{url}/status")).send().await;
    let status = ready.unwrap().text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_ne!(status["state"], "draining");
}

#[tokio::test]
async fn a_web_page_does_not_reach_the_socket_through_a_tunnel() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin");
    let _host = Host::with(&format!(
        "[admin]\nlistening = 'unix:{}'\n",
        socket.display()
    ));
    let asked = async |fields: &str| {
        let mut stream = UnixStream::connect(&socket).await.ok()?;
        let request = format!(
            "POST /drain HTTP/1.1\r\n{fields}connection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.get(9..12)?.to_owned())
    };
    for (fields, status) in [
        ("host: attacker.example:9000\r\n", "421"),
        (
            "host: localhost:9000\r\norigin: http://attacker.example\r\n",
            "403",
        ),
        (
            "host: localhost:9000\r\norigin: http://localhost:9000\r\n",
            "403",
        ),
        (
            "host: localhost:9000\r\nsec-fetch-site: cross-site\r\n",
            "403",
        ),
        (
            "host: localhost:9000\r\nsec-fetch-site: same-origin\r\n",
            "403",
        ),
    ] {
        let answer = eventually("an answer", async || asked(fields).await).await;
        assert_eq!(answer, status, "{fields}");
    }
}

#[tokio::test]
async fn probes_need_no_token_and_the_token_is_for_its_owner_alone() {
    let host = Host::start();
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = reqwest::get(format!("{}{path}", host.admin())).await;
        assert_eq!(answer.unwrap().status(), 200, "{path}");
    }
    assert_eq!(mode(&host.admin_token()), 0o600);
    let token = std::fs::read_to_string(host.admin_token()).unwrap();
    assert!(!host.log().contains(token.trim()));
}

#[tokio::test]
async fn a_socket_in_the_file_system_is_for_the_operators_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin");
    let place = format!("unix:{}", socket.display());
    let host = Host::with(&format!("[admin]\nlistening = '{place}'\n"));
    assert_eq!(mode(&socket), 0o600);
    let probe = async |host: &str| {
        let mut stream = UnixStream::connect(&socket).await.ok()?;
        let request = format!("GET /livez HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    let answer = eventually("an answer", async || probe("localhost").await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The command reaches it there: the host answers that it has no policy.
    let done = Command::new(binary("hypervisor-ctl"))
        .args(["swap", "policy", "--admin", &place])
        .arg(component_file("policy-rust"))
        .output()
        .unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    assert!(text.contains("[policy]"), "{text}");
    drop(host);
}
