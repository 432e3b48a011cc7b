//! Agents that cost money: the host sells, the front says it in other words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::world::{Act, Script, head, piece, text, whole};
use super::*;
use front::ports::Asked;

const ACTIVATED: (&str, &str) = ("a2a-extensions", crate::pay::URIS[0]);
const PAYER: (&str, &str) = ("payment-signature", "cGFpZA==");

fn challenge(error: &str) -> Value {
    json!({"x402Version": 2, "error": error, "accepts": [{"amount": "1"}],
        "resource": {"url": "http://sold.agent.internal/", "description": "d"}})
}

fn asks(error: &str) -> Script {
    let header = STANDARD.encode(challenge(error).to_string());
    let body = json!({"x402Version": 1, "error": error, "accepts": [{"resource": "http://sold.agent.internal/"}]});
    whole(402, &[("payment-required", &header)], &body.to_string())
}

fn problem(status: u16, name: &str) -> Script {
    let problem = json!({"type": format!("urn:hypervisor:problem:{name}"), "title": name});
    whole(
        status,
        &[("content-type", "application/problem+json")],
        &problem.to_string(),
    )
}

fn receipt() -> Value {
    json!({"success": true, "transaction": "0x1", "network": "eip155:8453", "payer": "0x2"})
}

fn sells() -> Script {
    let receipt = STANDARD.encode(receipt().to_string());
    whole(
        200,
        &[
            ("content-type", "text/plain"),
            ("payment-response", &receipt),
        ],
        "sold",
    )
}

fn payment(asked: &Asked) -> Option<&str> {
    let found = asked
        .headers
        .iter()
        .find(|(name, _)| *name == "payment-signature");
    found.map(|(_, value)| value.as_str())
}

/// A host that sells for any payment.
fn shop() -> Arc<Host> {
    Host::answering(|asked, _| match payment(asked) {
        Some(_) => sells(),
        None => asks("payment required"),
    })
}

fn buy(host: &Arc<Host>, headers: &[(&str, &str)], message: &Value) -> Got {
    rpc(
        host,
        "sold",
        headers,
        "SendMessage",
        json!({"message": message}),
    )
}

/// The message that pays for a task.
fn paying(id: &str, task: &Value) -> Value {
    let mut paying = message(id, "paid");
    paying["taskId"] = task["id"].clone();
    paying["metadata"] = json!({"x402.payment.status": "payment-submitted", "x402.payment.payload": {"x402Version": 2, "payload": {"id": id}}});
    paying
}

fn metadata(task: &Value) -> &Value {
    &task["status"]["message"]["metadata"]
}

#[test]
fn who_pays_by_messages_is_asked_in_the_task_and_pays_for_its_first_message() {
    let host = shop();
    let task = buy(&host, &[ACTIVATED], &message("m", "one thing")).result()["task"].clone();
    assert_eq!(
        (state(&task), &metadata(&task)["x402.payment.status"]),
        ("INPUT_REQUIRED", &json!("payment-required"))
    );
    let required = &metadata(&task)["x402.payment.required"];
    assert_eq!(
        required["resource"]["url"],
        "http://127.0.0.1:8080/a2a/sold/"
    );
    let paid = buy(&host, &[ACTIVATED], &paying("n", &task)).result()["task"].clone();
    assert_eq!((state(&paid), &paid["id"]), ("COMPLETED", &task["id"]));
    assert_eq!(paid["artifacts"][0]["parts"][0]["text"], "sold");
    assert_eq!(metadata(&paid)["x402.payment.status"], "payment-completed");
    assert_eq!(metadata(&paid)["x402.payment.receipts"], json!([receipt()]));
    let calls = host.calls();
    assert_eq!(calls[1].body.as_deref(), Some(&b"one thing"[..]));
    let sent = STANDARD.decode(payment(&calls[1]).unwrap()).unwrap();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(sent, json!({"x402Version": 2, "payload": {"id": "n"}}));
}

#[test]
fn who_did_not_activate_the_extension_is_answered_402_and_nothing_is_kept() {
    let host = shop();
    for (method, path, body) in [
        (
            "POST",
            "/a2a/sold/",
            json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message("m", "hi")}}),
        ),
        (
            "POST",
            "/a2a/sold/",
            json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message("m", "hi")}}),
        ),
        (
            "POST",
            "/a2a/sold/message:send",
            json!({"message": message("m", "hi"), "configuration": {"returnImmediately": true}}),
        ),
    ] {
        let headers = [&RPC[..], &[TOKEN]].concat();
        let got = ask(
            &host,
            &settings(&[]),
            (method, path),
            &headers,
            body.to_string().as_bytes(),
        );
        assert_eq!(got.status, 402);
        let required = STANDARD
            .decode(got.header("payment-required").unwrap())
            .unwrap();
        let required: Value = serde_json::from_slice(&required).unwrap();
        assert_eq!(
            required["resource"]["url"],
            "http://127.0.0.1:8080/a2a/sold/"
        );
        assert_eq!(
            got.json()["accepts"][0]["resource"],
            "http://127.0.0.1:8080/a2a/sold/"
        );
    }
    assert!(host.rows.buckets("").is_empty());
}

