//! `hv call` as people meet it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use crate::support::machine::{Hv, free, json, text};
use crate::support::{Host, Reply};
use serde_json::Value;

#[tokio::test]
async fn hv_call_is_a_small_curl() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    hv.write("body.txt", "from a file");
    let called = "weather.agent.internal";
    for (arguments, body) in [
        (&["/"][..], format!("GET {called} /\n")),
        (&[], format!("GET {called} /\n")),
        (&["/a b?c=ø"], format!("GET {called} /a%20b?c=%C3%B8\n")),
        (&["/x", "-d", "text"], format!("POST {called} /x\ntext")),
        (
            &["/x", "-d", "@body.txt"],
            format!("POST {called} /x\nfrom a file"),
        ),
        (
            &["-X", "PUT", "-d", "-"],
            format!("PUT {called} /\nfrom stdin"),
        ),
    ] {
        let arguments = [&["call", "weather"], arguments].concat();
        let output = hv.feed(&arguments, b"from stdin").await;
        assert_eq!(text(&output.stdout), body, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        assert!(output.status.success());
    }
}

#[tokio::test]
async fn hv_call_shows_the_head_before_the_body() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    let arguments = [
        "call",
        "weather",
        "/missing",
        "-i",
        "-H",
        "Accept: text/html",
    ];
    let output = hv.run(&arguments).await;
    assert_eq!(
        text(&output.stdout),
        "HTTP 404 Not Found\ncontent-type: text/plain\nseen-accept: text/html\n\n\
         GET weather.agent.internal /missing\n"
    );
    assert_eq!(text(&output.stderr), "hv: trailer seen-length: 0\n");
    assert!(
        output.status.success(),
        "a status is the agent's own affair"
    );
}

#[tokio::test]
async fn hv_call_fails_on_a_status_of_400_or_more_where_that_is_wanted() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    let output = hv.run(&["call", "weather", "/missing", "--fail"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "hv: the agent answered 404 Not Found\n"
    );
    assert!(
        hv.run(&["call", "weather", "/", "--fail"])
            .await
            .status
            .success()
    );
}

#[tokio::test]
async fn hv_call_json_has_response_and_proofs() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    let document = json(&hv.ok(&["call", "weather", "/", "--output", "json"]).await);
    let response = &document["response"];
    assert_eq!(response["status"], 200);
    assert_eq!(response["headers"][0][0], "content-type");
    assert_eq!(response["trailers"][0][1], "0");
    assert_eq!(response["body"], "GET weather.agent.internal /\n");
    assert_eq!(document["verified"], true);
    assert_eq!(document["report"]["exit"]["kind"], "ok");

    let document = json(
        &hv.ok(&["call", "weather", "/binary", "--output", "json"])
            .await,
    );
    assert!(
        document["response"]["body_hex"]
            .as_str()
            .unwrap()
            .ends_with("fffe")
    );
    let output = hv
        .run(&["call", "weather", "/trap", "--output", "json"])
        .await;
    assert_eq!(json(&text(&output.stdout))["response"], Value::Null);
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn hv_call_says_how_an_agent_ended_that_gave_no_response() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    let stderr = hv.fails(1, &["call", "weather", "/trap"]).await;
    assert_eq!(stderr, "hv: the program trapped: unreachable\n");
    let stderr = hv.fails(1, &["call", "weather", "/slow"]).await;
    assert!(stderr.contains("the limit of wall-clock time"), "{stderr}");
    let stderr = hv.fails(1, &["call", "nobody", "/"]).await;
    assert!(stderr.contains("there is no such agent"), "{stderr}");
}

#[tokio::test]
async fn hv_call_runs_a_command_as_hv_run_does() {
    let (_host, hv) = free().await;
    hv.deploy("shout", "world = 'command'").await;
    let arguments = ["call", "shout", "--stdin", "-", "--", "-x", "two words"];
    let output = hv.feed(&arguments, b"input").await;
    assert_eq!(text(&output.stdout), "[\"-x\", \"two words\"] input");
    assert_eq!(hv.ok(&["call", "shout"]).await, "[] no input");
    let forced = ["call", "shout", "--command", "--output", "json"];
    assert_eq!(json(&hv.ok(&forced).await)["result"], "[] no input");
    hv.fails(7, &["call", "shout", "--", "exit", "7"]).await;
}

#[tokio::test]
async fn hv_call_refuses_what_the_agent_does_not_take() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    hv.deploy("shout", "world = 'command'").await;
    let stderr = hv.fails(2, &["call", "weather", "--", "argument"]).await;
    assert!(stderr.contains("weather is a service"), "{stderr}");
    let stderr = hv.fails(2, &["call", "shout", "/path"]).await;
    assert!(stderr.contains("shout is a command"), "{stderr}");
    for arguments in [
        &["/path", "--", "argument"][..],
        &["/path", "--command"],
        &["-d", "x", "--stdin", "-"],
        &["--fail", "--command"],
        &["path"],
        &["-H", "no colon"],
        &["-H", "host: elsewhere"],
        &["-X", "GET IT"],
    ] {
        let arguments = [&["call", "weather"], arguments].concat();
        hv.fails(2, &arguments).await;
    }
}

#[tokio::test]
async fn a_private_agent_is_called_with_its_owners_key() {
    let (_host, hv) = free().await;
    hv.deploy("diary", "private = true\nworld = 'command'")
        .await;
    let key = "config/hypervisor/owner.key";
    let output = hv.ok(&["call", "diary", "--owner", key, "--", "a"]).await;
    assert_eq!(output, "[\"a\"] no input");
    assert_eq!(
        hv.ok(&["call", "diary", "--owner", key]).await,
        "[] no input"
    );
    let stderr = hv.fails(1, &["call", "diary"]).await;
    assert!(stderr.contains("there is no such agent"), "{stderr}");
}

#[tokio::test]
async fn a_call_is_paid_for_within_the_cap() {
    let host = Host::paid([Reply::Settle, Reply::Trap]).await;
    let hv = Hv::new(&host);
    hv.deploy("weather", "price = '0.01 USDC'").await;
    let stderr = hv.fails(1, &["call", "weather", "/"]).await;
    assert!(stderr.contains("--pay KEYFILE --max-price"), "{stderr}");

    hv.key("payer.key", 0o600);
    let pay = [
        "call",
        "weather",
        "/",
        "--pay",
        "payer.key",
        "--max-price",
        "0.05",
    ];
    let output = hv.run(&pay).await;
    assert_eq!(text(&output.stdout), "GET weather.agent.internal /\n");
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("paid 0.01 USDC on base-sepolia"),
        "{stderr}"
    );

    let stderr = hv.fails(1, &pay).await;
    assert!(stderr.contains("the program trapped"), "{stderr}");
    assert!(stderr.contains("not charged"), "{stderr}");
}
