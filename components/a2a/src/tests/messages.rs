//! Messages to agents that know nothing of the protocol.

use super::world::{Act, Request, head, piece, run, text, whole};
use super::*;

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
fn a_message_is_a_request_and_its_answer_an_artifact() {
    let host = Host::answering(|_, _| text("hello"));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "COMPLETED");
    assert_eq!(task["artifacts"][0]["parts"], json!([{"text": "hello"}]));
    assert_eq!(task["history"][0]["messageId"], "m");
    assert_eq!(task["history"][0]["taskId"], task["id"]);
    let asked = &host.calls()[0];
    assert_eq!(
        (&*asked.method, &*asked.authority),
        ("POST", "a.operator.agent.internal")
    );
    assert_eq!(asked.body.as_deref(), Some(&b"hi"[..]));
    assert_eq!(super::task(&host, &task["id"]), task);
}

#[test]
fn a_stream_begins_with_the_task_and_ends_with_its_end() {
    let host = Host::answering(|_, _| text("hello"));
    let events = stream(&host, message("m", "hi"));
    assert_eq!(kinds(&events), ["task SUBMITTED", "hello.", "COMPLETED"]);
    let id = &events[0]["task"]["id"];
    assert_eq!(
        (
            &events[1]["artifactUpdate"]["taskId"],
            &events[2]["statusUpdate"]["taskId"]
        ),
        (id, id)
    );
}

#[test]
fn text_goes_on_as_it_comes_and_the_task_has_it_whole() {
    let host = Host::answering(|_, _| {
        Ok(vec![
            head(200, &[("content-type", "text/plain")]),
            piece("one "),
            Act::Wait(100),
            piece("tw"),
            piece("o "),
            Act::Wait(100),
            Act::Wait(100),
        ])
    });
    let events = stream(&host, message("m", "hi"));
    assert_eq!(
        kinds(&events),
        ["task SUBMITTED", "one ", "+two ", "+.", "COMPLETED"]
    );
    let task = task(&host, &events[0]["task"]["id"]);
    assert_eq!(task["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(task["artifacts"][0]["parts"], json!([{"text": "one two "}]));
}

#[test]
fn a_client_that_does_not_wait_is_answered_at_once_and_the_run_goes_on() {
    let host = Host::answering(|_, _| {
        Ok(vec![
            Act::Wait(3_000),
            head(200, &[("content-type", "text/plain")]),
            piece("late"),
        ])
    });
    let params =
        json!({"message": message("m", "hi"), "configuration": {"returnImmediately": true}});
    let task = rpc(&host, "a", &[], "SendMessage", params).result()["task"].clone();
    assert_eq!(state(&task), "SUBMITTED");
    assert!(task.get("artifacts").is_none());
    let task = super::task(&host, &task["id"]);
    assert_eq!(
        (state(&task), &task["artifacts"][0]["parts"][0]["text"]),
        ("COMPLETED", &json!("late"))
    );
}

#[test]
fn a_client_is_told_of_the_task_though_the_agent_takes_its_time() {
    let host = Host::answering(|_, _| {
        Ok(vec![
            Act::Wait(5_000),
            head(200, &[("content-type", "text/plain")]),
            piece("late"),
        ])
    });
    let events = stream(&host, message("m", "hi"));
    assert_eq!(
        kinds(&events),
        ["task SUBMITTED", "WORKING", "late.", "COMPLETED"]
    );
}

#[test]
fn a_task_outlives_the_client_that_sent_its_message() {
    let host = Host::answering(|_, _| text("hello"));
    let settings = settings(&[]);
    let request = Request::new(&host, &settings).of_one_who_leaves();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message("m", "hi")}});
    run(
        &request,
        &settings,
        ("POST", "/a2a/a"),
        &[&RPC[..], &[TOKEN]].concat(),
        body.to_string().as_bytes(),
    );
    assert!(request.got().body.is_empty());
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    assert_eq!(state(&listed["tasks"][0]), "COMPLETED");
}

#[test]
fn what_goes_wrong_is_a_task_that_failed_and_says_why() {
    let host = Host::answering(|_, _| whole(500, &[("content-type", "text/plain")], "oh"));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "FAILED");
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "oh");
    let said = &task["status"]["message"]["parts"][0]["text"];
    assert_eq!(said, "The agent answered with HTTP status 500.");
    let problem = json!({"type": "urn:hypervisor:problem:agent-failed", "title": "The agent failed", "detail": "it trapped"});
    let host = Host::answering(move |_, _| whole(502, &[], &problem.to_string()));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "The agent failed: it trapped"
    );
}

#[test]
fn a_run_that_broke_off_keeps_what_came_of_it() {
    let host = Host::answering(|_, _| {
        Ok(vec![
            head(200, &[("content-type", "text/plain")]),
            piece("half"),
            Act::Give(crate::ports::Step::Failed(front::error::WebError::Broken)),
        ])
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(
        (state(&task), &task["artifacts"][0]["parts"][0]["text"]),
        ("FAILED", &json!("half"))
    );
}

#[test]
fn a_run_that_takes_all_its_time_ends_and_says_so() {
    let host = Host::answering(|_, _| Ok(vec![Act::Hang]));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "FAILED");
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "The time was up."
    );
}

