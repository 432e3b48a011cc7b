//! `hv mcp`, spoken to as AI programs speak to it: a line of JSON for each message.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest_file;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::attestation::{Known, simulated};
use crate::payments::kit::Shop;

/// `hv mcp`, which an AI program started.
struct Tools {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: TempDir,
    last: u64,
    /// What came that answered nothing.
    told: Vec<Value>,
}

impl Tools {
    /// Starts it, and says hello as clients of 2025 do.
    fn start(server: &str, options: &[&str]) -> Self {
        let mut tools = Self::silent(server, options);
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "tests", "version": "1" },
        });
        let answer = tools.ask("initialize", hello);
        assert_eq!(answer["result"]["serverInfo"]["name"], "hv");
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
        tools.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        tools
    }

    fn silent(server: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = hv(folder.path())
            .args(["mcp", "--server", server])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            input: child.stdin.take(),
            child,
            output,
            folder,
            last: 0,
            told: Vec::new(),
        }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// The answer to a request.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            let message: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{error}: {line:?}; {}", self.stderr()));
            if message["id"] == id {
                return message;
            }
            self.told.push(message);
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        );
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    fn names(&mut self) -> Vec<String> {
        let answer = self.ask("tools/list", json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap();
        let names = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Closes standard input and waits for the end.
    fn end(mut self) -> (ExitStatus, String) {
        self.input.take();
        let status = self.child.wait().unwrap();
        (status, self.stderr())
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // Ended already where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `hv` with a home of its own.
fn hv(home: &Path) -> Command {
    let mut command = Command::new(binary("hv"));
    command
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("HYPERVISOR_OWNER")
        .env_remove("HYPERVISOR_SERVER")
        .current_dir(home);
    command
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

/// All the texts of a result.
fn texts(result: &Value) -> String {
    let blocks = result["content"].as_array().unwrap();
    let texts: Vec<_> = blocks.iter().filter_map(|it| it["text"].as_str()).collect();
    texts.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_run_sealed_and_how_they_end_is_named() {
    let host = Host::with_python("[limits]\ncpu = '2s'\n");
    let mut tools = Tools::start(host.url(), &[]);
    let printed = tools.call(
        "run_python",
        json!({
            "code": "import sys\nprint(sys.stdin.read() + '-' + sys.argv[1])", "stdin": "marker-of-the-test", "args": ["b"],
        }),
    );
    assert_eq!(text(&printed), "marker-of-the-test-b\n");
    let named = &printed["structuredContent"];
    assert_eq!(
        (&named["exit"], &named["stdout"]),
        (&json!("ok"), &json!("marker-of-the-test-b\n"))
    );
    assert_eq!(printed["isError"], false);

    let left = tools.call("run_python", json!({ "code": "import sys\nsys.exit(3)" }));
    assert_eq!(left["isError"], true);
    assert_eq!(left["structuredContent"]["code"], 3);
    let raised = tools.call("run_python", json!({ "code": "1 / 0" }));
    assert!(texts(&raised).contains("ZeroDivisionError"), "{raised}");

    let stopped = tools.call("run_python", json!({ "code": "while True: pass" }));
    assert_eq!(stopped["isError"], true);
    let limit = &stopped["structuredContent"]["limit"];
    assert_eq!(limit["name"], "cpu", "{stopped}");
    assert_eq!(limit["allowed"], 2_000_000);

    let long = tools.call("run_python", json!({ "code": "print('x' * 300_000)" }));
    assert_eq!(long["structuredContent"]["truncated"], true);
    assert_eq!(text(&long).len(), 256 << 10);

    let wrong = tools.call("run_python", json!({ "source": "1" }));
    assert_eq!(wrong["isError"], true);
    assert!(text(&wrong).contains("`code`"), "{wrong}");
    // This host has no JavaScript.
    let refused = tools.call("run_javascript", json!({ "code": "1" }));
    assert_eq!(refused["structuredContent"]["exit"], "refused", "{refused}");

    let unknown = tools.ask("tools/call", json!({ "name": "run_cobol" }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let (status, stderr) = tools.end();
    assert!(status.success());
    assert!(!stderr.contains("marker-of-the-test"), "{stderr}");
    assert!(!host.log().contains("marker-of-the-test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_and_components_run_too() {
    let host = Host::with_javascript("");
    let mut tools = Tools::start(host.url(), &[]);
    let code = "const n: number = 6; console.log(n * 7)";
    let printed = tools.call("run_javascript", json!({ "code": code }));
    assert_eq!(text(&printed), "42\n", "{printed}");
    let echo = guest_file("echo");
    let echo = echo.to_str().unwrap();
    for input in ["one", "two"] {
        let ran = tools.call(
            "run_wasm",
            json!({ "path": echo, "args": ["-x"], "stdin": input }),
        );
        assert_eq!(text(&ran), format!("-x\n{input}"), "{ran}");
    }
    std::fs::write(tools.folder.path().join("secret"), "hunter2").unwrap();
    let refused = tools.call("run_wasm", json!({ "path": "secret" }));
    assert_eq!(refused["isError"], true);
    assert!(text(&refused).contains("no WebAssembly"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_found_called_and_tools_of_their_own() {
    let host = Host::start();
    let owner = owner();
    let about = "skills = ['greetings']";
    host.deploy(&owner, "http-hello", "greeter", about).await;
    host.deploy(&owner, "echo", "parrot", "").await;
    host.deploy(&owner, "http-hello", "secret", "private = true")
        .await;
    let mut tools = Tools::start(host.url(), &[]);
    let names = tools.names();
    for name in [
        "run_python",
        "session_evaluate",
        "agent_greeter",
        "agent_parrot",
    ] {
        assert!(names.iter().any(|it| it == name), "{names:?}");
    }
    assert!(!names.iter().any(|it| it.contains("secret")), "{names:?}");

    let found = tools.call("search_agents", json!({ "query": "greetings" }));
    assert_eq!(
        found["structuredContent"]["agents"][0]["name"], "greeter",
        "{found}"
    );
    assert!(text(&found).contains("greeter"), "{found}");
    let called = tools.call(
        "call_agent",
        json!({ "agent": "greeter", "path": "/a?b=c" }),
    );
    assert_eq!(text(&called), "hello from GET /a?b=c\n", "{called}");
    assert_eq!(called["structuredContent"]["status"], 200);
    let called = tools.call("agent_greeter", json!({ "input": "hi" }));
    assert_eq!(text(&called), "hello from POST /\n", "{called}");
    let called = tools.call("agent_parrot", json!({ "input": "in", "args": ["-x"] }));
    assert_eq!(text(&called), "-x\nin", "{called}");
    // Sealed: no plain call reached the service.
    assert!(!host.log().contains("/agents/greeter/a"));

    for agent in ["nobody", "secret", "Not A Name"] {
        let missing = tools.call("call_agent", json!({ "agent": agent }));
        assert_eq!(missing["isError"], true, "{missing}");
    }
    let mut quiet = Tools::start(host.url(), &["--no-agent-tools"]);
    assert!(!quiet.names().iter().any(|it| it.starts_with("agent_")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_state_and_is_removed_at_the_end() {
    let host = Host::with_environments_in_python("");
    let mut tools = Tools::start(host.url(), &[]);
    let first = tools.call("session_evaluate", json!({ "code": "x = 6" }));
    assert_eq!(first["isError"], false, "{first}");
    let second = tools.call("session_evaluate", json!({ "code": "print('hi')\nx * 7" }));
    assert_eq!(second["structuredContent"]["value"], "42", "{second}");
    assert_eq!(text(&second), "hi\n");
    let code = json!({ "code": "const y = 2; y + 1", "language": "javascript" });
    let other = tools.call("session_evaluate", code);
    assert_eq!(other["structuredContent"]["value"], "3", "{other}");

    let home = tools.folder.path().to_owned();
    let list = || {
        let listed = hv(&home)
            .args(["--server", host.url(), "env", "list"])
            .output();
        let listed = listed.unwrap();
        String::from_utf8(listed.stdout).unwrap() + &String::from_utf8(listed.stderr).unwrap()
    };
    let there = list();
    assert!(
        there.contains("python") && there.contains("javascript"),
        "{there}"
    );
    tools.input.take();
    assert!(tools.child.wait().unwrap().success());
    let there = list();
    assert!(there.contains("no environments"), "{there}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_no_environments_is_told_so() {
    let host = Host::with_javascript("");
    let mut tools = Tools::start(host.url(), &[]);
    let refused = tools.call(
        "session_evaluate",
        json!({ "code": "1", "language": "javascript" }),
    );
    assert_eq!(refused["isError"], true);
    assert!(text(&refused).contains("operator"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_host_is_used_and_another_is_sent_nothing() {
    let known = Known::start();
    let policy = known.path("policy.toml");
    let options = ["--verify", policy.to_str().unwrap()];
    let mut tools = Tools::start(known.host.url(), &options);
    let printed = tools.call("run_python", json!({ "code": "print('attested')" }));
    assert_eq!(text(&printed), "attested\n", "{printed}");
    assert_eq!(printed["structuredContent"]["attested"], true);
    let (status, stderr) = tools.end();
    assert!(status.success());
    assert!(stderr.contains("SIMULATED"), "{stderr}");

    let other = simulated("one", "");
    let mut tools = Tools::start(other.url(), &options);
    assert!(!tools.names().is_empty());
    for (tool, arguments) in [
        ("run_python", json!({ "code": "print('attested')" })),
        ("search_agents", json!({ "query": "secret-words" })),
        ("call_agent", json!({ "agent": "secret-agent" })),
        ("session_evaluate", json!({ "code": "1" })),
    ] {
        let refused = tools.call(tool, arguments);
        assert_eq!(refused["isError"], true);
        assert_eq!(refused["structuredContent"]["exit"], "verification-failed");
        assert!(text(&refused).contains("manifest"), "{refused}");
    }
    let (status, _) = tools.end();
    assert_eq!(status.code(), Some(3));
    let log = other.log();
    for sent in [
        "unsafe/python",
        "/search",
        "secret-agent",
        "/environments",
        "\"/agents\"",
    ] {
        assert!(!log.contains(sent), "{sent} was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_host_forgot_is_opened_again() {
    let host = Host::with_python("[limits]\nsession_idle = '1s'\n");
    let mut tools = Tools::start(host.url(), &[]);
    for _ in 0..2 {
        let printed = tools.call("run_python", json!({ "code": "print(1)" }));
        assert_eq!(text(&printed), "1\n", "{printed}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_named_or_paid_and_no_more_than_was_allowed() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, shop.chain.payer(0).private_key()).unwrap();
    let key = key.to_str().unwrap();
    let hello = guest_file("hello");
    let run = json!({ "path": hello.to_str().unwrap() });

    let mut tools = Tools::start(shop.host.url(), &[]);
    let unpaid = tools.call("agent_http-hello", json!({}));
    assert_eq!(unpaid["structuredContent"]["exit"], "payment-required");
    assert!(text(&unpaid).contains("0.02 USDC"), "{unpaid}");
    let mut tools = Tools::start(shop.host.url(), &["--pay", key, "--max-price", "0.0001"]);
    let refused = tools.call("run_wasm", run.clone());
    assert_eq!(refused["isError"], true);
    assert!(text(&refused).contains("above the maximum"), "{refused}");
    assert_eq!(shop.chain.transfers().await.len(), 0);

    let mut tools = Tools::start(shop.host.url(), &["--pay", key, "--max-price", "0.05"]);
    let paid = tools.call("run_wasm", run);
    assert_eq!(text(&paid), "hello\n", "{paid}");
    assert_eq!(paid["structuredContent"]["payment"]["status"], "paid");
    assert!(texts(&paid).contains("[paid "), "{paid}");
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_costs_is_told_by_a_host_that_runs_nothing_for_free() {
    let shop = Shop::with("[routes]\nfree = false\n");
    let mut tools = Tools::start(shop.host.url(), &[]);
    let hello = guest_file("hello");
    let unpaid = tools.call("run_wasm", json!({ "path": hello.to_str().unwrap() }));
    assert_eq!(
        unpaid["structuredContent"]["exit"], "payment-required",
        "{unpaid}"
    );
    assert!(text(&unpaid).contains("0.01 USDC"), "{unpaid}");
    assert!(text(&unpaid).contains("--max-price"), "{unpaid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_writes_is_told_while_it_runs_to_who_asks() {
    let host = Host::with_python("");
    let mut tools = Tools::start(host.url(), &["--stream"]);
    let code = "import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('second')";
    let answer = tools.ask(
        "tools/call",
        json!({ "name": "run_python", "arguments": { "code": code }, "_meta": { "progressToken": "p" } }),
    );
    assert_eq!(text(&answer["result"]), "first\nsecond\n");
    let first = &tools.told[0];
    assert_eq!(first["method"], "notifications/progress", "{first}");
    assert_eq!(first["params"]["progressToken"], "p");
    assert_eq!(first["params"]["message"], "first\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_stops() {
    let host = Host::with_python("");
    let mut tools = Tools::start(host.url(), &["--stream"]);
    let code = "import time\nprint('runs', flush=True)\ntime.sleep(50)";
    let params = json!({
        "name": "run_python", "arguments": { "code": code }, "_meta": { "progressToken": "p" },
    });
    tools.send(&json!({ "jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": params }));
    let mut line = String::new();
    tools.output.read_line(&mut line).unwrap();
    assert!(line.contains("runs"), "{line}");
    let params = json!({ "requestId": 99, "reason": "not wanted any more" });
    tools.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
    // A request is logged when it is over, and this one would go on for 50 s.
    let began = Instant::now();
    host.has_logged("unsafe/python").await;
    let printed = tools.call("run_python", json!({ "code": "print(2)" }));
    assert_eq!(text(&printed), "2\n");
    assert!(began.elapsed() < Duration::from_secs(40));
}

#[test]
fn it_ends_with_its_input_and_needs_no_host_until_then() {
    let (status, stderr) = Tools::silent("http://127.0.0.1:9", &[]).end();
    assert!(status.success(), "{stderr}");
    let mut tools = Tools::start("http://127.0.0.1:9", &[]);
    assert!(tools.names().contains(&"run_python".to_owned()));
    let failed = tools.call("run_python", json!({ "code": "1" }));
    assert_eq!(failed["isError"], true);
    assert!(text(&failed).contains("cannot reach"), "{failed}");
    let (status, _) = tools.end();
    assert!(status.success());
}

#[test]
fn clients_of_2026_say_no_hello() {
    let host = Host::start();
    let mut tools = Tools::silent(host.url(), &[]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "tests", "version": "1" },
    });
    let answer = tools.ask("server/discover", json!({ "_meta": meta.clone() }));
    let versions = answer["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")), "{answer}");
    let hello = guest_file("hello");
    let arguments = json!({ "path": hello.to_str().unwrap() });
    let answer = tools.ask(
        "tools/call",
        json!({ "name": "run_wasm", "arguments": arguments, "_meta": meta }),
    );
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(text(&answer["result"]), "hello\n");
}

#[test]
fn a_policy_that_is_none_is_a_usage_error() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("policy.toml"), "version = 7\n").unwrap();
    for install in [&[][..], &["--install"]] {
        let output = hv(folder.path())
            .args(["mcp", "--verify", "policy.toml"])
            .args(install)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn how_ai_programs_are_told_of_it_is_printed() {
    let folder = TempDir::new().unwrap();
    let output = hv(folder.path())
        .args(["mcp", "--install", "--owner", "own.key"])
        .env("HYPERVISOR_SERVER", "https://host.example")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    for words in [
        "claude mcp add",
        "mcpServers",
        "Cursor",
        "VS Code",
        "https://host.example",
        "/own.key",
    ] {
        assert!(shown.contains(words), "{words} in {shown}");
    }
    assert!(!shown.contains("--install"), "{shown}");
}
