//! Tasks whose runner is dead, because the host was restarted or the run was cut off.

use super::world::{Act, Request, head, piece, run, text};
use super::*;
use crate::ports::{Step, Store};

/// A host on which a run died in the middle, and its task.
fn died() -> (Arc<Host>, Value) {
    let host = Host::answering(|_, _| {
        Ok(vec![
            Act::Wait(1_500),
            head(200, &[("content-type", "text/plain")]),
            piece("half"),
            Act::Wait(200),
            Act::Do(Box::new(|| panic!("the run is cut off"))),
        ])
    });
    let settings = settings(&[]);
    let request = Request::new(&host, &settings);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message("m", "hi")}});
    let headers = [&RPC[..], &[TOKEN]].concat();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(
            &request,
            &settings,
            ("POST", "/a2a/a/"),
            &headers,
            body.to_string().as_bytes(),
        );
    }));
    assert!(ran.is_err());
    let id = request.got().events()[0]["task"]["id"].clone();
    (host, id)
}

fn get(host: &Arc<Host>, id: &Value) -> Value {
    rpc(host, "a", &[TOKEN], "GetTask", json!({"id": id})).result()
}

#[test]
fn a_task_survives_a_restart() {
    let host = Host::answering(|_, _| text("hello"));
    let task = send(&host, message("m", "hi"))["task"].clone();
    host.restart();
    assert_eq!(super::task(&host, &task["id"]), task);
}

#[test]
fn a_task_that_was_under_way_at_a_restart_has_failed() {
    let (host, id) = died();
    assert_eq!(state(&get(&host, &id)), "WORKING");
    host.restart();
    let task = get(&host, &id);
    assert_eq!(state(&task), "FAILED");
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "The host was restarted while the agent worked."
    );
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "half");
    assert_eq!(get(&host, &id), task);
    let listed = rpc(
        &host,
        "a",
        &[TOKEN],
        "ListTasks",
        json!({"status": "TASK_STATE_FAILED"}),
    )
    .result();
    assert_eq!(listed["totalSize"], 1);
}

#[test]
fn a_run_that_is_silent_for_long_is_dead() {
    let (host, id) = died();
    host.pass(14_000);
    assert_eq!(state(&get(&host, &id)), "WORKING");
    host.pass(2_000);
    let task = get(&host, &id);
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "The run was cut off."
    );
}

#[test]
fn who_sends_the_message_again_after_that_is_told_that_it_failed() {
    let (host, id) = died();
    host.restart();
    let again = rpc(
        &host,
        "a",
        &[TOKEN],
        "SendMessage",
        json!({"message": message("m", "hi")}),
    )
    .result();
    assert_eq!(
        (&again["task"]["id"], state(&again["task"])),
        (&id, "FAILED")
    );
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn who_reads_along_sees_the_end_of_a_run_that_died() {
    let (host, id) = died();
    host.pass(10_000);
    let seen = rpc(&host, "a", &[TOKEN], "SubscribeToTask", json!({"id": id})).events();
    assert_eq!(kinds(&seen), ["task WORKING", "FAILED"]);
}

#[test]
fn a_run_that_died_is_over_though_there_is_no_room_to_write_it() {
    let (host, id) = died();
    host.rows.bound(0);
    host.restart();
    let task = get(&host, &id);
    assert_eq!(state(&task), "FAILED");
    let listed = rpc(&host, "a", &[TOKEN], "ListTasks", json!({})).result();
    assert_eq!(state(&listed["tasks"][0]), "FAILED");
}

#[test]
fn a_run_that_died_is_over_though_who_was_about_to_write_it_died_as_well() {
    let (host, id) = died();
    let bucket = format!("t:{}", id.as_str().unwrap());
    host.rows.increment(&bucket, "run/2").unwrap();
    host.restart();
    assert_eq!(state(&get(&host, &id)), "FAILED");
}

#[test]
fn who_reads_along_sees_the_end_of_a_run_though_there_is_no_room_to_write_it() {
    let (host, id) = died();
    host.rows.bound(0);
    host.pass(10_000);
    let seen = rpc(&host, "a", &[TOKEN], "SubscribeToTask", json!({"id": id})).events();
    assert_eq!(kinds(&seen), ["task WORKING", "FAILED"]);
}

#[test]
fn a_run_whose_answer_has_no_room_has_failed_and_says_so_as_long_as_it_is_kept() {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    host.answer(move |_, _| {
        let host = there.upgrade().unwrap();
        let mut acts = vec![head(200, &[("content-type", "text/plain")])];
        for _ in 0..8 {
            acts.extend([piece("some "), Act::Wait(200)]);
        }
        // Other tasks have all room, and what this one gives up they have as well.
        acts.push(Act::Do(Box::new(move || {
            host.rows.bound(0);
            host.rows.give_freed_to_others();
        })));
        acts.extend([piece("more"), Act::Wait(200), Act::Give(Step::End)]);
        Ok(acts)
    });
    let params = json!({"message": message("m", "hi")});
    let sent = rpc(&host, "a", &[TOKEN], "SendMessage", params).result();
    let task = get(&host, &sent["task"]["id"]);
    assert_eq!(state(&task), "FAILED");
    let said = task["status"]["message"]["parts"][0]["text"].as_str();
    assert!(said.unwrap().contains("no room"), "{task}");
    // Who waited has what came, for it may be paid for; it is not kept.
    assert!(sent["task"]["artifacts"].is_array(), "{sent}");
    assert_eq!(task["status"], sent["task"]["status"]);
    assert!(task["artifacts"].is_null(), "{task}");
}

#[test]
fn a_runner_that_was_taken_for_dead_writes_no_more() {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    host.answer(move |asked, _| {
        let id = json!(
            asked
                .headers
                .iter()
                .find(|(name, _)| *name == "a2a-task-id")
                .unwrap()
                .1
        );
        let host = there.upgrade().unwrap();
        // It is held up for so long that somebody finds it dead.
        let asleep = move || {
            host.pass(20_000);
            let task = rpc(&host, "a", &[], "GetTask", json!({"id": id})).result();
            assert_eq!(state(&task), "FAILED");
        };
        Ok(vec![
            Act::Wait(1_500),
            head(200, &[("content-type", "text/plain")]),
            Act::Do(Box::new(asleep)),
            piece("late"),
            Act::Give(Step::End),
        ])
    });
    let task = send(&host, message("m", "hi"))["task"].clone();
    assert_eq!(state(&task), "FAILED");
    assert!(task.get("artifacts").is_none());
    assert_eq!(super::task(&host, &task["id"]), task);
}
