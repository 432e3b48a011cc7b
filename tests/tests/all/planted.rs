//! What passes through a host in confidence, looked for in all that it writes and tells: log, metrics, the admin port, the audit trail,
//! the folder of its state, and a dump of its memory, which there must not be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use hyper::Request;
use hypervisor_client::environments::ExecuteInput;
use hypervisor_client::protocol::{Exit, OwnerKey};
use hypervisor_client::{Inputs, Program};
use hypervisor_tests::agents::{manifest, owner, reference};
use hypervisor_tests::environments::Tenant;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::sign::decode_header;
use hypervisor_tests::payments::{Chain, Facilitator, Purchase, Version};
use hypervisor_tests::programs::{
    a2a_front, component_file, guest, javascript_plugin, python_plugin, wat,
};
use hypervisor_tests::{Host, eventually};
use memchr::memmem;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::json;

use crate::agents::persistence::files;

/// The name of an agent that everybody may know.
const PUBLIC: &str = "publicly-known-agent";

/// Secrets, each with what it is.
struct Planted(Vec<(&'static str, Vec<u8>)>);

impl Planted {
    /// A new word, which nobody else has.
    fn word(&mut self, what: &'static str) -> String {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let word = format!("planted{}", const_hex::encode(random));
        self.0.push((what, word.clone().into_bytes()));
        word
    }

    /// Which of them are in these bytes.
    fn found(&self, bytes: &[u8]) -> Vec<&'static str> {
        let lower = bytes.to_ascii_lowercase();
        let planted = self.0.iter();
        planted
            .filter(|(_, secret)| holds(bytes, &lower, secret))
            .map(|(what, _)| *what)
            .collect()
    }
}

/// Whether bytes have a secret: as it is, in any case, in hexadecimal, or anywhere within base64.
fn holds(bytes: &[u8], lower: &[u8], secret: &[u8]) -> bool {
    let has = |form: &[u8]| memmem::find(lower, form).is_some();
    let shifted = (0..3_usize).any(|before| {
        let whole = BASE64_STANDARD.encode([&vec![0; before], secret].concat());
        // Without the characters that have bits of what stands before and behind.
        let from = (before * 8).div_ceil(6);
        let to = (before + secret.len()) * 8 / 6;
        let standard = &whole[from..to];
        let url = standard.replace('+', "-").replace('/', "_");
        [standard, &url]
            .into_iter()
            .any(|form| memmem::find(bytes, form.as_bytes()).is_some())
    });
    memmem::find(bytes, secret).is_some()
        || has(&secret.to_ascii_lowercase())
        || has(const_hex::encode(secret).as_bytes())
        || shifted
}

#[test]
fn a_secret_is_found_in_whatever_form_it_is_written() {
    let mut planted = Planted(Vec::new());
    let word = planted.word("word");
    let hex = const_hex::encode(&word);
    for text in [
        word.clone(),
        word.to_uppercase(),
        format!("before {word} behind"),
        hex.to_uppercase(),
        hex,
        BASE64_STANDARD.encode(&word),
        BASE64_STANDARD.encode(format!("a{word}b")),
        BASE64_STANDARD.encode(format!("ab{word}")),
    ] {
        assert_eq!(planted.found(text.as_bytes()), ["word"], "{text}");
    }
    assert!(planted.found(b"planted").is_empty());
}

/// A component with a secret in its data.
fn program(secret: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
             (core module $m
               (memory (export "memory") 1)
               (data (i32.const 0) "{secret}")
               (func (export "run") (result i32) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $run (result (result)) (canon lift (core func $i "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.6" (instance $exports)))"#
    ))
}

fn host(chain: &Chain, facilitator: &Facilitator) -> Host {
    Host::with(&format!(
        "{}[attestation]\nbackend = 'simulated'\nsimulated_seed = 'planted'\n\
         [runtime.python]\n{}\n[runtime.javascript]\n{}\n[environments]\nsetup = true\n[audit]\nplain = true\n\
         [[protocols]]\nname = 'a2a'\npaths = ['/a2a/']\nbackground = '1m'\n{}\n\
         [admin]\nlistening = '127.0.0.1:0'\npage = {:?}\n",
        config(chain, facilitator.url(), &confirmed(chain)),
        python_plugin(),
        javascript_plugin(),
        a2a_front(),
        component_file("status"),
    ))
}

/// Programs and scripts, and what they are given; each answer shows that the secret did travel.
async fn run(host: &Host, planted: &mut Planted) {
    let secret = program(&planted.word("a program"));
    let ran = host.run(Program::new(&secret)).await;
    assert_eq!(ran.report.exit, Exit::Ok);
    let (argument, input) = (planted.word("an argument"), planted.word("standard input"));
    let echo = guest("echo");
    let given = Program::new(&echo)
        .argument(argument.as_str())
        .stdin(input.as_bytes());
    let ran = host.run(given).await;
    assert!(memmem::find(&ran.result, argument.as_bytes()).is_some());
    // What ends badly says why, and not of what.
    let trap = guest("trap");
    host.run(
        Program::new(&trap)
            .argument(argument.as_str())
            .stdin(input.as_bytes()),
    )
    .await;
    host.run(Program::new(argument.as_bytes())).await;
    let python = planted.word("a script in Python");
    let ran = host
        .python(&format!("print('{python}')\nraise ValueError('{python}')"))
        .await;
    assert!(memmem::find(&ran.result, python.as_bytes()).is_some());
    let javascript = planted.word("a script in JavaScript");
    let script = format!("console.log('{javascript}'); throw new Error('{javascript}')");
    let ran = host.javascript(&script).await;
    assert!(memmem::find(&ran.result, javascript.as_bytes()).is_some());
}

/// An environment: its code, an event, a variable, what it prints, what it answers, and a turn.
async fn environment(tenant: &Tenant, planted: &mut Planted) {
    let [code, event, variable, answer, turn] = [
        "the code of an environment",
        "an event",
        "a variable of a call",
        "the answer of a handler",
        "a turn",
    ]
    .map(|what| planted.word(what));
    let reversed: String = answer.chars().rev().collect();
    let source = format!(
        "export function handler(event) {{ console.log(event.data, '{code}'); \
         return event.data + Array.from('{reversed}').reverse().join(''); }}"
    );
    let id = tenant.set_up("javascript", &source).await.id;
    let input = ExecuteInput {
        data: format!("\"{event}\""),
        env: [("SECRET".to_owned(), variable)].into(),
        ..ExecuteInput::default()
    };
    let done = tenant.session.execute(&id, &input, &tenant.owner).await;
    let value = done.unwrap().answer.value.unwrap();
    assert!(value.contains(&event) && value.contains(&answer));
    let empty = hypervisor_client::environments::Bundle {
        language: "javascript".to_owned(),
        ..Default::default()
    };
    let open = tenant.try_set_up(&empty, &Default::default()).await;
    let open = open.answer.environment.unwrap().id;
    let said = tenant
        .says(&open, &format!("const kept = '{turn}'; kept"))
        .await;
    assert!(said.unwrap().contains(&turn));
}

/// A private agent with a secret of its own, and what it is asked.
async fn agent(host: &Host, owner: &OwnerKey, planted: &mut Planted) {
    let [secret, header, body, input] = [
        "an agent's variable",
        "a header of a sealed call",
        "a body of a sealed call",
        "input of an agent",
    ]
    .map(|what| planted.word(what));
    let more = format!("private = true\n[environment]\nKEY = '{secret}'");
    let text = manifest("keeper-of-secrets", &more);
    host.try_deploy(owner, &guest("bad-agent"), &text)
        .await
        .unwrap();
    let session = host.session().await;
    let request = Request::post("/env")
        .header("x-secret", header)
        .body(body.into_bytes())
        .unwrap();
    let keeper = reference("keeper-of-secrets");
    let called = session.call_service(&keeper, request, Some(owner));
    let answer = called.await.unwrap().into_response().unwrap();
    assert!(memmem::find(answer.body(), secret.as_bytes()).is_some());
    host.deploy(owner, "echo", "command-of-secrets", "private = true")
        .await;
    let inputs = Inputs::new().argument(input.as_str());
    let command = reference("command-of-secrets");
    let called = session.call_command(&command, inputs, Some(owner));
    let answer = called.await.unwrap();
    assert!(memmem::find(&answer.result, input.as_bytes()).is_some());
}

/// A plain call and a message by A2A, whose bodies the host has to see and may not keep in the clear.
async fn plain(host: &Host, planted: &mut Planted) {
    host.deploy(&owner(), "http-hello", PUBLIC, "").await;
    let [query, body, message] =
        ["a query", "a body", "a message by A2A"].map(|what| planted.word(what));
    let http = reqwest::Client::new();
    let url = host.agent(PUBLIC, &format!("/?{query}"));
    let answer = http.post(url).body(body).send().await.unwrap();
    assert!(answer.status().is_success());
    let message = json!({"messageId": "one", "role": "ROLE_USER", "parts": [{"text": message}]});
    let request =
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}});
    let answer = http
        .post(format!("{}/a2a/{PUBLIC}/", host.url()))
        .header("content-type", "application/json")
        .header("a2a-version", "1.0")
        .body(request.to_string());
    let answer = answer.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("TASK_STATE_COMPLETED"), "{answer}");
}

