//! Hosts that are killed while a payment is under way, and payments that come again: charged at most once, and the answer arrives.

use std::time::Duration;

use hypervisor_tests::payments::faulty::{self, Fault, Reply};
use hypervisor_tests::payments::sign::decode_header;
use hypervisor_tests::payments::{Chain, Facilitator, Payment};
use hypervisor_tests::{Host, eventually, within};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::kit::{
    AGENT, Asker, LASTING, NOT_FOUND, Work, configured, flushed, id, order, says, state, task_in,
    text,
};
use crate::payments::kit::{config, confirmed};

const SOLD: &str = "price = '0.01 USDC'";
const EXTENSION: &str = "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2";

/// A host that sells [`AGENT`], by a facilitator that does as it is told, and the chain that it is paid on.
struct Sale {
    host: Host,
    work: Work,
    chain: Chain,
    _real: Facilitator,
    faulty: faulty::Facilitator,
}

impl Sale {
    async fn open() -> Self {
        Self::with("").await
    }

    /// `more` are further keys of `[payments]`.
    async fn with(more: &str) -> Self {
        let chain = Chain::start();
        let real = Facilitator::start(&chain);
        let faulty = faulty::Facilitator::start(Some(real.url())).await;
        let more = format!(
            "{more}\n{}\n{}",
            confirmed(&chain),
            configured(LASTING, "background = '5m'")
        );
        let host = Host::with(&config(&chain, &faulty.url(), &more));
        let work = Work::of(2).await;
        work.deploy(&host, SOLD).await;
        Self {
            host,
            work,
            chain,
            _real: real,
            faulty,
        }
    }

    /// The task that an unpaid message becomes for a client that pays by messages.
    async fn asked(&self, asker: &Asker, id: &str) -> Value {
        let asker = asker.clone().with("a2a-extensions", EXTENSION);
        let task = asker.sends(&self.host, &order(id)).await;
        assert_eq!(state(&task), "INPUT_REQUIRED", "{task}");
        task
    }

    /// The message that pays for a task.
    fn paying(&self, task: &Value) -> Value {
        let challenge = &task["status"]["message"]["metadata"]["x402.payment.required"];
        let payment = Payment::for_offer(self.chain.payer(0), &challenge["accepts"][0]);
        let mut message = says("pays", "paid");
        message["taskId"] = task["id"].clone();
        message["metadata"] = json!({
            "x402.payment.status": "payment-submitted",
            "x402.payment.payload": payment.payload(),
        });
        message
    }

    /// A payment by HTTP for a message to the agent.
    async fn payment(&self) -> (&'static str, String) {
        let asker = Asker::anonymous(AGENT);
        let params = json!({"message": order("unpaid")});
        let answer = asker.rpc(&self.host, "SendMessage", &params);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 402);
        let challenge = answer.headers()["payment-required"].to_str().unwrap();
        let offer = &decode_header(challenge)["accepts"][0];
        Payment::for_offer(self.chain.payer(0), offer).header()
    }

    async fn charges(&self) -> usize {
        self.chain.transfers().await.len()
    }

    /// Sends a message, and kills the host when `is_there`. The connection breaks off.
    async fn killed_at(&mut self, asker: &Asker, message: &Value, is_there: Point) {
        let params = json!({"message": message});
        let sent = tokio::spawn(asker.rpc(&self.host, "SendMessage", &params).send());
        match is_there {
            Point::Verifying | Point::Settling => {
                within("the facilitator", self.faulty.held(1)).await;
            }
            Point::Working => self.work.began(1).await,
        }
        self.host.kill_and_restart();
        let answer = sent.await.unwrap();
        assert!(answer.is_err() || answer.unwrap().text().await.is_err());
        self.faulty.release();
        self.work.allow(2);
    }
}

/// Where a payment is when the host is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// With the facilitator, which has not said yet whether it is good.
    Verifying,
    /// The agent works.
    Working,
    /// It was settled, and the host does not know yet.
    Settling,
}

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
