//! Hosts that are killed while a payment is under way, and payments that come again: charged at most once, and the answer arrives.

use std::time::Duration;

use hypervisor_tests::payments::faulty::{Fault, Reply};
use hypervisor_tests::{eventually, within};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::kit::{AGENT, Asker, NOT_FOUND, flushed, id, order, says, state, task_in, text};
use super::sale::{EXTENSION, Point, Sale};

/// The host is killed there; the same message with the same payment brings the answer, for one charge.
async fn survives(settings: &str, point: Point) {
    let mut sale = Sale::with(settings).await;
    match point {
        Point::Verifying => sale.faulty.next_verify(Fault::after(Reply::AsIs).held()),
        Point::Settling => {
            sale.work.allow(2);
            sale.faulty.next_settle(Fault::after(Reply::AsIs).held());
        }
        Point::Working => {}
    }
    let asker = Asker::bearer(AGENT, "a");
    let asked = sale.asked(&asker, "m").await;
    let paying = sale.paying(&asked);
    sale.killed_at(&asker, &paying, point).await;
    let done = within("the answer", asker.sends(&sale.host, &paying)).await;
    assert_eq!(state(&done), "COMPLETED", "{point:?}: {done}");
    assert_eq!(id(&done), id(&asked));
    assert_eq!(text(&done), "line 1\nline 2\n", "{point:?}: {done}");
    let metadata = &done["status"]["message"]["metadata"];
    assert_eq!(metadata["x402.payment.status"], "payment-completed");
    assert_eq!(sale.charges().await, 1);
    // And again, when everything is over.
    let again = asker.sends(&sale.host, &paying).await;
    assert_eq!(again, done);
    assert_eq!(sale.charges().await, 1);
}

#[tokio::test]
async fn a_host_killed_while_a_payment_is_verified_charges_once_for_the_same_message() {
    survives("", Point::Verifying).await;
}

#[tokio::test]
async fn a_host_killed_while_the_agent_works_charges_once_for_the_same_message() {
    survives("", Point::Working).await;
}

#[tokio::test]
async fn a_host_killed_while_a_payment_is_settled_charges_once_for_the_same_message() {
    survives("", Point::Settling).await;
}

#[tokio::test]
async fn a_host_killed_after_it_was_paid_first_runs_the_message_for_that_payment() {
    survives("settle_first = true", Point::Working).await;
}

#[tokio::test]
async fn a_host_killed_while_it_is_paid_first_charges_once_for_the_same_message() {
    survives("settle_first = true", Point::Settling).await;
}

#[tokio::test]
async fn a_payment_by_http_survives_a_host_that_is_killed_while_it_is_settled() {
    for asker in [Asker::anonymous(AGENT), Asker::bearer(AGENT, "a")] {
        let mut sale = Sale::open().await;
        let (name, value) = sale.payment().await;
        let asker = asker.with(name, &value);
        sale.work.allow(2);
        sale.faulty.next_settle(Fault::after(Reply::AsIs).held());
        sale.killed_at(&asker, &order("m"), Point::Settling).await;
        let done = within("the answer", asker.sends(&sale.host, &order("m"))).await;
        assert_eq!(text(&done), "line 1\nline 2\n", "{done}");
        assert_eq!(sale.charges().await, 1);
        assert_eq!(sale.work.runs(), 1, "the answer was kept");
    }
}

#[tokio::test]
async fn a_task_whose_payment_is_in_doubt_after_a_restart_has_not_failed_and_is_not_canceled() {
    let mut sale = Sale::open().await;
    sale.work.allow(2);
    let asker = Asker::bearer(AGENT, "a");
    let asked = sale.asked(&asker, "m").await;
    let paying = sale.paying(&asked);
    sale.faulty.next_settle(Fault::after(Reply::AsIs).held());
    sale.killed_at(&asker, &paying, Point::Settling).await;
    let task = asker.task(&sale.host, id(&asked)).await;
    assert_eq!(state(&task), "WORKING", "{task}");
    let params = json!({"id": asked["id"]});
    let refused = asker.asks(&sale.host, "CancelTask", &params).await;
    assert_eq!(refused["error"]["code"], -32002, "{refused}");
    // Nobody is at it, so a subscription ends after the task as it is.
    let events = asker.follows(&sale.host, "SubscribeToTask", &params).await;
    assert_eq!(events.rest().await.len(), 1);
    let done = asker.sends(&sale.host, &paying).await;
    assert_eq!(state(&done), "COMPLETED", "{done}");
    assert_eq!(sale.charges().await, 1);
}