#[test]
fn who_pays_by_a_header_has_the_answer_and_the_receipt_in_a_header() {
    let host = shop();
    assert_eq!(buy(&host, &[TOKEN], &message("m", "hi")).status, 402);
    let got = buy(&host, &[TOKEN, PAYER], &message("m", "hi"));
    let task = got.result()["task"].clone();
    assert_eq!(state(&task), "COMPLETED");
    assert!(task["status"].get("message").is_none());
    assert_eq!(
        got.header("payment-response"),
        Some(&*STANDARD.encode(receipt().to_string()))
    );
    // The same again is the same, and nothing is bought.
    let again = buy(&host, &[TOKEN, PAYER], &message("m", "hi"));
    assert_eq!(
        (again.result(), again.header("payment-response")),
        (got.result(), got.header("payment-response"))
    );
    assert_eq!(host.calls().len(), 2);
}

#[test]
fn one_payment_of_one_who_is_not_known_is_one_run() {
    let host = shop();
    let first = buy(&host, &[PAYER], &message("m", "hi")).result();
    assert_eq!(buy(&host, &[PAYER], &message("m", "hi")).result(), first);
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn polls_are_not_sold() {
    let host = shop();
    let task = buy(&host, &[PAYER], &message("m", "hi")).result()["task"].clone();
    let got = rpc(&host, "sold", &[], "GetTask", json!({"id": task["id"]})).result();
    assert_eq!(got["id"], task["id"]);
    rpc(&host, "sold", &[], "ListTasks", json!({})).result();
    assert_eq!(
        rpc(
            &host,
            "sold",
            &[],
            "SubscribeToTask",
            json!({"id": task["id"]})
        )
        .code(),
        -32004
    );
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_payment_goes_to_nobody_who_has_no_price() {
    let host = Host::answering(|_, _| text("hello"));
    let mut sent = message("m", "hi");
    sent["metadata"] = json!({"x402.payment.payload": {"x402Version": 2}});
    for headers in [&[PAYER][..], &[ACTIVATED]] {
        rpc(&host, "a", headers, "SendMessage", json!({"message": sent})).result();
    }
    assert!(host.calls().iter().all(|asked| payment(asked).is_none()));
}

#[test]
fn an_agent_that_asks_for_money_by_itself_has_failed() {
    let host = Host::answering(|_, _| asks("give me money"));
    let task = rpc(
        &host,
        "a",
        &[ACTIVATED],
        "SendMessage",
        json!({"message": message("m", "hi")}),
    )
    .result()["task"]
        .clone();
    assert_eq!(state(&task), "FAILED");
    assert!(metadata(&task).is_null());
}

#[test]
fn a_payment_that_is_refused_is_told_and_another_may_be_sent() {
    let host = Host::answering(|asked, before| match (payment(asked), before) {
        (None, _) => asks("payment required"),
        (_, 1) => asks("insufficient_funds"),
        _ => sells(),
    });
    let task = buy(&host, &[ACTIVATED], &message("m", "hi")).result()["task"].clone();
    let failed = buy(&host, &[ACTIVATED], &paying("n", &task)).result()["task"].clone();
    assert_eq!(state(&failed), "INPUT_REQUIRED");
    let said = metadata(&failed);
    assert_eq!(
        (&said["x402.payment.status"], &said["x402.payment.error"]),
        (&json!("payment-failed"), &json!("INSUFFICIENT_FUNDS"))
    );
    assert_eq!(said["x402.payment.receipts"][0]["success"], false);
    assert!(said["x402.payment.required"]["accepts"].is_array());
    let paid = buy(&host, &[ACTIVATED], &paying("o", &task)).result()["task"].clone();
    assert_eq!(state(&paid), "COMPLETED");
    // All that became of payments is in the last message.
    let receipts = metadata(&paid)["x402.payment.receipts"].as_array().unwrap();
    assert_eq!((receipts.len(), &receipts[1]), (2, &receipt()));
}

#[test]
fn a_payment_that_was_used_for_another_task_is_a_duplicate() {
    let host = Host::answering(|asked, _| match payment(asked) {
        None => asks("payment required"),
        Some(_) => problem(409, "payment-reused"),
    });
    let task = buy(&host, &[ACTIVATED], &message("m", "hi")).result()["task"].clone();
    let failed = buy(&host, &[ACTIVATED], &paying("n", &task)).result()["task"].clone();
    assert_eq!(
        (state(&failed), &metadata(&failed)["x402.payment.error"]),
        ("INPUT_REQUIRED", &json!("DUPLICATE_NONCE"))
    );
    assert!(metadata(&failed)["x402.payment.required"]["accepts"].is_array());
    let got = buy(&host, &[PAYER], &message("o", "hi"));
    assert_eq!((got.status, got.code()), (409, -32602));
}

#[test]
fn a_client_that_does_not_pay_ends_the_task() {
    let host = shop();
    let task = buy(&host, &[ACTIVATED], &message("m", "hi")).result()["task"].clone();
    let mut declined = message("n", "no");
    declined["taskId"] = task["id"].clone();
    declined["metadata"] = json!({"x402.payment.status": "payment-rejected"});
    let ended = buy(&host, &[ACTIVATED], &declined).result()["task"].clone();
    assert_eq!(state(&ended), "CANCELED");
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn while_nobody_knows_of_a_settlement_the_same_is_sent_again() {
    let host = Host::answering(|asked, before| match (payment(asked), before) {
        (None, _) => asks("payment required"),
        (_, 1 | 2) => problem(503, "settlement-unknown"),
        _ => sells(),
    });
    let task = buy(&host, &[ACTIVATED], &message("m", "hi")).result()["task"].clone();
    let params = json!({"message": paying("n", &task)});
    let seen = rpc(&host, "sold", &[ACTIVATED], "SendStreamingMessage", params).events();
    assert_eq!(
        kinds(&seen),
        ["task WORKING", "WORKING", "sold.", "COMPLETED"]
    );
    let said = seen[1]["statusUpdate"]["status"]["message"]["parts"][0]["text"]
        .as_str()
        .unwrap();
    assert!(said.starts_with("It is not known yet"), "{said}");
    let calls = host.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls[1] == calls[2] && calls[2] == calls[3]);
}

#[test]
fn a_task_whose_payment_is_not_known_of_in_time_stays_and_the_same_message_finds_out() {
    let host = Host::answering(|asked, _| match payment(asked) {
        None => asks("payment required"),
        Some(_) => problem(503, "settlement-unknown"),
    });
    let task = buy(&host, &[ACTIVATED], &message("m", "hi")).result()["task"].clone();
    let open = buy(&host, &[ACTIVATED], &paying("n", &task)).result()["task"].clone();
    assert_eq!(
        (state(&open), &metadata(&open)["x402.payment.status"]),
        ("WORKING", &json!("payment-submitted"))
    );
    let id = json!({"id": task["id"]});
    assert_eq!(
        rpc(&host, "sold", &[], "CancelTask", id.clone()).code(),
        -32002
    );
    host.restart();
    assert_eq!(
        state(&rpc(&host, "sold", &[], "GetTask", id.clone()).result()),
        "WORKING"
    );
    let seen = rpc(&host, "sold", &[], "SubscribeToTask", id).events();
    assert_eq!(kinds(&seen), ["task WORKING"]);
    host.answer(|_, _| sells());
    let before = host.calls().last().cloned();
    let paid = buy(&host, &[ACTIVATED], &paying("n", &task)).result()["task"].clone();
    assert_eq!((state(&paid), &paid["id"]), ("COMPLETED", &task["id"]));
    assert_eq!(metadata(&paid)["x402.payment.receipts"], json!([receipt()]));
    // To the host it is the same call: what it has of it is asked for, and not a run.
    let after = host.calls().last().cloned();
    assert_eq!(
        before.map(|it| (it.target, it.body)),
        after.map(|it| (it.target, it.body))
    );
}

#[test]
fn a_paid_run_that_a_restart_cut_off_is_asked_for_again() {
    let host = Host::new();
    let there = Arc::downgrade(&host);
    host.answer(move |_, before| match before {
        0 => {
            let host = there.upgrade().unwrap();
            Ok(vec![
                Act::Wait(1_500),
                Act::Do(Box::new(move || {
                    host.restart();
                    panic!("the host ends");
                })),
            ])
        }
        _ => sells(),
    });
    let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        buy(&host, &[TOKEN, PAYER], &message("m", "hi"))
    }));
    assert!(first.is_err());
    let got = buy(&host, &[TOKEN, PAYER], &message("m", "hi"));
    assert_eq!(state(&got.result()["task"]), "COMPLETED");
    let calls = host.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0].body, &calls[0].target, payment(&calls[0])),
        (&calls[1].body, &calls[1].target, payment(&calls[1]))
    );
    assert_eq!(host.rows.buckets("t:").len(), 1);
}

