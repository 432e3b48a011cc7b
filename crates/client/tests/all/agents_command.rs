//! `hv deploy`, `hv agents` and `hv search` as people meet them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt;

use crate::support::Trick;
use crate::support::machine::{free, json, text};

#[tokio::test]
async fn the_first_deployment_makes_the_owners_key_and_says_so() {
    let (host, hv) = free().await;
    let output = hv.run(&["deploy", "app/weather.wasm"]).await;
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("hv: made the owner's key"), "{stderr}");
    let key = hv.path("config/hypervisor/owner.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let stdout = text(&output.stdout);
    let address = &host.addresses()[0];
    for line in [
        "deployed weather 1.0.0, a service\n",
        &format!("address     {address}\n"),
        &format!("url         {}/agents/weather/\n", host.url),
        "digest      sha256:cd5d4935a48c0672cb06407bb443bc0087aff947c6b864bac886982c73b3027f\n",
        "granted     wasi:http/types@0.2.6  (the host has 0.2.12)\n",
        "inert       wasi:filesystem/types@0.2.6  (the host has 0.2.12)\n",
        "restart     does not survive it: the host keeps no agents on disk\n",
    ] {
        assert!(stdout.contains(line), "{line}{stdout}");
    }

    let again = hv.run(&["deploy", "app/weather.wasm"]).await;
    assert_eq!(text(&again.stderr), "");
    assert_eq!(host.addresses().len(), 1, "it is the same owner's");
}

#[tokio::test]
async fn a_deployment_in_json_has_agent_url_and_proofs() {
    let (host, hv) = free().await;
    let arguments = ["deploy", "app/weather.wasm", "--output", "json"];
    let document = json(&hv.ok(&arguments).await);
    assert_eq!(document["agent"]["address"], host.addresses()[0].as_str());
    assert_eq!(document["url"], format!("{}/agents/weather/", host.url));
    assert_eq!(document["report"]["exit"]["kind"], "ok");
    assert_eq!(document["verified"], true);
    assert!(document["result_commitment"].is_string());
}

#[tokio::test]
async fn the_manifest_is_beside_the_component_or_in_the_folder_or_named() {
    let (host, hv) = free().await;
    hv.write("agent.toml", "name = 'folder'");
    hv.write("other.toml", "name = 'other'");
    hv.write("bare/weather.wasm", "\0asm");
    hv.ok(&["deploy", "app/weather.wasm"]).await;
    hv.ok(&["deploy", "bare/weather.wasm"]).await;
    hv.ok(&["deploy", "app/weather.wasm", "--manifest", "other.toml"])
        .await;
    let names: Vec<String> = host
        .addresses()
        .iter()
        .map(|address| address.split('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["folder", "other", "weather"]);

    std::fs::remove_file(hv.path("agent.toml")).unwrap();
    let stderr = hv.fails(2, &["deploy", "bare/weather.wasm"]).await;
    assert!(stderr.contains("--manifest FILE"), "{stderr}");
}

#[tokio::test]
async fn a_refused_deployment_exits_with_1_and_a_line_for_each_missing_import() {
    let (_host, hv) = free().await;
    hv.write("app/foreign.wasm", "foreign");
    hv.ok(&["deploy", "app/weather.wasm"]).await;
    let stderr = hv.fails(1, &["deploy", "app/foreign.wasm"]).await;
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "hv: the component imports what the host does not have:",
            "  nn:a/b@1.0.0: the host does not have it",
            "  nn:c/d@1.0.0: nor this"
        ]
    );
    hv.write("app/agent.toml", "version = '1'");
    let stderr = hv.fails(1, &["deploy", "app/weather.wasm"]).await;
    assert_eq!(
        stderr,
        "hv: the host refuses the manifest: it has no name\n"
    );
}

#[tokio::test]
async fn a_manifest_that_is_too_large_or_no_text_is_refused_before_anything_is_sent() {
    let (host, hv) = free().await;
    hv.write("app/agent.toml", &"#".repeat((64 << 10) + 1));
    let stderr = hv.fails(1, &["deploy", "app/weather.wasm"]).await;
    assert!(
        stderr.contains("agent.toml: a manifest has at most 64 KiB"),
        "{stderr}"
    );
    std::fs::write(hv.path("app/agent.toml"), [0xff]).unwrap();
    let stderr = hv.fails(1, &["deploy", "app/weather.wasm"]).await;
    assert!(stderr.contains("not text"), "{stderr}");
    assert!(host.addresses().is_empty());
    assert!(!hv.path("config").exists(), "no key was made for nothing");
}

