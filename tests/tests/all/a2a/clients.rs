//! The official clients in Python and JavaScript, by both bindings.

use std::path::Path;
use std::process::Stdio;

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{EVERYTHING, TOKEN, message, speaking, state, text, url, with_everything};

/// A client and the binding that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Official {
    command: [&'static str; 2],
    binding: &'static str,
}

const PYTHON: [&str; 2] = [".venv/bin/python", "client.py"];
const JAVASCRIPT: [&str; 2] = ["node", "client.mjs"];

pub(super) fn all() -> impl Iterator<Item = Official> {
    [PYTHON, JAVASCRIPT]
        .into_iter()
        .flat_map(|command| ["JSONRPC", "HTTP+JSON"].map(|binding| Official { command, binding }))
}

impl Official {
    /// What it sees of an agent, having verified the signature of its card.
    async fn sees(self, host: &Host, agent: &str, calls: &Value) -> Value {
        self.sees_with(host, agent, &[], calls).await
    }

    /// The same with extensions of the protocol.
    pub(super) async fn sees_with(
        self,
        host: &Host,
        agent: &str,
        extensions: &[&str],
        calls: &Value,
    ) -> Value {
        let input = json!({
            "url": url(host, agent), "binding": self.binding, "token": TOKEN, "extensions": extensions, "calls": calls,
        });
        let seen = run(self.command, &input).await;
        assert_eq!(seen["card"]["name"], agent, "{self:?}");
        seen["results"].clone()
    }

    /// The events that one message brings.
    async fn events(self, host: &Host, agent: &str, id: &str, is_streaming: bool) -> Vec<Value> {
        let seen = self
            .sees(host, agent, &json!([self.send(id, "hi", is_streaming)]))
            .await;
        let events = seen[0]["events"].as_array();
        events.unwrap_or_else(|| panic!("{self:?}: {seen}")).clone()
    }

    /// The task that a message becomes for a client that waits.
    async fn task(self, host: &Host, agent: &str, id: &str) -> Value {
        let events = self.events(host, agent, id, false).await;
        assert_eq!(events.len(), 1, "{self:?}: {events:?}");
        let task = &events[0]["task"];
        assert!(task.is_object(), "{self:?}: {events:?}");
        task.clone()
    }

    /// The call that sends a message; messages of other clients have other ids.
    pub(super) fn send(self, id: &str, text: &str, is_streaming: bool) -> Value {
        let id = format!("{id}-{}-{}", self.command[1], self.binding);
        json!({"send": {"message": message(&id, text)}, "stream": is_streaming})
    }
}

