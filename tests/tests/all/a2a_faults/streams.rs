//! Several who follow one task: all see the same events in the same order, also who comes late or comes back.

use serde_json::{Value, json};

use super::kit::{AGENT, Asker, Work, id, is_artifact, order, speaking, state, text};

/// What a client makes of the events of a task: its state and its text.
fn folded(events: &[Value]) -> (String, String) {
    let (mut last, mut all) = (String::new(), String::new());
    for event in events {
        if let Some(task) = event.get("task") {
            last = state(task).to_owned();
            all = text(task);
        } else if let Some(update) = event.get("statusUpdate") {
            last = state(update).to_owned();
        } else if let Some(update) = event.get("artifactUpdate") {
            if update["append"] != true {
                all.clear();
            }
            all.push_str(&text(&json!({"artifacts": [update["artifact"]]})));
        }
    }
    (last, all)
}

#[tokio::test]
async fn two_who_subscribe_and_who_sent_the_message_see_the_same_events() {
    let host = speaking("");
    let work = Work::of(4).await;
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    let params = json!({"message": order("m")});
    let mut sender = asker.follows(&host, "SendStreamingMessage", &params).await;
    let begun = sender.until(|event| event.get("task").is_some()).await;
    let subscription = json!({"id": begun[0]["task"]["id"]});
    let mut one = asker.follows(&host, "SubscribeToTask", &subscription).await;
    let mut other = asker.follows(&host, "SubscribeToTask", &subscription).await;
    // Each has its first event, the task as it is, before the agent says anything.
    for subscriber in [&mut one, &mut other] {
        let first = subscriber.next().await.unwrap();
        assert_eq!(id(&first["task"]), begun[0]["task"]["id"]);
        assert!(text(&first["task"]).is_empty());
    }
    work.allow(4);
    let (sender, one, other) = (sender.rest().await, one.rest().await, other.rest().await);
    assert_eq!(one, other);
    assert!(one.iter().any(is_artifact), "{one:?}");
    assert!(sender.ends_with(&one), "{sender:?} {one:?}");
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_sees_nothing_twice() {
    let host = speaking("");
    let work = Work::of(4).await;
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    let params = json!({"message": order("m")});
    let mut sender = asker.follows(&host, "SendStreamingMessage", &params).await;
    work.allow(1);
    let begun = sender.until(is_artifact).await;
    let subscription = json!({"id": begun[0]["task"]["id"]});
    let mut seen = Vec::new();
    for line in 2..=4 {
        // Leaves after each line, and comes back before the next.
        let mut events = asker.follows(&host, "SubscribeToTask", &subscription).await;
        let first = events.next().await.unwrap();
        let lines = text(&first["task"]).lines().count();
        assert_eq!(lines, line - 1, "{first}");
        work.allow(line);
        seen = vec![first];
        match line {
            4 => seen.extend(events.rest().await),
            _ => seen.extend(events.until(is_artifact).await),
        }
    }
    let mut all = begun;
    all.extend(sender.rest().await);
    assert_eq!(folded(&all), folded(&seen));
    assert_eq!(folded(&seen).0, "COMPLETED");
    assert_eq!(folded(&seen).1, "line 1\nline 2\nline 3\nline 4\n");
}

#[tokio::test]
async fn who_sends_the_message_of_a_stream_again_sees_it_from_its_beginning() {
    let host = speaking("");
    let work = Work::of(2).await;
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    let params = json!({"message": order("m")});
    let mut first = asker.follows(&host, "SendStreamingMessage", &params).await;
    work.allow(1);
    let mut seen = first.until(is_artifact).await;
    let again = asker.follows(&host, "SendStreamingMessage", &params).await;
    work.allow(2);
    seen.extend(first.rest().await);
    assert_eq!(again.rest().await, seen);
    assert_eq!(work.runs(), 1);
}
