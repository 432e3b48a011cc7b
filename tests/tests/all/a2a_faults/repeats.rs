//! Messages that come again: one run, one answer, and nothing for who sends something else under the same id.

use hypervisor_tests::within;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::kit::{AGENT, Asker, Work, id, order, says, speaking, task_in, text};

#[tokio::test]
async fn a_message_that_comes_five_times_at_once_is_one_run_with_five_answers_alike() {
    let host = speaking("");
    let work = Work::of(2).await;
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    let mut sent = JoinSet::new();
    for _ in 0..5 {
        let request = asker.rpc(&host, "SendMessage", &json!({"message": order("m")}));
        sent.spawn(async { request.send().await.unwrap().text().await.unwrap() });
    }
    work.began(1).await;
    work.allow(2);
    let mut answers: Vec<Value> = Vec::new();
    while let Some(answer) = within("five answers", sent.join_next()).await {
        answers.push(serde_json::from_str(&answer.unwrap()).unwrap());
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(text(&task_in(&answers[0])), "line 1\nline 2\n");
    assert_eq!(work.runs(), 1);
    assert_eq!(asker.tasks(&host).await.len(), 1);
}

#[tokio::test]
async fn both_bindings_and_all_ways_of_waiting_find_what_one_message_began() {
    let host = speaking("");
    let work = Work::of(1).await;
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    let begun = asker.begins(&host, &order("m")).await;
    work.allow(1);
    let waited = asker.sends(&host, &order("m")).await;
    let params = json!({"message": order("m")});
    let streamed = asker.follows(&host, "SendStreamingMessage", &params).await;
    let streamed = streamed.rest().await;
    let by_http = asker
        .request(&host, reqwest::Method::POST, "message:send")
        .header("content-type", "application/json")
        .body(params.to_string());
    let by_http = by_http.send().await.unwrap().text().await.unwrap();
    let by_http: Value = serde_json::from_str(&by_http).unwrap();
    for found in [&waited, &streamed[0]["task"], &by_http["task"]] {
        assert_eq!(id(found), id(&begun));
    }
    assert_eq!(work.runs(), 1);
}

#[tokio::test]
async fn an_id_that_was_used_for_another_message_is_refused_and_runs_nothing() {
    let host = speaking("");
    let work = Work::of(1).await;
    work.allow(1);
    work.deploy(&host, "").await;
    let asker = Asker::bearer(AGENT, "a");
    asker.sends(&host, &order("m")).await;
    let params = json!({"message": says("m", "something else")});
    let refused = asker.asks(&host, "SendMessage", &params).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    // To somebody else the id is new.
    let other = Asker::bearer(AGENT, "b");
    let theirs = other.sends(&host, &order("m")).await;
    assert_eq!(text(&theirs), "line 1\n");
    assert_eq!(work.runs(), 2);
}
