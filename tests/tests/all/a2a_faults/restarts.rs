//! A host that is killed in each state of a task: afterwards the task says what is true.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::eventually;
use serde_json::{Value, json};

use super::kit::{
    AGENT, Asker, EVERYTHING, LASTING, Work, flushed, id, is_artifact, order, says, speaking,
    state, text, words,
};

/// A host whose tasks outlast it, and an agent that works for as long as the test says.
async fn working() -> (Host, Work) {
    let host = speaking(LASTING);
    let work = Work::of(2).await;
    work.deploy(&host, "").await;
    (host, work)
}

/// That a task was cut off by a restart, and says so.
fn assert_cut_off(task: &Value) {
    assert_eq!(state(task), "FAILED", "{task}");
    assert!(words(task).contains("host was restarted"), "{task}");
}

#[tokio::test]
async fn a_run_that_was_answered_at_once_has_failed_after_a_restart_and_says_why() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    let task = asker.begins(&host, &order("m")).await;
    work.began(1).await;
    flushed(&host).await;
    host.kill_and_restart();
    assert_cut_off(&asker.task(&host, id(&task)).await);
    assert_eq!(work.runs(), 1);
}

#[tokio::test]
async fn a_run_that_was_waited_for_has_failed_after_a_restart_and_the_same_message_says_so() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    let waiting = asker.rpc(&host, "SendMessage", &json!({"message": order("m")}));
    let waiting = tokio::spawn(waiting.send());
    work.began(1).await;
    let task = eventually("the task is listed", async || {
        asker.tasks(&host).await.pop()
    })
    .await;
    flushed(&host).await;
    host.kill_and_restart();
    assert!(waiting.await.unwrap().is_err());
    assert_cut_off(&asker.task(&host, id(&task)).await);
    let again = asker.sends(&host, &order("m")).await;
    assert_eq!(id(&again), id(&task));
    assert_cut_off(&again);
    assert_eq!(work.runs(), 1);
}

#[tokio::test]
async fn a_stream_that_was_cut_off_is_a_failed_task_with_what_had_come() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    let params = json!({"message": order("m")});
    let mut events = asker.follows(&host, "SendStreamingMessage", &params).await;
    work.allow(1);
    let seen = events.until(is_artifact).await;
    let task = seen[0]["task"].clone();
    flushed(&host).await;
    host.kill_and_restart();
    assert!(events.next().await.is_none());
    let task = asker.task(&host, id(&task)).await;
    assert_cut_off(&task);
    assert_eq!(text(&task), "line 1\n");
}

#[tokio::test]
async fn who_subscribes_to_a_run_that_a_restart_cut_off_is_told_that_it_is_over() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    let task = asker.begins(&host, &order("m")).await;
    work.began(1).await;
    flushed(&host).await;
    host.kill_and_restart();
    let params = json!({"id": task["id"]});
    let refused = asker.asks(&host, "SubscribeToTask", &params).await;
    assert_eq!(refused["error"]["code"], -32004, "{refused}");
    assert_cut_off(&asker.task(&host, id(&task)).await);
}

#[tokio::test]
async fn a_run_that_a_restart_cut_off_is_listed_as_failed() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    asker.begins(&host, &order("m")).await;
    work.began(1).await;
    flushed(&host).await;
    host.kill_and_restart();
    let params = json!({"status": "TASK_STATE_WORKING"});
    let listed = asker.asks(&host, "ListTasks", &params).await;
    assert_eq!(listed["result"]["totalSize"], 0, "{listed}");
    let params = json!({"status": "TASK_STATE_FAILED"});
    let listed = asker.asks(&host, "ListTasks", &params).await;
    assert_eq!(listed["result"]["totalSize"], 1, "{listed}");
}

#[tokio::test]
async fn a_question_that_was_asked_before_a_restart_is_answered_after_it() {
    let mut host = speaking(LASTING);
    host.deploy(&owner(), "a2a-everything", EVERYTHING, "")
        .await;
    let asker = Asker::bearer(EVERYTHING, "a");
    let message = says("tck-input-required", "hi");
    let asks = asker.sends(&host, &message).await;
    assert_eq!(state(&asks), "INPUT_REQUIRED", "{asks}");
    flushed(&host).await;
    host.kill_and_restart();
    assert_eq!(asker.task(&host, id(&asks)).await, asks);
    let mut answer = says("answer", "Oslo");
    answer["taskId"] = asks["id"].clone();
    let done = asker.sends(&host, &answer).await;
    assert_eq!((id(&done), state(&done)), (id(&asks), "COMPLETED"));
}

#[tokio::test]
async fn a_completed_task_is_whole_after_a_restart_and_the_same_message_finds_it() {
    let (mut host, work) = working().await;
    work.allow(2);
    let asker = Asker::bearer(AGENT, "a");
    let done = asker.sends(&host, &order("m")).await;
    assert_eq!(text(&done), "line 1\nline 2\n");
    flushed(&host).await;
    host.kill_and_restart();
    assert_eq!(asker.task(&host, id(&done)).await, done);
    assert_eq!(asker.tasks(&host).await.len(), 1);
    assert_eq!(asker.sends(&host, &order("m")).await, done);
    assert_eq!(work.runs(), 1);
}

#[tokio::test]
async fn a_canceled_task_stays_canceled_after_a_restart() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    let task = asker.begins(&host, &order("m")).await;
    work.began(1).await;
    let params = json!({"id": task["id"]});
    let canceled = asker.asks(&host, "CancelTask", &params).await["result"].clone();
    assert_eq!(state(&canceled), "CANCELED", "{canceled}");
    flushed(&host).await;
    host.kill_and_restart();
    assert_eq!(asker.task(&host, id(&task)).await, canceled);
    let again = asker.sends(&host, &order("m")).await;
    assert_eq!((id(&again), state(&again)), (id(&task), "CANCELED"));
    assert_eq!(work.runs(), 1);
}

#[tokio::test]
async fn a_host_killed_again_and_again_leaves_every_task_that_it_told_of_in_an_end() {
    let (mut host, work) = working().await;
    let asker = Asker::bearer(AGENT, "a");
    for round in 0..3 {
        for message in 0..4 {
            let message = order(&format!("{round} {message}"));
            asker.begins(&host, &message).await;
        }
        work.began((round + 1) * 4).await;
        flushed(&host).await;
        host.kill_and_restart();
    }
    let tasks = asker.tasks(&host).await;
    assert_eq!(tasks.len(), 12);
    tasks.iter().for_each(assert_cut_off);
}