#[test]
fn a_paid_answer_that_a_restart_cut_off_while_it_was_written_is_asked_for_again() {
    let host = Host::answering(|asked, call| match (payment(asked), call) {
        (None, _) => asks("payment required"),
        (Some(_), 1) => {
            let mut acts = sells()?;
            // The host ends when the answer has begun to be written.
            acts.insert(2, Act::Wait(1_500));
            acts.insert(3, Act::Do(Box::new(|| panic!("the host is killed"))));
            Ok(acts)
        }
        _ => sells(),
    });
    let task = buy(&host, &[ACTIVATED, TOKEN], &message("m", "one")).result()["task"].clone();
    let paying = paying("n", &task);
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        buy(&host, &[TOKEN], &paying);
    }));
    assert!(killed.is_err());
    host.restart();
    let paid = buy(&host, &[TOKEN], &paying).result()["task"].clone();
    assert_eq!(state(&paid), "COMPLETED", "{paid}");
    assert_eq!(paid["artifacts"][0]["parts"][0]["text"], "sold");
    assert_eq!(metadata(&paid)["x402.payment.receipts"], json!([receipt()]));
}

#[test]
fn a_paid_call_that_broke_off_is_sent_again_with_the_same_payment() {
    let host = Host::answering(|_, before| match before {
        0 => Err(front::error::WebError::Broken),
        _ => sells(),
    });
    let got = buy(&host, &[PAYER], &message("m", "hi"));
    assert_eq!(state(&got.result()["task"]), "COMPLETED");
    let calls = host.calls();
    assert_eq!((calls.len(), payment(&calls[0])), (2, payment(&calls[1])));
}