/// What is paid for: who pays, and what they sign.
async fn paid(host: &Host, chain: &Chain, planted: &mut Planted) {
    let argument = planted.word("an argument that was paid for");
    let purchase = Purchase::of_echo(host, &argument).await;
    let payment = purchase.payment(chain, Version::V2).await;
    let (name, value) = payment.header();
    let answer = purchase.send(&[(name, &value)]).await;
    assert_eq!(
        purchase.opened(&answer).result,
        format!("{argument}\n").as_bytes()
    );
    let signature = decode_header(&value)["payload"]["signature"].clone();
    let signature = signature
        .as_str()
        .unwrap()
        .trim_start_matches("0x")
        .to_owned();
    let payer = chain.payer(0).address();
    let address = payer.to_string().trim_start_matches("0x").to_owned();
    let bytes = const_hex::decode(&signature).unwrap();
    for (what, secret) in [
        ("a payer's address", address.into_bytes()),
        ("a payer's address in bytes", payer.0.to_vec()),
        ("a signature", signature.into_bytes()),
        ("a signature in bytes", bytes),
        ("a payment", value.into_bytes()),
    ] {
        planted.0.push((what, secret));
    }
}

/// What a host writes and tells, and a word in each that shows that it was looked at.
async fn places(host: &Host) -> Vec<(String, Vec<u8>, &'static str)> {
    let mut places = vec![(
        "the log".to_owned(),
        host.log().into_bytes(),
        "an agent was deployed",
    )];
    let (operator, admin) = (host.operator(), host.admin());
    for (path, word) in [
        ("/", PUBLIC),
        ("/status", PUBLIC),
        ("/metrics", "hypervisor_sealed_requests_total"),
        ("/logs?from=0", "lines"),
        ("/level", "trace"),
        ("/livez", ""),
        ("/readyz", ""),
    ] {
        let answer = operator.get(format!("{admin}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let bytes = answer.bytes().await.unwrap().to_vec();
        places.push((format!("{path} of the admin port"), bytes, word));
    }
    for (path, word) in [
        ("/audit/head", "hypervisor/audit/"),
        ("/audit/consistency?from=1", "old 1"),
        ("/agents", PUBLIC),
        ("/attestation?nonce=00112233445566778899aabbccddeeff", ""),
        ("/openapi.json", "openapi"),
    ] {
        let answer = reqwest::get(format!("{}{path}", host.url())).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        places.push((
            path.to_owned(),
            answer.bytes().await.unwrap().to_vec(),
            word,
        ));
    }
    for (path, bytes) in files(&host.state()) {
        let word = match path.extension().is_some_and(|it| it == "redb") {
            true => "redb",
            false => "",
        };
        let name = path.display().to_string();
        places.push((
            format!("the name of {name}"),
            name.clone().into_bytes(),
            "state",
        ));
        places.push((name, bytes, word));
    }
    places
}

#[tokio::test]
async fn nothing_that_was_said_in_confidence_is_in_anything_that_a_host_writes_or_tells() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let mut host = host(&chain, &facilitator);
    host.ready().await;
    let (mut planted, tenant, owner) = (Planted(Vec::new()), host.tenant().await, owner());
    run(&host, &mut planted).await;
    environment(&tenant, &mut planted).await;
    agent(&host, &owner, &mut planted).await;
    plain(&host, &mut planted).await;
    paid(&host, &chain, &mut planted).await;
    assert_eq!(planted.0.len(), 23);

    let mut looked = places(&host).await;
    // What is only written when a host ends, and what it reads again.
    host.terminate();
    host.wait();
    host.kill_and_restart();
    host.ready().await;
    looked.extend(places(&host).await);
    for (place, bytes, word) in &looked {
        assert!(
            memmem::find(bytes, word.as_bytes()).is_some(),
            "{place} has no {word}"
        );
        let found = planted.found(bytes);
        assert!(found.is_empty(), "in {place}: {found:?}");
    }
    // Where it does not belong, the same search finds it.
    let mut wrong = host.log();
    wrong.push_str(&String::from_utf8_lossy(&planted.0[0].1));
    assert_eq!(planted.found(wrong.as_bytes()), [planted.0[0].0]);
}

#[tokio::test]
async fn a_host_that_is_ended_by_a_fault_leaves_no_dump_of_its_memory() {
    // As far as this machine lets a process have one.
    let limit = getrlimit(Resource::Core);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Core, most).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut other = Command::new("sh");
    let other = other
        .args(["-c", "kill -ABRT $$"])
        .current_dir(folder.path());
    if !other.status().unwrap().core_dumped() {
        eprintln!("SKIPPED: no process of this machine leaves a dump");
        return;
    }
    for signal in [Signal::ABORT, Signal::SEGV] {
        let mut host = Host::start();
        let session = host.session().await;
        let echo = guest("echo");
        let ran = session
            .run_wasm(Program::new(&echo).argument("in memory"))
            .await;
        assert_eq!(ran.unwrap().result, b"in memory\n");
        let pid = Pid::from_raw(host.pid().try_into().unwrap()).unwrap();
        // The engine's handler takes the first of a signal that no instruction caused, and puts the default in its place.
        eventually("the host ended", async || {
            let _ = kill_process(pid, signal);
            host.proc("stat").contains(") Z ").then_some(())
        })
        .await;
        let status = host.wait();
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped(), "{signal:?}");
        let left: Vec<_> = std::fs::read_dir(host.state().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("core"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
