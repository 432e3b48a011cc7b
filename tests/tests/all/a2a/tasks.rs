//! What becomes of tasks: whose they are, how long they live, who sees what of them.

use hypervisor_tests::agents::owner;
use hypervisor_tests::programs::guest_file;
use hypervisor_tests::{Host, eventually, within};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{
    EVERYTHING, OTHER, TOKEN, asked, message, request, sent, speaking, state, task, text, ticks,
    with_everything,
};

const NOT_FOUND: i64 = -32001;

/// The events of a stream.
struct Events {
    answer: Response,
    pending: Vec<u8>,
}

impl Events {
    /// What a method answers with, to whoever has the token.
    async fn of(host: &Host, method: &str, params: Value) -> Self {
        let request = request(host, EVERYTHING, method, &params).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            pending: Vec::new(),
        }
    }

    /// The next one; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let end = self.pending.windows(2).position(|two| two == b"\n\n");
            if let Some(end) = end {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                let data = event.strip_prefix(b"data: ").unwrap();
                let event: Value = serde_json::from_slice(data).unwrap();
                return Some(event["result"].clone());
            }
            let piece = within("an event", self.answer.chunk()).await.unwrap()?;
            self.pending.extend(&piece);
        }
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// A task of a client that reads its first event and leaves; the message's id says how long it takes.
async fn left_alone(host: &Host, message_id: &str) -> Value {
    let params = json!({"message": message(message_id, "hi")});
    let mut events = Events::of(host, "SendStreamingMessage", params).await;
    events.next().await.unwrap()["task"].clone()
}

/// A platform that gives a sealing key, so that tasks survive a restart, and a front that says when all of them are on the disk.
fn lasting() -> String {
    let component = guest_file("keeper");
    format!(
        "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'a2a'\n\
         [[protocols]]\nname = 'keeper'\ncomponent = {component:?}\npaths = ['/keep/']\n"
    )
}

/// Waits until the disk has everything that was written before.
async fn flushed(host: &Host) {
    let url = format!("{}/keep/rows?bucket=a", host.url());
    let answer = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_task_does_not_exist_for_who_has_another_token() {
    let host = with_everything("").await;
    let own = sent(
        &host,
        EVERYTHING,
        TOKEN,
        message("tck-input-required", "hi"),
    )
    .await;
    let mut answer = message("m", "hi");
    answer["taskId"] = own["id"].clone();
    for (method, params) in [
        ("GetTask", json!({"id": own["id"]})),
        ("CancelTask", json!({"id": own["id"]})),
        ("SubscribeToTask", json!({"id": own["id"]})),
        ("SendMessage", json!({"message": answer})),
    ] {
        let refused = asked(&host, EVERYTHING, OTHER, method, params).await;
        assert_eq!(refused["error"]["code"], NOT_FOUND, "{method}: {refused}");
    }
    let params = json!({"contextId": own["contextId"]});
    let listed = asked(&host, EVERYTHING, OTHER, "ListTasks", params).await;
    assert_eq!(listed["result"]["totalSize"], 0, "{listed}");
    let same = task(&host, EVERYTHING, TOKEN, &own["id"]).await;
    assert_eq!(state(&same), "INPUT_REQUIRED");
}

#[tokio::test]
async fn a_task_survives_a_host_that_is_killed() {
    let mut host = with_everything(&lasting()).await;
    let before = sent(&host, EVERYTHING, TOKEN, message("tck-artifact-text", "hi")).await;
    flushed(&host).await;
    host.kill_and_restart();
    let after = task(&host, EVERYTHING, TOKEN, &before["id"]).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_task_that_was_under_way_when_the_host_was_killed_has_failed() {
    let mut host = with_everything(&lasting()).await;
    let under_way = left_alone(&host, "endless").await;
    flushed(&host).await;
    host.kill_and_restart();
    let after = task(&host, EVERYTHING, TOKEN, &under_way["id"]).await;
    assert_eq!(state(&after), "FAILED", "{after}");
}

#[tokio::test]
async fn a_run_goes_on_when_its_client_leaves() {
    let host = with_everything("").await;
    let left = left_alone(&host, "ticks").await;
    let done = eventually("the task is complete", async || {
        let task = task(&host, EVERYTHING, TOKEN, &left["id"]).await;
        (state(&task) == "COMPLETED").then_some(task)
    });
    assert_eq!(text(&done.await), ticks());
}

#[tokio::test]
async fn all_who_follow_a_task_see_the_same_events_in_the_same_order() {
    let host = with_everything("").await;
    let id = left_alone(&host, "endless").await["id"].clone();
    let follow = async || Events::of(&host, "SubscribeToTask", json!({"id": id})).await;
    let mut following = [follow().await, follow().await];
    let mut seen = [Vec::new(), Vec::new()];
    for (events, seen) in following.iter_mut().zip(&mut seen) {
        for _ in 0..4 {
            seen.push(events.next().await.unwrap());
        }
    }
    let canceled = asked(&host, EVERYTHING, TOKEN, "CancelTask", json!({"id": id})).await;
    assert_eq!(state(&canceled["result"]), "CANCELED", "{canceled}");
    for (events, seen) in following.into_iter().zip(&mut seen) {
        seen.extend(events.rest().await);
    }
    // Each begins with the task as it stood, which may have been earlier for one of them.
    let [one, two] = seen;
    assert_eq!(whole(&one), whole(&two));
    assert!(whole(&one).starts_with("1 2 3 "));
    let (one, two) = (&one[1..], &two[1..]);
    let both = one.len().min(two.len());
    assert_eq!(one[one.len() - both..], two[two.len() - both..]);
    assert_eq!(state(&one[one.len() - 1]["statusUpdate"]), "CANCELED");
}

/// The text that the first event of a stream has, and what those after it add.
fn whole(events: &[Value]) -> String {
    let updates = events.iter().map(|event| &event["artifactUpdate"]);
    let pieces = updates.filter_map(|it| it["artifact"]["parts"][0]["text"].as_str());
    text(&events[0]["task"]) + &pieces.collect::<String>()
}

#[tokio::test]
async fn a_message_that_is_sent_five_times_at_once_runs_once() {
    let (host, owner) = (speaking(""), owner());
    // Each of its runs leaves lines in its log.
    host.deploy(&owner, "trap", "trap", "").await;
    let send = || sent(&host, "trap", TOKEN, message("m", "hi"));
    let (a, b, c, d, e) = tokio::join!(send(), send(), send(), send(), send());
    for other in [b, c, d, e] {
        assert_eq!(other, a);
    }
    assert_eq!(state(&a), "FAILED", "{a}");
    let lines = host.logs(&owner, "trap").await.lines;
    let runs = lines.iter().filter(|line| line.contains("host trap"));
    assert_eq!(runs.count(), 1, "{lines:?}");
}

#[tokio::test]
async fn nothing_of_a_message_or_an_answer_is_logged() {
    let host = with_everything("").await;
    let mut told = message("m", "xyzzymarker");
    told["metadata"] = json!({"a": "xyzzymarker"});
    let done = sent(&host, EVERYTHING, "xyzzymarker", told).await;
    assert_eq!(done["status"]["message"]["parts"][0]["text"], "xyzzymarker");
    assert!(!host.log().contains("xyzzymarker"));
}