#[test]
fn a_payment_is_seen_by_no_agent_and_kept_by_nobody() {
    let host = shop();
    let mut sent = message("m", "hi");
    sent["parts"] = json!([{"text": "a"}, {"text": "b"}]);
    sent["metadata"] =
        json!({"x402.payment.payload": {"x402Version": 2, "payload": "secret"}, "mine": 1});
    let task = buy(&host, &[ACTIVATED], &sent).result()["task"].clone();
    assert_eq!(state(&task), "COMPLETED");
    assert_eq!(task["history"][0]["metadata"], json!({"mine": 1}));
    let body = String::from_utf8(host.calls()[0].body.clone().unwrap()).unwrap();
    assert!(body.contains("mine") && !body.contains("secret"), "{body}");
    let question = buy(&host, &[ACTIVATED], &message("n", "hi")).result()["task"].clone();
    let paid = buy(&host, &[ACTIVATED], &paying("o", &question)).result()["task"].clone();
    assert!(!paid["history"].to_string().contains("payload"));
    for (bucket, _) in host.rows.buckets("") {
        assert!(!host.rows.text(&bucket).contains("secret"), "{bucket}");
    }
}

#[test]
fn a_task_is_bought_as_a_stream_and_at_once() {
    let host = Host::answering(|asked, _| match payment(asked) {
        None => asks("payment required"),
        Some(_) => {
            let receipt = STANDARD.encode(receipt().to_string());
            Ok(vec![
                Act::Wait(4_000),
                head(
                    200,
                    &[
                        ("content-type", "text/plain"),
                        ("payment-response", &receipt),
                    ],
                ),
                piece("sold"),
            ])
        }
    });
    let params = json!({"message": message("m", "hi")});
    let got = rpc(&host, "sold", &[PAYER], "SendStreamingMessage", params);
    assert_eq!(
        kinds(&got.events()),
        ["task SUBMITTED", "sold.", "COMPLETED"]
    );
    assert!(got.header("payment-response").is_some());
    let params =
        json!({"message": message("n", "hi"), "configuration": {"returnImmediately": true}});
    let got = rpc(
        &host,
        "sold",
        &[("payment-signature", "b3RoZXI=")],
        "SendMessage",
        params,
    );
    let task = got.result()["task"].clone();
    assert_eq!(state(&task), "SUBMITTED");
    assert_eq!(
        state(&rpc(&host, "sold", &[], "GetTask", json!({"id": task["id"]})).result()),
        "COMPLETED"
    );
}

#[test]
fn a_message_that_is_too_long_to_be_kept_is_not_sold_by_messages() {
    let host = shop();
    let long = message("m", &"a".repeat(600_000));
    assert_eq!(buy(&host, &[ACTIVATED], &long).code(), -32602);
    assert_eq!(
        state(&buy(&host, &[PAYER], &long).result()["task"]),
        "COMPLETED"
    );
}