#[tokio::test]
async fn who_asks_about_a_task_pays_nothing_even_with_a_payment_in_hand() {
    let sale = Sale::open().await;
    let asker = Asker::bearer(AGENT, "a");
    let asked = sale.asked(&asker, "m").await;
    let (name, value) = sale.payment().await;
    let paying = asker.clone().with(name, &value);
    let params = json!({"id": asked["id"]});
    for _ in 0..3 {
        for (method, params) in [("GetTask", &params), ("ListTasks", &json!({}))] {
            let answer = paying.asks(&sale.host, method, params).await;
            assert!(answer["result"].is_object(), "{answer}");
        }
        for path in [format!("tasks/{}", id(&asked)), "tasks".to_owned()] {
            let answer = paying.request(&sale.host, Method::GET, &path);
            assert_eq!(answer.send().await.unwrap().status(), 200);
        }
    }
    let mut events = paying.follows(&sale.host, "SubscribeToTask", &params).await;
    assert_eq!(
        state(&events.next().await.unwrap()["task"]),
        "INPUT_REQUIRED"
    );
    let canceled = paying.asks(&sale.host, "CancelTask", &params).await;
    assert_eq!(state(&canceled["result"]), "CANCELED", "{canceled}");
    assert_eq!(sale.faulty.verify_calls(), 0);
    assert_eq!(sale.work.runs(), 0);
    // The payment is still good.
    sale.work.allow(2);
    let done = paying.sends(&sale.host, &order("paid")).await;
    assert_eq!(text(&done), "line 1\nline 2\n", "{done}");
    assert_eq!(sale.charges().await, 1);
}

#[tokio::test]
async fn who_asks_for_a_task_whose_answer_was_lost_pays_nothing() {
    let mut sale = Sale::open().await;
    sale.work.allow(2);
    let asker = Asker::bearer(AGENT, "a");
    let asked = sale.asked(&asker, "m").await;
    let done = asker.sends(&sale.host, &sale.paying(&asked)).await;
    flushed(&sale.host).await;
    sale.host.kill_and_restart();
    let settled = sale.faulty.settle_calls();
    assert_eq!(asker.task(&sale.host, id(&asked)).await, done);
    assert_eq!(asker.tasks(&sale.host).await.len(), 1);
    assert_eq!(sale.faulty.settle_calls(), settled);
    assert_eq!(sale.charges().await, 1);
}

/// Sends the same five times at once; what all are answered with.
async fn five_times(sale: &Sale, asker: &Asker, message: &Value) -> Value {
    let mut sent = JoinSet::new();
    for _ in 0..5 {
        let params = json!({"message": message});
        let request = asker.rpc(&sale.host, "SendMessage", &params);
        sent.spawn(async { request.send().await.unwrap().text().await.unwrap() });
    }
    sale.work.began(1).await;
    sale.work.allow(2);
    let mut answers = Vec::new();
    while let Some(answer) = within("five answers", sent.join_next()).await {
        answers.push(serde_json::from_str::<Value>(&answer.unwrap()).unwrap());
    }
    assert_eq!(answers.len(), 5);
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    task_in(&answers[0])
}

#[tokio::test]
async fn a_payment_in_a_message_that_comes_five_times_at_once_is_one_run_and_one_charge() {
    let sale = Sale::open().await;
    let asker = Asker::bearer(AGENT, "a");
    let asked = sale.asked(&asker, "m").await;
    let done = five_times(&sale, &asker, &sale.paying(&asked)).await;
    assert_eq!(text(&done), "line 1\nline 2\n", "{done}");
    assert_eq!((sale.work.runs(), sale.charges().await), (1, 1));
    assert_eq!(sale.faulty.settle_calls(), 1);
}

#[tokio::test]
async fn a_message_with_a_payment_by_http_that_comes_five_times_at_once_is_one_run_and_one_charge()
{
    let sale = Sale::open().await;
    for (at, asker) in [Asker::bearer(AGENT, "a"), Asker::anonymous(AGENT)]
        .into_iter()
        .enumerate()
    {
        let (name, value) = sale.payment().await;
        let asker = asker.with(name, &value);
        let done = five_times(&sale, &asker, &order("m")).await;
        assert_eq!(text(&done), "line 1\nline 2\n", "{done}");
        assert_eq!((sale.work.runs(), sale.charges().await), (at + 1, at + 1));
    }
}