#[test]
fn a_host_that_is_full_is_told_and_nothing_is_kept() {
    let host = Host::answering(|_, _| Err(front::error::WebError::Busy));
    let got = rpc(
        &host,
        "a",
        &[TOKEN],
        "SendMessage",
        json!({"message": message("m", "hi")}),
    );
    assert_eq!((got.status, got.code()), (503, -32603));
    assert!(host.rows.buckets("t:").is_empty());
    // The same message may be sent again, and is run then.
    host.answer(|_, _| text("hello"));
    let got = rpc(
        &host,
        "a",
        &[TOKEN],
        "SendMessage",
        json!({"message": message("m", "hi")}),
    );
    assert_eq!(state(&got.result()["task"]), "COMPLETED");
}

#[test]
fn what_is_longer_than_what_is_kept_is_cut_and_that_is_said() {
    let host = Host::answering(|_, _| {
        let mut acts = vec![head(200, &[("content-type", "text/plain")])];
        acts.extend((0..40).map(|_| piece(&"é".repeat(20_000))));
        Ok(acts)
    });
    let settings = settings(&[("A2A_TASK_BYTES", "100000")]);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message("m", "hi")}});
    let got = ask(
        &host,
        &settings,
        ("POST", "/a2a/a/"),
        &RPC,
        body.to_string().as_bytes(),
    );
    let task = &got.result()["task"];
    assert_eq!(state(task), "COMPLETED");
    let text = task["artifacts"][0]["parts"][0]["text"].as_str().unwrap();
    assert!((50_000..=100_000).contains(&text.len()), "{}", text.len());
    assert_eq!(task["artifacts"][0]["metadata"]["truncated"], true);
    assert!(
        task["status"]["message"]["parts"][0]["text"]
            .as_str()
            .unwrap()
            .contains("100000 bytes")
    );
}

#[test]
fn a_long_answer_is_kept_in_pieces_and_found_whole() {
    let body = "x".repeat(900_000);
    let sent = body.clone();
    let host = Host::answering(move |_, _| whole(200, &[("content-type", "image/svg+xml")], &sent));
    let task = send(&host, message("m", "hi"))["task"].clone();
    let found = super::task(&host, &task["id"]);
    assert_eq!(found["artifacts"][0]["parts"][0]["text"], body);
    assert_eq!(found, task);
}

#[test]
fn a_message_that_is_none_is_refused_before_anything_runs() {
    let host = Host::answering(|_, _| text("hello"));
    for params in [
        json!({}),
        json!({"message": {}}),
        json!({"message": message("m", "hi"), "configuration": 1}),
        json!({"message": message("m", "hi"), "configuration": {"historyLength": -1}}),
        json!({"message": message("m", "hi"), "configuration": {"acceptedOutputModes": [1]}}),
    ] {
        let got = rpc(&host, "a", &[], "SendMessage", params.clone());
        assert_eq!(got.code(), -32602, "{params}");
    }
    let push = json!({"message": message("m", "hi"), "configuration": {"taskPushNotificationConfig": {"url": "https://a.example"}}});
    assert_eq!(rpc(&host, "a", &[], "SendMessage", push).code(), -32003);
    assert!(host.calls().is_empty());
}

#[test]
fn a_client_has_as_much_of_the_history_as_it_wants() {
    let host = Host::answering(|_, _| text("hello"));
    let params = json!({"message": message("m", "hi"), "configuration": {"historyLength": 0}});
    let task = rpc(&host, "a", &[], "SendMessage", params).result()["task"].clone();
    assert!(task.get("history").is_none());
    let got = rpc(
        &host,
        "a",
        &[],
        "GetTask",
        json!({"id": task["id"], "historyLength": 1}),
    )
    .result();
    assert_eq!(got["history"].as_array().unwrap().len(), 1);
}

#[test]
fn a_store_that_is_full_is_told() {
    let host = Host::answering(|_, _| text("hello"));
    host.rows.bound(0);
    let got = rpc(
        &host,
        "a",
        &[],
        "SendMessage",
        json!({"message": message("m", "hi")}),
    );
    assert_eq!((got.status, got.code()), (503, -32603));
    assert!(host.calls().is_empty());
}

#[test]
fn a_stream_of_many_small_pieces_is_kept_whole() {
    let host = Host::answering(|_, _| {
        let mut acts = vec![head(200, &[("content-type", "text/plain")])];
        for _ in 0..500 {
            acts.push(piece("tick "));
            acts.push(Act::Wait(50));
        }
        Ok(acts)
    });
    let settings = settings(&[("A2A_TASK_BYTES", "16384")]);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message("m", "hi")}});
    let got = ask(
        &host,
        &settings,
        ("POST", "/a2a/a/"),
        &RPC,
        body.to_string().as_bytes(),
    );
    let text = &got.result()["task"]["artifacts"][0]["parts"][0]["text"];
    assert_eq!(text, &json!("tick ".repeat(500)));
}
