//! What callers see of each other: nothing. And what one caller sends twice is run once.

use super::world::{Act, events, head, piece, text};
use super::*;
use crate::ports::{Step, Store};

fn send_as(host: &Arc<Host>, caller: (&str, &str), message: Value) -> Got {
    rpc(
        host,
        "a",
        &[caller],
        "SendMessage",
        json!({"message": message}),
    )
}

#[test]
fn a_task_of_somebody_elses_is_as_one_that_never_was() {
    let host = Host::answering(|_, _| {
        events(&[json!({"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}})])
    });
    let task = send_as(&host, TOKEN, message("m", "hi")).result()["task"].clone();
    let mut mine = message("n", "more");
    mine["taskId"] = task["id"].clone();
    let mut never = mine.clone();
    never["taskId"] = json!("0".repeat(32));
    for headers in [&[][..], &[OTHER], &[("hypervisor-caller", "owner=00ff")]] {
        for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
            let theirs = rpc(&host, "a", headers, method, json!({"id": task["id"]}));
            let none = rpc(&host, "a", headers, method, json!({"id": "0".repeat(32)}));
            assert_eq!((theirs.status, theirs.code()), (200, -32001), "{method}");
            assert_eq!(theirs.body, none.body);
        }
        let theirs = rpc(&host, "a", headers, "SendMessage", json!({"message": mine}));
        let none = rpc(
            &host,
            "a",
            headers,
            "SendMessage",
            json!({"message": never}),
        );
        assert_eq!((theirs.code(), theirs.body), (-32001, none.body));
        let listed = rpc(
            &host,
            "a",
            headers,
            "ListTasks",
            json!({"contextId": task["contextId"]}),
        )
        .result();
        assert_eq!(listed["totalSize"], 0);
    }
    // Of another agent it is none either, whoever asks.
    assert_eq!(
        rpc(
            &host,
            "sold",
            &[TOKEN],
            "GetTask",
            json!({"id": task["id"]})
        )
        .code(),
        -32001
    );
    assert_eq!(
        rpc(&host, "a", &[TOKEN], "GetTask", json!({"id": task["id"]})).result()["id"],
        task["id"]
    );
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn an_id_that_is_none_is_not_looked_for() {
    let host = Host::new();
    for id in ["../r", "", "0F", &"0".repeat(5000), "t:0"] {
        let got = rpc(&host, "a", &[], "GetTask", json!({"id": id}));
        assert!(matches!(got.code(), -32001 | -32602), "{id}");
    }
}

#[test]
fn who_is_not_known_has_the_tasks_whose_ids_it_knows_and_no_list_of_them() {
    let host = Host::answering(|_, _| text("hello"));
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(super::task(&host, &task["id"])["id"], task["id"]);
    let all = rpc(&host, "a", &[], "ListTasks", json!({})).result();
    assert_eq!(
        all,
        json!({"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0})
    );
    let context = rpc(
        &host,
        "a",
        &[],
        "ListTasks",
        json!({"contextId": task["contextId"]}),
    )
    .result();
    assert_eq!(context["tasks"][0]["id"], task["id"]);
}

#[test]
fn a_context_that_anybody_could_guess_lists_nothing_to_those_who_are_not_known() {
    let host = Host::answering(|_, _| text("hello"));
    let mut one = message("m", "hi");
    one["contextId"] = json!("chat");
    assert_eq!(send(&host, one.clone())["task"]["contextId"], "chat");
    let listed = rpc(&host, "a", &[], "ListTasks", json!({"contextId": "chat"})).result();
    assert_eq!(listed["totalSize"], 0);
    send_as(&host, TOKEN, one).result();
    let listed = rpc(
        &host,
        "a",
        &[TOKEN],
        "ListTasks",
        json!({"contextId": "chat"}),
    )
    .result();
    assert_eq!(listed["totalSize"], 1);
}

#[test]
fn a_message_that_comes_twice_is_run_once() {
    let host = Host::answering(|_, _| text("hello"));
    let first = send_as(&host, TOKEN, message("m", "hi")).result();
    assert_eq!(send_as(&host, TOKEN, message("m", "hi")).result(), first);
    let again = rpc(
        &host,
        "a",
        &[TOKEN],
        "SendStreamingMessage",
        json!({"message": message("m", "hi")}),
    );
    assert_eq!(
        kinds(&again.events()),
        ["task SUBMITTED", "hello.", "COMPLETED"]
    );
    let params =
        json!({"message": message("m", "hi"), "configuration": {"returnImmediately": true}});
    assert_eq!(
        rpc(&host, "a", &[TOKEN], "SendMessage", params).result(),
        first
    );
    assert_eq!(host.calls().len(), 1);
    // Another caller's message of the same id is another message.
    send_as(&host, OTHER, message("m", "hi")).result();
    assert_eq!(host.calls().len(), 2);
}

#[test]
fn an_id_that_was_used_for_something_else_is_refused() {
    let host = Host::answering(|_, _| text("hello"));
    send_as(&host, TOKEN, message("m", "hi")).result();
    assert_eq!(send_as(&host, TOKEN, message("m", "ho")).code(), -32602);
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_message_of_one_who_is_not_known_is_a_new_one_each_time() {
    let host = Host::answering(|_, _| text("hello"));
    let first = send(&host, message("m", "hi"));
    assert_ne!(
        send(&host, message("m", "hi"))["task"]["id"],
        first["task"]["id"]
    );
}

#[test]
fn an_answer_that_is_a_message_is_given_again() {
    let said = json!({"message": {"parts": [{"text": "direct"}]}});
    let host = Host::answering(move |_, _| events(std::slice::from_ref(&said)));
    let first = send_as(&host, TOKEN, message("m", "hi")).result();
    assert_eq!(send_as(&host, TOKEN, message("m", "hi")).result(), first);
    assert_eq!(host.calls().len(), 1);
    assert_eq!(
        rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result()["totalSize"],
        0
    );
}

#[test]
fn the_second_of_two_waits_for_what_the_first_began() {
    let host = Host::shared();
    let second = Arc::new(std::sync::Mutex::new(None));
    let (there, kept) = (Arc::downgrade(&host), Arc::clone(&second));
    host.answer(move |_, _| {
        let (host, kept) = (there.upgrade().unwrap(), Arc::clone(&kept));
        let begin = move || {
            let asked = std::thread::spawn(move || {
                let params = json!({"message": message("m", "hi")});
                rpc(&host, "a", &[TOKEN], "SendMessage", params).result()
            });
            *kept.lock().unwrap() = Some(asked);
        };
        Ok(vec![
            Act::Do(Box::new(begin)),
            head(200, &[("content-type", "text/plain")]),
            super::world::piece("one"),
        ])
    });
    let first = send_as(&host, TOKEN, message("m", "hi")).result();
    let asked = second.lock().unwrap().take().unwrap();
    assert_eq!(asked.join().unwrap(), first);
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_caller_keeps_so_many_tasks_and_the_oldest_that_are_over_go() {
    let host = Host::answering(|_, _| text("hello"));
    let settings = settings(&[("A2A_TASKS_PER_CALLER", "3")]);
    let sent = |id: &str| {
        host.pass(10);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message(id, "hi")}});
        let headers = [&RPC[..], &[TOKEN]].concat();
        ask(
            &host,
            &settings,
            ("POST", "/a2a/a/"),
            &headers,
            body.to_string().as_bytes(),
        )
    };
    let first = sent("0").result();
    for id in ["1", "2", "3"] {
        sent(id).result();
    }
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    assert_eq!(listed["totalSize"], 3);
    let gone = rpc(
        &host,
        "a",
        &[TOKEN],
        "GetTask",
        json!({"id": first["task"]["id"]}),
    );
    assert_eq!(gone.code(), -32001);
    assert_eq!(host.rows.buckets("t:").len(), 3);
}

#[test]
fn a_caller_with_too_many_tasks_under_way_is_told_to_wait() {
    let host = Host::answering(|_, _| {
        events(&[json!({"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}})])
    });
    let settings = settings(&[("A2A_TASKS_PER_CALLER", "1")]);
    let sent = |id: &str| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message(id, "hi")}});
        let headers = [&RPC[..], &[TOKEN]].concat();
        ask(
            &host,
            &settings,
            ("POST", "/a2a/a/"),
            &headers,
            body.to_string().as_bytes(),
        )
    };
    sent("0").result();
    assert_eq!(sent("1").status, 503);
}

/// Sends a message as nobody known, where so many tasks are kept.
fn send_where(host: &Arc<Host>, most: &str, id: &str) -> Got {
    host.pass(10);
    let settings = settings(&[("A2A_TASKS_PER_CALLER", most)]);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message(id, "hi")}});
    let body = body.to_string();
    ask(host, &settings, ("POST", "/a2a/a/"), &RPC, body.as_bytes())
}

fn is_there(host: &Arc<Host>, task: &Value) -> bool {
    let got = rpc(host, "a", &[], "GetTask", json!({"id": task["id"]}));
    let answer: Value = serde_json::from_slice(&got.body).unwrap();
    answer["error"].is_null()
}

#[test]
fn of_those_who_are_not_known_each_client_keeps_so_many_tasks_of_its_own() {
    let host = Host::answering(|_, _| text("hello"));
    let sent = |id: &str| send_where(&host, "3", id).result()["task"].clone();
    host.rows.come_from("another");
    let of_another = sent("0");
    host.rows.come_from("one");
    let tasks: Vec<Value> = ["1", "2", "3", "4", "5"].map(sent).into();
    let there: Vec<bool> = tasks.iter().map(|task| is_there(&host, task)).collect();
    assert_eq!(there, [false, false, true, true, true]);
    assert!(is_there(&host, &of_another));
    assert_eq!(host.rows.buckets("t:").len(), 4);
}

#[test]
fn where_the_host_is_full_the_oldest_of_the_same_client_make_room_and_nobody_elses() {
    let host = Host::answering(|_, _| text("hello"));
    let sent = |id: &str| send_where(&host, "500", id).result()["task"].clone();
    host.rows.come_from("another");
    let of_another = sent("0");
    host.rows.come_from("one");
    let first = ["1", "2", "3"].map(sent);
    host.rows.bound(0);
    for id in ["4", "5", "6", "7"] {
        let task = sent(id);
        assert_eq!((state(&task), is_there(&host, &task)), ("COMPLETED", true));
    }
    assert!(first.iter().all(|task| !is_there(&host, task)));
    assert!(is_there(&host, &of_another));
    // Who has nothing that could go is told that it is full.
    host.rows.come_from("a third");
    assert_eq!(send_where(&host, "500", "8").status, 503);
    assert!(is_there(&host, &of_another));
}

#[test]
fn a_known_callers_oldest_tasks_make_room_where_the_host_is_full() {
    let host = Host::answering(|_, _| text("hello"));
    let sent = |id: &str| {
        host.pass(10);
        send_as(&host, TOKEN, message(id, "hi")).result()["task"].clone()
    };
    let first = ["1", "2"].map(sent);
    // Who sends a message again is told what came of it: that is kept on.
    host.rows.bound(500);
    let third = sent("3");
    assert_eq!(state(&third), "COMPLETED");
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    let ids = listed["tasks"].as_array().unwrap();
    assert!(ids.iter().any(|task| task["id"] == third["id"]));
    assert!(ids.iter().all(|task| task["id"] != first[0]["id"]));
}

#[test]
fn of_those_who_are_not_known_a_client_has_one_list_though_its_first_tasks_come_together() {
    let host = Host::shared();
    host.answer(|_, _| text("hello"));
    host.rows.look_together(8);
    let sending = (0..8).map(|number| {
        let host = Arc::clone(&host);
        std::thread::spawn(move || {
            state(&send_where(&host, "500", &number.to_string()).result()["task"]).to_owned()
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        assert_eq!(sent.join().unwrap(), "COMPLETED");
    }
    let lists = host.rows.buckets("a:");
    let tasks: Vec<usize> = lists.iter().map(|(_, keys)| keys.len()).collect();
    // The tasks, and their count.
    assert_eq!(tasks, [9]);
}

#[test]
fn a_client_whose_list_nobody_named_in_the_end_names_it_itself() {
    let host = Host::answering(|_, _| text("hello"));
    host.rows.increment("client:tasks", "naming").unwrap();
    let sent = send_where(&host, "500", "1").result();
    assert_eq!(state(&sent["task"]), "COMPLETED");
    assert_eq!(host.rows.buckets("a:").len(), 1);
}

#[test]
fn a_task_that_had_room_made_for_its_beginning_has_it_made_for_its_end_too() {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    host.answer(move |_, before| {
        if before < 8 {
            return text("hello");
        }
        let host = there.upgrade().unwrap();
        // Meanwhile others take all that there is.
        let acts = vec![
            Act::Do(Box::new(move || host.rows.bound(0))),
            head(200, &[("content-type", "text/plain")]),
            piece(&"x".repeat(2000)),
            Act::Give(Step::End),
        ];
        Ok(acts)
    });
    let sent = |id: &str| {
        host.pass(10);
        send_as(&host, TOKEN, message(id, "hi")).result()["task"].clone()
    };
    let first = [1, 2, 3, 4, 5, 6, 7, 8].map(|id: u32| sent(&id.to_string()));
    host.rows.bound(500);
    let last = sent("9");
    assert_eq!(state(&last), "COMPLETED", "{last}");
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    let ids = listed["tasks"].as_array().unwrap();
    let is_listed = |task: &Value| ids.iter().any(|it| it["id"] == task["id"]);
    assert!(is_listed(&last) && !is_listed(&first[0]));
}

#[test]
fn a_task_that_comes_to_be_long_has_room_made_once_however_short_its_pieces_are() {
    let host = Host::answering(|_, before| {
        let mut acts = vec![head(200, &[("content-type", "text/plain")])];
        if before < 12 {
            acts.push(piece(&"x".repeat(20_000)));
        } else {
            for _ in 0..40 {
                acts.extend([piece(&"x".repeat(9_000)), Act::Wait(200)]);
            }
        }
        acts.push(Act::Give(Step::End));
        Ok(acts)
    });
    let sent = |id: u32| {
        host.pass(10);
        let message = message(&id.to_string(), "hi");
        send_as(&host, TOKEN, message).result()["task"].clone()
    };
    let first: Vec<Value> = (0..12).map(sent).collect();
    host.rows.bound(0);
    assert_eq!(state(&sent(12)), "FAILED");
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    let ids = listed["tasks"].as_array().unwrap();
    let is_listed = |task: &&Value| ids.iter().any(|it| it["id"] == task["id"]);
    assert_eq!(first.iter().filter(is_listed).count(), 11);
}

#[test]
fn what_waits_for_one_who_is_not_known_goes_after_what_is_over() {
    let asks = |asked: &front::ports::Asked, _: usize| {
        let body = asked.body.clone().unwrap_or_default();
        match String::from_utf8_lossy(&body).contains("ask") {
            true => events(&[
                json!({"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}}),
            ]),
            false => text("hello"),
        }
    };
    let host = Host::answering(asks);
    let settings = settings(&[("A2A_TASKS_PER_CALLER", "2")]);
    let sent = |words: &str| {
        host.pass(10);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message("m", words)}});
        let body = body.to_string();
        let got = ask(&host, &settings, ("POST", "/a2a/a/"), &RPC, body.as_bytes());
        got.result()["task"].clone()
    };
    let waiting = sent("ask");
    assert_eq!(state(&waiting), "INPUT_REQUIRED");
    let over = sent("tell");
    let more = sent("ask");
    assert!(is_there(&host, &waiting) && !is_there(&host, &over));
    let last = sent("ask");
    assert!(!is_there(&host, &waiting) && is_there(&host, &more) && is_there(&host, &last));
}

#[test]
fn of_an_answer_that_is_no_task_nothing_is_kept_for_those_who_are_not_known() {
    let host =
        Host::answering(|_, _| events(&[json!({"message": {"parts": [{"text": "direct"}]}})]));
    let answer = send(&host, message("m", "hi"));
    assert_eq!(answer["message"]["parts"][0]["text"], "direct");
    assert!(host.rows.buckets("t:").is_empty());
}