#[tokio::test]
async fn a_payment_that_somebody_copied_pays_for_nothing_else_and_shows_no_task() {
    let sale = Sale::open().await;
    sale.work.allow(2);
    let (name, value) = sale.payment().await;
    let asker = Asker::bearer(AGENT, "a").with(name, &value);
    let done = asker.sends(&sale.host, &order("m")).await;
    for thief in [Asker::bearer(AGENT, "b"), Asker::anonymous(AGENT)] {
        let thief = thief.with(name, &value);
        let other = json!({"message": says("m", "something else")});
        let refused = thief.rpc(&sale.host, "SendMessage", &other);
        assert_eq!(refused.send().await.unwrap().status(), 409);
        // The very same call has the answer that was bought, in a task of its own: whoever has a payment whole is its payer to the host.
        let same = thief.sends(&sale.host, &order("m")).await;
        assert_ne!(id(&same), id(&done));
        assert_ne!(same["contextId"], done["contextId"]);
    }
    assert_eq!((sale.work.runs(), sale.charges().await), (1, 1));
}

#[tokio::test]
async fn a_payment_for_one_task_pays_for_no_other() {
    let sale = Sale::open().await;
    sale.work.allow(2);
    let asker = Asker::bearer(AGENT, "a");
    let one = sale.asked(&asker, "1").await;
    let mut paying = sale.paying(&one);
    let done = asker.sends(&sale.host, &paying).await;
    assert_eq!(state(&done), "COMPLETED", "{done}");
    let asks = asker.clone().with("a2a-extensions", EXTENSION);
    let other = asks.sends(&sale.host, &says("2", "something else")).await;
    paying["messageId"] = json!("pays twice");
    paying["taskId"] = other["id"].clone();
    let refused = asker.sends(&sale.host, &paying).await;
    assert_eq!(state(&refused), "INPUT_REQUIRED", "{refused}");
    let metadata = &refused["status"]["message"]["metadata"];
    assert_eq!(metadata["x402.payment.error"], "DUPLICATE_NONCE");
    assert_eq!((sale.work.runs(), sale.charges().await), (1, 1));
}

/// What a host that was killed says of a message that comes again, when it says something.
async fn brought_again(sale: &Sale, asker: &Asker, message: &Value) -> Result<Value, Value> {
    let params = json!({"message": message});
    eventually("the answer", async || {
        let answer = asker.asks(&sale.host, "SendMessage", &params).await;
        match &answer["result"]["task"] {
            Value::Null if answer["error"]["code"] == NOT_FOUND => Some(Err(answer)),
            // The host is busy with what came before.
            Value::Null => None,
            task => (state(task) != "WORKING").then(|| Ok(task.clone())),
        }
    })
    .await
}

#[tokio::test]
async fn hosts_killed_at_any_moment_of_a_sale_charge_once_for_what_they_answer() {
    let mut sale = Sale::open().await;
    sale.work.allow(2);
    let bearer = Asker::bearer(AGENT, "a");
    for round in 0..12 {
        let (asker, message) = match round % 2 {
            0 => {
                let asked = sale.asked(&bearer, &format!("asks {round}")).await;
                let mut paying = sale.paying(&asked);
                paying["messageId"] = json!(format!("pays {round}"));
                (bearer.clone(), paying)
            }
            _ => {
                let (name, value) = sale.payment().await;
                let asker = bearer.clone().with(name, &value);
                (asker, order(&format!("bought {round}")))
            }
        };
        let before = sale.charges().await;
        let params = json!({"message": message});
        let sent = tokio::spawn(asker.rpc(&sale.host, "SendMessage", &params).send());
        // Whatever it is at by then: each moment has to end well.
        tokio::time::sleep(Duration::from_millis(25 * round)).await;
        sale.host.kill_and_restart();
        drop(sent.await.unwrap());
        match brought_again(&sale, &asker, &message).await {
            Ok(task) => {
                assert_eq!(state(&task), "COMPLETED", "{round}: {task}");
                assert_eq!(text(&task), "line 1\nline 2\n", "{round}: {task}");
                assert_eq!(sale.charges().await, before + 1, "{round}: {task}");
            }
            // The task had not reached the disk, so its payment was not handed on.
            Err(answer) => assert_eq!(sale.charges().await, before, "{round}: {answer}"),
        }
    }
}
