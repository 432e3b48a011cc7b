//! Streams of those who did not send the message, and tasks that are given up.

use super::world::{Act, events, head, piece, text};
use super::*;

/// A host whose agent lets something happen while it works.
fn while_working(done: impl Fn(&Arc<Host>, &Value) + Send + Sync + 'static) -> Arc<Host> {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    let done = Arc::new(done);
    host.answer(move |asked, _| {
        let id = asked
            .headers
            .iter()
            .find(|(name, _)| *name == "a2a-task-id")
            .unwrap();
        let (host, id, done) = (there.upgrade().unwrap(), json!(id.1), Arc::clone(&done));
        let act = move || done(&host, &id);
        Ok(vec![
            Act::Wait(1_500),
            head(200, &[("content-type", "text/plain")]),
            piece("one "),
            Act::Wait(500),
            Act::Do(Box::new(act)),
            piece("two"),
        ])
    });
    host
}

#[test]
fn all_streams_of_a_task_have_the_same_events_in_the_same_order() {
    let host = Host::shared();
    let follower = Arc::new(std::sync::Mutex::new(None));
    let (there, kept) = (Arc::downgrade(&host), Arc::clone(&follower));
    let (is_following, following) = std::sync::mpsc::channel();
    let following = Arc::new(std::sync::Mutex::new(following));
    host.answer(move |asked, _| {
        let id = asked
            .headers
            .iter()
            .find(|(name, _)| *name == "a2a-task-id")
            .unwrap()
            .1
            .clone();
        let (host, kept, tell, told) = (
            there.upgrade().unwrap(),
            Arc::clone(&kept),
            is_following.clone(),
            Arc::clone(&following),
        );
        let begin = move || {
            let asked = std::thread::spawn(move || {
                tell.send(()).unwrap();
                rpc(&host, "a", &[], "SubscribeToTask", json!({"id": id})).events()
            });
            *kept.lock().unwrap() = Some(asked);
        };
        let wait = move || told.lock().unwrap().recv().unwrap();
        Ok(vec![
            Act::Wait(1_500),
            Act::Wait(10),
            Act::Do(Box::new(begin)),
            Act::Do(Box::new(wait)),
            head(200, &[("content-type", "text/plain")]),
            piece("one "),
            Act::Wait(100),
            piece("two"),
        ])
    });
    let sent = rpc(
        &host,
        "a",
        &[],
        "SendStreamingMessage",
        json!({"message": message("m", "hi")}),
    )
    .events();
    let seen = follower.lock().unwrap().take().unwrap().join();
    // Who comes when it is over is told so; who comes before has the rest of the same.
    if let Ok(seen) = seen {
        let from = seen.len() - 1;
        assert!(seen[0].get("task").is_some());
        assert_eq!(seen[1..], sent[sent.len() - from..]);
    }
}

#[test]
fn a_subscription_begins_with_the_task_and_goes_on_to_its_end() {
    let host = while_working(|_, _| {});
    let settings = settings(&[]);
    // The run is over before anybody reads along: what is left of it is one task.
    let params =
        json!({"message": message("m", "hi"), "configuration": {"returnImmediately": true}});
    let task = rpc(&host, "a", &[], "SendMessage", params).result()["task"].clone();
    let got = rpc(
        &host,
        "a",
        &[],
        "SubscribeToTask",
        json!({"id": task["id"]}),
    );
    assert_eq!(got.code(), -32004);
    let path = format!("/a2a/a/tasks/{}:subscribe", task["id"].as_str().unwrap());
    for method in ["GET", "POST"] {
        let got = ask(
            &host,
            &settings,
            (method, &path),
            &[("a2a-version", "1.0")],
            b"",
        );
        assert_eq!(
            got.json()["error"]["details"][0]["reason"],
            "UNSUPPORTED_OPERATION"
        );
    }
}

#[test]
fn who_subscribes_to_a_task_that_waits_sees_the_next_turn() {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    host.answer(move |_, before| match before {
        0 => events(&[json!({"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}})]),
        _ => {
            assert!(there.upgrade().is_some());
            text("done")
        }
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    let mut next = message("n", "more");
    next["taskId"] = task["id"].clone();
    send(&host, next);
    // All that happened is in the log: the second turn begins with the task as well.
    let request = world::Request::new(&host, &settings(&[]));
    let seen = crate::rows::events(&request, task["id"].as_str().unwrap(), 1, 100).unwrap();
    assert_eq!(
        kinds(&seen),
        [
            "task SUBMITTED",
            "INPUT_REQUIRED",
            "task WORKING",
            "done.",
            "COMPLETED"
        ]
    );
}

#[test]
fn a_task_that_is_canceled_ends_and_its_agent_is_given_up() {
    let host = while_working(|host, id| {
        let got = rpc(host, "a", &[], "CancelTask", json!({"id": id})).result();
        // The runner is the one who waits here: it can not act before this returns.
        assert_eq!(state(&got), "WORKING");
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "CANCELED");
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "one ");
    assert_eq!(
        rpc(&host, "a", &[], "CancelTask", json!({"id": task["id"]})).code(),
        -32002
    );
}

#[test]
fn who_cancels_gets_the_task_as_it_is_then() {
    let host = Host::shared();
    let canceling = Arc::new(std::sync::Mutex::new(None));
    let (there, kept) = (Arc::downgrade(&host), Arc::clone(&canceling));
    host.answer(move |asked, _| {
        let id = asked
            .headers
            .iter()
            .find(|(name, _)| *name == "a2a-task-id")
            .unwrap()
            .1
            .clone();
        let (host, kept) = (there.upgrade().unwrap(), Arc::clone(&kept));
        let begin = move || {
            let asked = std::thread::spawn(move || {
                rpc(&host, "a", &[], "CancelTask", json!({"id": id})).result()
            });
            *kept.lock().unwrap() = Some(asked);
        };
        Ok(vec![
            Act::Wait(1_500),
            Act::Wait(10),
            Act::Do(Box::new(begin)),
            Act::Hang,
        ])
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    let canceled = canceling.lock().unwrap().take().unwrap().join().unwrap();
    assert_eq!((state(&task), state(&canceled)), ("CANCELED", "CANCELED"));
}

#[test]
fn a_task_that_waits_for_its_client_is_canceled_at_once() {
    let host = Host::answering(|_, _| {
        events(&[json!({"statusUpdate": {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}}})])
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    let canceled = rpc(&host, "a", &[], "CancelTask", json!({"id": task["id"]})).result();
    assert_eq!(state(&canceled), "CANCELED");
    let mut next = message("n", "more");
    next["taskId"] = task["id"].clone();
    assert_eq!(
        rpc(&host, "a", &[], "SendMessage", json!({"message": next})).code(),
        -32004
    );
}
