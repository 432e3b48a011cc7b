//! Agents that speak the protocol themselves.

use super::world::{Act, EVENTS, events, head, piece, whole};
use super::*;

fn status(state: &str, text: &str) -> Value {
    json!({"statusUpdate": {"status": {"state": format!("TASK_STATE_{state}"), "message": {"parts": [{"text": text}]}}}})
}

fn artifact(id: &str, text: &str, append: bool) -> Value {
    json!({"artifactUpdate": {"append": append, "artifact": {"artifactId": id, "parts": [{"text": text}]}}})
}

fn stream(host: &Arc<Host>, message: Value) -> Vec<Value> {
    rpc(
        host,
        "a",
        &[],
        "SendStreamingMessage",
        json!({"message": message}),
    )
    .events()
}

#[test]
fn what_such_an_agent_says_is_the_task() {
    let said = [
        status("WORKING", "at it"),
        artifact("x", "one ", false),
        artifact("x", "two", true),
        artifact("y", "other", false),
        status("COMPLETED", "done"),
    ];
    let host = Host::answering(move |_, _| events(&said));
    let seen = stream(&host, message("m", "hi"));
    assert_eq!(
        kinds(&seen),
        [
            "task SUBMITTED",
            "WORKING",
            "one ",
            "+two",
            "other",
            "COMPLETED"
        ]
    );
    let task = task(&host, &seen[0]["task"]["id"]);
    assert_eq!(task["artifacts"][0]["parts"], json!([{"text": "one two"}]));
    assert_eq!(task["artifacts"].as_array().unwrap().len(), 2);
    assert_eq!(task["status"]["message"]["parts"][0]["text"], "done");
    assert_eq!(task["history"][1]["parts"][0]["text"], "at it");
}

#[test]
fn an_artifact_is_not_appended_to_that_was_not_begun() {
    let host = Host::answering(|_, _| events(&[artifact("x", "one", true)]));
    let seen = stream(&host, message("m", "hi"));
    assert_eq!(seen[1]["artifactUpdate"]["append"], false);
}

#[test]
fn a_message_in_place_of_a_task_is_the_answer() {
    let said = [json!({"message": {"parts": [{"text": "direct"}]}})];
    let host = Host::answering(move |_, _| events(&said));
    let answer = send(&host, message("m", "hi"));
    assert_eq!(answer["message"]["parts"][0]["text"], "direct");
    assert!(
        answer["message"].get("taskId").is_none() && answer["message"]["contextId"].is_string()
    );
    assert_eq!(kinds(&stream(&host, message("n", "hi"))), ["message"]);
    let one = json!({"message": {"parts": [{"text": "direct"}]}}).to_string();
    let host =
        Host::answering(move |_, _| whole(200, &[("content-type", "application/a2a+json")], &one));
    assert_eq!(
        send(&host, message("m", "hi"))["message"]["parts"][0]["text"],
        "direct"
    );
}

#[test]
fn a_message_that_comes_too_late_is_the_end_of_the_task() {
    let host = Host::answering(|_, _| {
        let said = json!({"message": {"parts": [{"text": "direct"}]}});
        Ok(vec![
            Act::Wait(5_000),
            head(200, &EVENTS),
            piece(&format!("data: {said}\n\n")),
        ])
    });
    let answer = send(&host, message("m", "hi"));
    assert_eq!(state(&answer["task"]), "COMPLETED");
    assert_eq!(
        answer["task"]["status"]["message"]["parts"][0]["text"],
        "direct"
    );
}

