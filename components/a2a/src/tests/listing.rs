//! Lists of tasks.

use super::world::text;
use super::*;

/// A host where one caller sent so many messages, each some time after the one before.
fn host(messages: usize) -> Arc<Host> {
    let host = Host::answering(|_, _| text("hello"));
    for at in 0..messages {
        host.pass(1_000);
        let mut message = message(&format!("m{at}"), "hi");
        message["contextId"] = json!(if at % 2 == 0 { "even" } else { "odd" });
        rpc(
            &host,
            "a",
            &[TOKEN],
            "SendMessage",
            json!({"message": message}),
        )
        .result();
    }
    host
}

fn list(host: &Arc<Host>, params: Value) -> Value {
    rpc(host, "a", &[TOKEN], "ListTasks", params).result()
}

fn ids(listed: &Value) -> Vec<String> {
    let tasks = listed["tasks"].as_array().unwrap();
    tasks
        .iter()
        .map(|task| task["history"][0]["messageId"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn tasks_are_listed_with_the_newest_first_page_by_page() {
    let host = host(5);
    let first = list(&host, json!({"pageSize": 2}));
    assert_eq!(
        (ids(&first), &first["totalSize"], &first["pageSize"]),
        (vec!["m4".to_owned(), "m3".to_owned()], &json!(5), &json!(2))
    );
    let second = list(
        &host,
        json!({"pageSize": 2, "pageToken": first["nextPageToken"]}),
    );
    assert_eq!(ids(&second), ["m2", "m1"]);
    let last = list(
        &host,
        json!({"pageSize": 2, "pageToken": second["nextPageToken"]}),
    );
    assert_eq!(
        (ids(&last), &last["nextPageToken"]),
        (vec!["m0".to_owned()], &json!(""))
    );
}

#[test]
fn a_list_is_of_what_is_asked_for() {
    let host = host(4);
    assert_eq!(ids(&list(&host, json!({"contextId": "odd"}))), ["m3", "m1"]);
    assert_eq!(list(&host, json!({"contextId": "none"}))["totalSize"], 0);
    assert_eq!(
        list(&host, json!({"status": "TASK_STATE_FAILED"}))["totalSize"],
        0
    );
    assert_eq!(
        list(&host, json!({"status": "TASK_STATE_COMPLETED"}))["totalSize"],
        4
    );
    let after = crate::clock::stamp(world::START + 3_000);
    assert_eq!(
        ids(&list(&host, json!({"statusTimestampAfter": after}))),
        ["m3", "m2"]
    );
}

#[test]
fn artifacts_are_listed_where_they_are_asked_for() {
    let host = host(1);
    assert!(
        list(&host, json!({}))["tasks"][0]
            .get("artifacts")
            .is_none()
    );
    let with = list(&host, json!({"includeArtifacts": true, "historyLength": 0}));
    assert_eq!(
        with["tasks"][0]["artifacts"][0]["parts"][0]["text"],
        "hello"
    );
    assert!(with["tasks"][0].get("history").is_none());
}

#[test]
fn what_can_not_be_listed_is_refused() {
    let host = host(1);
    for params in [
        json!({"pageSize": 0}),
        json!({"pageSize": 101}),
        json!({"pageToken": "x"}),
        json!({"status": "working"}),
        json!({"statusTimestampAfter": "yesterday"}),
        json!({"contextId": 1}),
    ] {
        assert_eq!(
            rpc(&host, "a", &[TOKEN], "ListTasks", params.clone()).code(),
            -32602,
            "{params}"
        );
    }
}