/// What a client prints, given this.
async fn run([program, script]: [&str; 2], input: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("a2a");
    let program = match program.contains('/') {
        true => folder.join(program),
        false => program.into(),
    };
    let mut client = Command::new(&program)
        .arg(script)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; run `make a2a`", program.display()));
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = client.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_service_that_knows_no_a2a_answers_with_an_artifact() {
    let host = speaking("");
    host.deploy(&owner(), "http-hello", "greeter", "").await;
    for client in all() {
        let task = client.task(&host, "greeter", "m").await;
        assert_eq!(state(&task), "COMPLETED", "{client:?}: {task}");
        assert_eq!(text(&task), "hello from POST /\n", "{client:?}: {task}");
    }
}

#[tokio::test]
async fn a_command_answers_with_what_it_prints() {
    let host = speaking("");
    host.deploy(&owner(), "echo", "parrot", "").await;
    for client in all() {
        let task = client.task(&host, "parrot", "m").await;
        assert_eq!(text(&task), "hi", "{client:?}: {task}");
    }
}

#[tokio::test]
async fn an_agent_that_speaks_a2a_gives_artifacts_of_every_kind() {
    let host = with_everything("").await;
    for client in all() {
        for (id, member, expected) in [
            ("tck-artifact-text", "/text", "Generated text content"),
            ("tck-artifact-file", "/raw", "b3V0cHV0Cg=="),
            (
                "tck-artifact-file-url",
                "/url",
                "https://example.com/output.txt",
            ),
            ("tck-artifact-data", "/data/key", "value"),
        ] {
            let task = client.task(&host, EVERYTHING, id).await;
            assert_eq!(state(&task), "COMPLETED", "{client:?}: {task}");
            let part = &task["artifacts"][0]["parts"][0];
            let found = part.pointer(member).and_then(Value::as_str);
            assert_eq!(found, Some(expected), "{client:?}: {part}");
        }
    }
}

#[tokio::test]
async fn an_agent_may_answer_with_a_message_in_place_of_a_task() {
    let host = with_everything("").await;
    for client in all() {
        let id = "tck-message-response";
        let events = client.events(&host, EVERYTHING, id, false).await;
        let part = &events[0]["message"]["parts"][0];
        assert_eq!(part["text"], "Direct message response", "{client:?}");
    }
}

#[tokio::test]
async fn a_task_that_asks_goes_on_with_the_answer() {
    let host = with_everything("").await;
    for client in all() {
        let asks = client.task(&host, EVERYTHING, "tck-input-required").await;
        assert_eq!(state(&asks), "INPUT_REQUIRED", "{client:?}: {asks}");
        let mut call = client.send("answer", "Oslo", false);
        call["send"]["message"]["taskId"] = asks["id"].clone();
        let seen = client.sees(&host, EVERYTHING, &json!([call])).await;
        let task = &seen[0]["events"][0]["task"];
        assert_eq!(task["id"], asks["id"], "{client:?}: {seen}");
        assert_eq!(state(task), "COMPLETED", "{client:?}: {seen}");
        let last = &task["status"]["message"]["parts"][0]["text"];
        assert_eq!(last, "Oslo", "{client:?}: {seen}");
    }
}

#[tokio::test]
async fn an_agent_may_reject_a_message() {
    let host = with_everything("").await;
    for client in all() {
        let task = client.task(&host, EVERYTHING, "tck-reject-task").await;
        assert_eq!(state(&task), "REJECTED", "{client:?}: {task}");
    }
}

#[tokio::test]
async fn an_artifact_streams_in_pieces() {
    let host = with_everything("").await;
    for client in all() {
        let id = "tck-stream-artifact-chunked";
        let events = client.events(&host, EVERYTHING, id, true).await;
        assert_eq!(
            state(&events[0]["task"]),
            "SUBMITTED",
            "{client:?}: {events:?}"
        );
        let pieces: Vec<(&str, bool, bool)> = events
            .iter()
            .filter_map(|event| event["artifactUpdate"].as_object())
            .map(|update| {
                let flag = |name: &str| update.get(name) == Some(&json!(true));
                let text = &update["artifact"]["parts"][0]["text"];
                (text.as_str().unwrap(), flag("append"), flag("lastChunk"))
            })
            .collect();
        let expected = [("chunk-1 ", false, false), ("chunk-2", true, true)];
        assert_eq!(pieces, expected, "{client:?}");
        let last = &events.last().unwrap()["statusUpdate"];
        assert_eq!(state(last), "COMPLETED", "{client:?}: {events:?}");
    }
}

#[tokio::test]
async fn a_task_can_be_read_listed_and_canceled() {
    let host = with_everything("").await;
    for client in all() {
        let asks = client.task(&host, EVERYTHING, "tck-input-required").await;
        let calls = json!([
            {"get": {"id": asks["id"]}},
            {"list": {"contextId": asks["contextId"]}},
            {"cancel": {"id": asks["id"]}},
            {"cancel": {"id": asks["id"]}},
        ]);
        let seen = client.sees(&host, EVERYTHING, &calls).await;
        assert_eq!(state(&seen[0]["task"]), "INPUT_REQUIRED", "{client:?}");
        assert_eq!(seen[1]["list"]["totalSize"], 1, "{client:?}: {seen}");
        assert_eq!(seen[1]["list"]["tasks"][0]["id"], asks["id"], "{client:?}");
        assert_eq!(state(&seen[2]["task"]), "CANCELED", "{client:?}: {seen}");
        let error = seen[3]["error"]["type"].as_str().unwrap();
        assert!(error.contains("TaskNotCancelable"), "{client:?}: {seen}");
    }
}

#[tokio::test]
async fn a_client_of_0_3_is_told_that_another_version_is_spoken() {
    let host = with_everything("").await;
    let input = json!({"url": url(&host, EVERYTHING)});
    let client = [".venv-0.3/bin/python", "client_0_3.py"];
    assert_eq!(run(client, &input).await["code"], -32009);
}