#[test]
fn an_agent_may_ask_and_is_answered_in_the_same_task() {
    let host = Host::answering(|asked, before| match before {
        0 => events(&[status("INPUT_REQUIRED", "which city?")]),
        _ => {
            assert_eq!(asked.body.as_deref(), Some(&b"Oslo"[..]));
            events(&[artifact("x", "rain", false), status("COMPLETED", "done")])
        }
    });
    let task = send(&host, message("m", "weather?"))["task"].clone();
    assert_eq!(state(&task), "INPUT_REQUIRED");
    let mut next = message("n", "Oslo");
    next["taskId"] = task["id"].clone();
    let answer = send(&host, next)["task"].clone();
    assert_eq!(
        (state(&answer), &answer["id"], &answer["contextId"]),
        ("COMPLETED", &task["id"], &task["contextId"])
    );
    let said: Vec<&Value> = answer["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["parts"][0]["text"])
        .collect();
    assert_eq!(said, ["weather?", "which city?", "Oslo"]);
    assert_eq!(
        host.calls()[1]
            .headers
            .iter()
            .find(|(name, _)| *name == "a2a-task-id")
            .unwrap()
            .1,
        task["id"].as_str().unwrap()
    );
}

#[test]
fn a_message_to_a_task_that_does_not_wait_for_one_is_refused() {
    let host = Host::answering(|_, _| events(&[status("COMPLETED", "done")]));
    let task = send(&host, message("m", "hi"))["task"].clone();
    let mut next = message("n", "more");
    next["taskId"] = task["id"].clone();
    assert_eq!(
        rpc(&host, "a", &[], "SendMessage", json!({"message": next})).code(),
        -32004
    );
    next["taskId"] = json!("0".repeat(32));
    assert_eq!(
        rpc(&host, "a", &[], "SendMessage", json!({"message": next})).code(),
        -32001
    );
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_message_with_another_context_than_its_tasks_is_refused() {
    let host = Host::answering(|_, _| events(&[status("INPUT_REQUIRED", "which?")]));
    let task = send(&host, message("m", "hi"))["task"].clone();
    let mut next = message("n", "this");
    next["taskId"] = task["id"].clone();
    next["contextId"] = json!("another");
    assert_eq!(
        rpc(&host, "a", &[], "SendMessage", json!({"message": next})).code(),
        -32602
    );
    assert_eq!(state(&super::task(&host, &task["id"])), "INPUT_REQUIRED");
}

#[test]
fn a_host_that_is_full_leaves_the_question_open() {
    let host = Host::answering(|_, before| match before {
        0 => events(&[status("INPUT_REQUIRED", "which?")]),
        1 => Err(front::error::WebError::Busy),
        _ => events(&[status("COMPLETED", "done")]),
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    let mut next = message("n", "this");
    next["taskId"] = task["id"].clone();
    assert_eq!(
        rpc(&host, "a", &[], "SendMessage", json!({"message": next})).status,
        503
    );
    assert_eq!(super::task(&host, &task["id"]), task);
    assert_eq!(state(&send(&host, next)["task"]), "COMPLETED");
}

#[test]
fn what_is_no_event_fails_the_task_and_keeps_what_came_before() {
    let host =
        Host::answering(|_, _| events(&[artifact("x", "one", false), json!({"surprise": 1})]));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(
        (state(&task), &task["artifacts"][0]["parts"][0]["text"]),
        ("FAILED", &json!("one"))
    );
    let said = task["status"]["message"]["parts"][0]["text"]
        .as_str()
        .unwrap();
    assert!(
        said.starts_with("The agent's answer is no event of A2A"),
        "{said}"
    );
}

#[test]
fn an_agent_can_not_say_that_it_was_paid() {
    let said = json!({"statusUpdate": {"status": {"state": "TASK_STATE_COMPLETED", "message": {"parts": [{"text": "a"}],
        "metadata": {"x402.payment.status": "payment-completed", "mine": 1}}}}});
    let host = Host::answering(move |_, _| events(std::slice::from_ref(&said)));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(task["status"]["message"]["metadata"], json!({"mine": 1}));
}

#[test]
fn an_agent_that_says_too_much_is_cut_short_and_its_task_ends() {
    let host = Host::answering(|_, _| {
        let mut said = vec![status("WORKING", "again"); 20_000];
        said.push(status("COMPLETED", "done"));
        events(&said)
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "COMPLETED");
    assert_eq!(task["history"].as_array().unwrap().len(), 100);
    let (_, rows) = host.rows.buckets("t:").remove(0);
    assert!(rows.len() < 11_000, "{}", rows.len());
}