#[tokio::test]
async fn an_agent_of_the_registry_is_deployed_by_its_name() {
    let (_host, hv) = free().await;
    let stdout = hv.ok(&["deploy", "--registered", "registered"]).await;
    assert!(
        stdout.contains("address     registered.operator\n"),
        "{stdout}"
    );
    let arguments = ["deploy", "--registered", "registered", "--output", "json"];
    let document = json(&hv.ok(&arguments).await);
    assert_eq!(document["message"], "registered is deployed");
    let stderr = hv.fails(1, &["deploy", "--registered", "other"]).await;
    assert!(stderr.contains("There is no such agent"), "{stderr}");
    assert!(!hv.path("config").exists(), "no owner is needed");
}

#[tokio::test]
async fn options_of_a_deployment_that_do_not_go_together_are_usage_errors() {
    let (_host, hv) = free().await;
    hv.fails(2, &["deploy"]).await;
    hv.fails(2, &["deploy", "a.wasm", "--registered", "b"])
        .await;
}

#[tokio::test]
async fn agents_are_listed_in_columns() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "price = '0.01 USDC'").await;
    hv.deploy("a", "world = 'command'").await;
    hv.deploy("diary", "private = true").await;
    assert_eq!(
        hv.ok(&["agents", "list"]).await,
        "a        1.0.0  command  public  free       Tells the weather.\n\
         weather  1.0.0  service  public  0.01 USDC  Tells the weather.\n"
    );
    let mine = hv.ok(&["agents", "list", "--mine"]).await;
    assert_eq!(mine.lines().count(), 3);
    assert!(mine.contains("diary    1.0.0  service  private"), "{mine}");
    let arguments = ["agents", "list", "--mine", "--output", "json"];
    let document = json(&hv.ok(&arguments).await);
    assert_eq!(document["agents"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_empty_list_says_so_on_standard_error() {
    let (_host, hv) = free().await;
    let output = hv.run(&["agents", "list"]).await;
    assert_eq!(text(&output.stderr), "hv: there are no agents\n");
    assert!(output.stdout.is_empty() && output.status.success());
}

#[tokio::test]
async fn an_agent_is_shown_and_a_private_one_to_its_owner() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "").await;
    hv.deploy("diary", "private = true").await;
    let stdout = hv.ok(&["agents", "show", "weather"]).await;
    assert!(stdout.starts_with("weather 1.0.0, a service\n"), "{stdout}");
    let stdout = hv.ok(&["agents", "show", "diary"]).await;
    assert!(
        stdout.starts_with("diary 1.0.0, a private service\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("url         none: it is private"),
        "{stdout}"
    );
    let arguments = ["agents", "show", "diary", "--output", "json"];
    assert_eq!(json(&hv.ok(&arguments).await)["private"], true);

    hv.key("other.key", 0o600);
    let arguments = ["agents", "show", "diary", "--owner", "other.key"];
    let stderr = hv.fails(1, &arguments).await;
    assert!(stderr.contains("There is no such agent"), "{stderr}");
}

#[tokio::test]
async fn an_owner_reads_logs_and_removes() {
    let (host, hv) = free().await;
    hv.deploy("weather", "").await;
    let output = hv.run(&["agents", "logs", "weather"]).await;
    assert_eq!(text(&output.stdout), "one\ntwo\n");
    assert_eq!(text(&output.stderr), "hv: 3 earlier lines were dropped\n");

    hv.key("other.key", 0o600);
    let arguments = ["agents", "remove", "weather", "--owner", "other.key"];
    let stderr = hv.fails(1, &arguments).await;
    assert_eq!(
        stderr,
        "hv: this owner's key does not allow it: it is somebody else's\n"
    );

    let address = host.addresses().remove(0);
    let stdout = hv.ok(&["agents", "remove", "weather"]).await;
    assert_eq!(stdout, format!("removed {address}\n"));
    let stderr = hv.fails(1, &["agents", "remove", "weather"]).await;
    assert!(stderr.contains("there is no such agent"), "{stderr}");
}

#[tokio::test]
async fn what_needs_an_owner_says_where_the_key_should_be() {
    let (_host, hv) = free().await;
    for arguments in [
        &["agents", "list", "--mine"][..],
        &["agents", "remove", "weather"],
        &["agents", "logs", "weather"],
    ] {
        let stderr = hv.fails(2, arguments).await;
        assert!(stderr.contains("config/hypervisor/owner.key"), "{stderr}");
        assert!(stderr.contains("`hv deploy` makes one"), "{stderr}");
    }
}

#[tokio::test]
async fn the_owners_key_can_be_named_by_the_environment() {
    let (host, mut hv) = free().await;
    hv.owner = Some("keys/work.key");
    hv.ok(&["deploy", "app/weather.wasm"]).await;
    assert!(hv.path("keys/work.key").exists(), "it was made");
    hv.ok(&["agents", "logs", "weather"]).await;
    hv.owner = Some("");
    hv.ok(&["deploy", "app/weather.wasm"]).await;
    assert!(hv.path("config/hypervisor/owner.key").exists());
    assert_eq!(host.addresses().len(), 2, "two owners");
}

#[tokio::test]
async fn an_owners_key_that_others_can_read_is_refused() {
    let (host, hv) = free().await;
    hv.key("owner.key", 0o644);
    let arguments = ["deploy", "app/weather.wasm", "--owner", "owner.key"];
    let stderr = hv.fails(1, &arguments).await;
    assert!(stderr.contains("run chmod 600 owner.key"), "{stderr}");
    assert!(host.addresses().is_empty());
}

#[tokio::test]
async fn a_name_that_could_leave_its_place_is_a_usage_error() {
    let (_host, hv) = free().await;
    for name in ["../ping", "a/b", "A", "a.b"] {
        let stderr = hv.fails(2, &["agents", "show", name]).await;
        assert!(stderr.contains("is not an agent"), "{stderr}");
    }
}

#[tokio::test]
async fn altered_answers_give_exit_status_3() {
    let (host, hv) = free().await;
    hv.deploy("weather", "").await;
    hv.deploy("shout", "world = 'command'").await;
    host.trick(Trick::Alter);
    for arguments in [
        &["deploy", "app/weather.wasm"][..],
        &["agents", "list", "--mine"],
        &["agents", "logs", "weather"],
        &["agents", "remove", "weather"],
        &["call", "weather", "/"],
        &["call", "shout"],
    ] {
        let stderr = hv.fails(3, arguments).await;
        assert!(stderr.contains("verification failed"), "{stderr}");
    }
}

#[tokio::test]
async fn other_peoples_texts_can_not_steer_the_terminal() {
    let (host, hv) = free().await;
    host.trick(Trick::Escape);
    hv.deploy("weather", "").await;
    for arguments in [
        &["agents", "list"][..],
        &["agents", "show", "weather"],
        &["agents", "logs", "weather"],
        &["search", "gone"],
    ] {
        let stdout = hv.ok(arguments).await;
        assert!(stdout.contains('\u{fffd}'), "{stdout}");
        assert!(!stdout.contains('\u{1b}'), "{stdout}");
    }
}

#[tokio::test]
async fn hv_search_shows_what_was_found() {
    let (_host, hv) = free().await;
    hv.deploy("weather", "price = '0.01 USDC'").await;
    let stdout = hv.ok(&["search", "the", "weather"]).await;
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("weather.") && lines[0].ends_with("  1.0.0  0.01 USDC"));
    assert_eq!(
        lines[1..],
        ["    Tells the weather.", "    skills: testing"]
    );
    assert_eq!(hv.ok(&["search", "elephants"]).await, "no agent found\n");
    let arguments = ["search", "weather", "--limit", "1", "--output", "json"];
    assert_eq!(json(&hv.ok(&arguments).await)["message"], "weather");
    for arguments in [&["search"][..], &["search", "a", "--limit", "101"]] {
        hv.fails(2, arguments).await;
    }
}

#[tokio::test]
async fn help_has_examples() {
    let (_host, hv) = free().await;
    for (command, example) in [
        ("deploy", "hv deploy --registered weather"),
        ("agents", "hv agents list --mine"),
        ("call", "hv call weather '/forecast?city=Oslo'"),
        ("search", "hv search weather forecast"),
    ] {
        let stdout = hv.ok(&[command, "--help"]).await;
        assert!(stdout.contains(example), "{stdout}");
    }
}
