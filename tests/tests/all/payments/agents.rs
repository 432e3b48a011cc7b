//! Agents that have a price: asked for, paid, and what is not charged.

use hypervisor_client::agents::Deployed;
use hypervisor_client::protocol::{ComponentDigest, Exit, Rejection};
use hypervisor_tests::agents::{manifest, owner, problem, rejection};
use hypervisor_tests::payments::official::{self, Client};
use hypervisor_tests::payments::{Address, Payment, Version};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Answer, Host};
use reqwest::Method;
use serde_json::Value;

use crate::payments::kit::{PRICE, Purchase, Shop, asked, header, restart};

/// Two cents, which is not what the host's own routes cost.
pub(crate) const COSTS: &str = "price = '0.02 USDC'";

impl Shop {
    /// An agent that has a price.
    pub(crate) async fn sell(&self, guest: &str, more: &str) -> Deployed {
        let manifest = format!("{COSTS}\n{more}");
        self.host.deploy(&owner(), guest, guest, &manifest).await
    }

    async fn paid_to(&self, account: Address) -> u128 {
        self.chain.balance_of(account).await
    }
}

/// A plain request to an agent, to be sent as often as one likes.
pub(crate) struct Call {
    method: Method,
    url: String,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn get(shop: &Shop, agent: &str, path: &str) -> Self {
        Self {
            method: Method::GET,
            url: shop.host.agent(agent, path),
            body: Vec::new(),
        }
    }

    pub(crate) fn post(shop: &Shop, agent: &str, body: &[u8]) -> Self {
        Self {
            method: Method::POST,
            body: body.to_vec(),
            ..Self::get(shop, agent, "/")
        }
    }

    pub(crate) async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        let request = reqwest::Client::new().request(self.method.clone(), &self.url);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.body(self.body.clone()).send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    /// A good payment by the first payer for what is asked.
    pub(crate) async fn payment(&self, shop: &Shop, version: Version) -> Payment {
        let answer = self.send(&[]).await;
        assert_eq!(answer.status, 402, "{answer:?}");
        let offer = asked(&answer, version)["accepts"][0].clone();
        Payment::for_offer(shop.chain.payer(0), &offer)
    }

    pub(crate) async fn pay(&self, payment: &Payment) -> Answer {
        let (name, value) = payment.header();
        self.send(&[(name, &value)]).await
    }
}

#[tokio::test]
async fn a_call_without_payment_is_asked_for_the_agents_price() {
    let shop = Shop::open();
    let to = Address::random();
    let sold = shop.sell("http-hello", &format!("pay_to = '{to}'")).await;
    assert_eq!(sold.info.price.as_deref(), Some("0.02 USDC"));
    let call = Call::get(&shop, "http-hello", "/a/path?q=1");
    let answer = call.send(&[]).await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers.contains_key("x-request-id"));
    let challenge = asked(&answer, Version::V2);
    let offer = &challenge["accepts"][0];
    assert_eq!(offer["amount"], (2 * PRICE).to_string());
    let payee: Address = offer["payTo"].as_str().unwrap().parse().unwrap();
    assert_eq!(payee, to);
    let url = challenge["resource"]["url"].as_str().unwrap();
    assert!(url.ends_with("/agents/http-hello/a/path"), "{challenge}");
    assert_eq!(
        challenge["resource"]["description"],
        "An agent of the tests."
    );
    // What was asked for has not run.
    assert_eq!(
        shop.host
            .counter("hypervisor_agent_calls_total{exit=\"ok\"}")
            .await,
        0
    );
}

#[tokio::test]
async fn a_free_agent_asks_for_nothing() {
    let shop = Shop::open();
    shop.host.deploy(&owner(), "http-hello", "hello", "").await;
    assert_eq!(shop.host.get("hello", "/").await.status(), 200);
}

#[tokio::test]
async fn who_is_named_in_the_manifest_is_paid() {
    let shop = Shop::open();
    let to = Address::random();
    shop.sell("http-echo", &format!("pay_to = '{to}'")).await;
    let payer = shop.chain.payer(0).address();
    let (before, operator) = (
        shop.paid_to(payer).await,
        shop.paid_to(shop.chain.pay_to()).await,
    );
    let call = Call::post(&shop, "http-echo", b"bought");
    for version in [Version::V2, Version::V1] {
        let answer = call.pay(&call.payment(&shop, version).await).await;
        assert_eq!((answer.status, &*answer.body), (200, &b"bought"[..]));
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        let settled = header(&answer, version.settlement_header());
        assert_eq!(settled["success"], true);
        let last = shop.chain.transfers().await.pop().unwrap();
        assert_eq!(settled["transaction"], last.transaction);
    }
    assert_eq!(shop.paid_to(to).await, 4 * PRICE);
    assert_eq!(shop.paid_to(payer).await, before - 4 * PRICE);
    assert_eq!(shop.paid_to(shop.chain.pay_to()).await, operator);
}

#[tokio::test]
async fn where_the_manifest_names_nobody_the_operator_is_paid() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let before = shop.paid_to(shop.chain.pay_to()).await;
    let call = Call::get(&shop, "http-hello", "/x");
    let answer = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"hello from GET /x\n"[..])
    );
    assert_eq!(shop.paid_to(shop.chain.pay_to()).await, before + 2 * PRICE);
}

#[tokio::test]
async fn a_head_request_is_never_sold() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let payment = Call::get(&shop, "http-hello", "/")
        .payment(&shop, Version::V2)
        .await;
    let head = Call {
        method: Method::HEAD,
        ..Call::get(&shop, "http-hello", "/")
    };
    assert_eq!(head.pay(&payment).await.status, 402);
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let answer = Call::get(&shop, "http-hello", "/").pay(&payment).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_browser_may_ask_a_priced_agent_before_it_pays_and_can_read_what_it_costs() {
    let shop = Shop::open();
    for guest in ["http-hello", "echo"] {
        shop.sell(guest, "").await;
    }
    let origin = ("origin", "https://app.example");
    let wants = ("access-control-request-method", "GET");
    let options = |agent: &str| Call {
        method: Method::OPTIONS,
        ..Call::get(&shop, agent, "/")
    };
    // The agent answers, and gives nothing away.
    let answer = options("http-hello").send(&[origin, wants]).await;
    assert_eq!((answer.status, &*answer.body), (200, &b""[..]));
    // Anything else is sold, and a command would be run.
    assert_eq!(options("http-hello").send(&[origin]).await.status, 402);
    assert_eq!(options("echo").send(&[origin, wants]).await.status, 402);

    let answer = Call::get(&shop, "http-hello", "/").send(&[origin]).await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let exposed = answer.headers["access-control-expose-headers"].to_str();
    assert!(exposed.unwrap().contains("payment-required"));
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn authorizations_over_a_balance_for_one_run_once() {
    let shop = Shop::open();
    let payer = shop.chain.payer(0).address();
    let price = shop.paid_to(payer).await / 2 + 1;
    let price = format!("{}.{:06} USDC", price / 1_000_000, price % 1_000_000);
    let costs = format!("price = '{price}'");
    (shop.host)
        .deploy(&owner(), "http-hello", "dear", &costs)
        .await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let call = Call::get(&shop, "dear", "/");
        let payment = call.payment(&shop, Version::V2).await;
        calls.spawn(async move { call.pay(&payment).await.status });
    }
    let answers = calls.join_all().await;
    let paid = answers.iter().filter(|status| **status == 200).count();
    let refused = answers.iter().filter(|status| **status == 402).count();
    assert_eq!((paid, refused), (1, 7), "{answers:?}");
    let runs = "hypervisor_agent_calls_total{exit=\"ok\"}";
    assert_eq!(shop.host.counter(runs).await, 1);
}

#[tokio::test]
async fn the_official_clients_pay() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let url = shop.host.agent("http-echo", "/");
    let payer = shop.chain.payer(0);
    for client in [Client::Current, Client::Legacy] {
        let request = official::Request {
            url: &url,
            method: "POST",
            headers: &[("content-type", "text/plain")],
            body: Some(b"official"),
        };
        let answer = official::pay(client, payer, &request).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"official"[..]));
        assert_eq!(answer.headers["content-type"], "text/plain");
    }
    assert_eq!(shop.chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn what_fails_is_not_charged_and_the_payment_stays_good() {
    let shop = Shop::with("[limits]\nwall = '5s'\ncpu = '500ms'");
    shop.sell("bad-agent", "").await;
    let payment = Call::get(&shop, "bad-agent", "/counter")
        .payment(&shop, Version::V2)
        .await;
    for (path, status) in [
        ("/no-such-path", 404),
        ("/trap-before", 502),
        ("/never", 502),
        ("/trap-after-headers", 502),
        ("/wrong-length?declared=100", 502),
        ("/spin", 504),
    ] {
        let answer = Call::get(&shop, "bad-agent", path).pay(&payment).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.headers.contains_key("payment-response"), "{path}");
    }
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let answer = Call::get(&shop, "bad-agent", "/counter")
        .pay(&payment)
        .await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"{\"served\":1}\n"[..])
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn an_answer_longer_than_the_host_holds_is_not_charged() {
    let shop = Shop::with("[limits]\noutput = '1 MiB'");
    shop.sell("bad-agent", "").await;
    let call = Call::get(&shop, "bad-agent", "/write-forever");
    let answer = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (504, "agent-limit")
    );
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn a_payment_pays_for_one_request_and_is_answered_the_same_again() {
    let shop = Shop::open();
    shop.sell("bad-agent", "reuse = 1000").await;
    let call = Call::get(&shop, "bad-agent", "/counter");
    let payment = call.payment(&shop, Version::V2).await;
    let first = call.pay(&payment).await;
    assert_eq!(
        (first.status, &*first.body),
        (200, &b"{\"served\":1}\n"[..])
    );
    let again = call.pay(&payment).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    for name in ["payment-response", "content-type"] {
        assert_eq!(again.headers[name], first.headers[name]);
    }
    let mut others = vec![
        Call::get(&shop, "bad-agent", "/env"),
        Call::get(&shop, "bad-agent", "/counter?x"),
        Call::post(&shop, "bad-agent", b"a body"),
    ];
    others.push(Call {
        method: Method::PUT,
        ..Call::get(&shop, "bad-agent", "/counter")
    });
    for other in others {
        let answer = other.pay(&payment).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (409, "payment-reused")
        );
    }
    assert_eq!(shop.chain.transfers().await.len(), 1);
    let next = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(&*next.body, b"{\"served\":2}\n");
}

#[tokio::test]
async fn a_payment_of_the_hosts_price_does_not_buy_the_agents_answer() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let purchase = Purchase::of_echo(&shop.host, "a cheaper thing").await;
    let cheap = shop.payment(&purchase).await;
    let call = Call::get(&shop, "http-hello", "/");
    assert_eq!(call.pay(&cheap).await.status, 402);
    // And is not used up by that.
    let answer = purchase.pay(&cheap).await;
    assert_eq!(purchase.opened(&answer).result, b"a cheaper thing\n");
}

#[tokio::test]
async fn a_command_is_sold_like_a_service() {
    let shop = Shop::open();
    shop.sell("exit-code", "").await;
    let call = |query: &str| Call::get(&shop, "exit-code", query);
    let fails = call("/?arg=3");
    let payment = fails.payment(&shop, Version::V2).await;
    let answer = fails.pay(&payment).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.headers["x-exit-code"], "3");
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let answer = call("/?arg=0").pay(&payment).await;
    assert_eq!(
        (answer.status, &answer.headers["x-exit-code"]),
        (200, &"0".parse().unwrap())
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_paid_call_of_a_component_that_was_replaced_meanwhile_costs_nothing() {
    let (shop, owner) = (Shop::open(), owner());
    let seen = shop.host.deploy(&owner, "exit-code", "agent", COSTS).await;
    let pin = ComponentDigest::Sha384(seen.info.sha384.0);
    let call = Purchase::of_call(&shop.host, "agent", &format!("agent@{pin}")).await;
    let payment = shop.payment(&call).await;
    shop.host.deploy(&owner, "echo", "agent", COSTS).await;
    let answer = call.pay(&payment).await;
    let Exit::Rejected { problem, .. } = call.opened(&answer).report.exit else {
        panic!("it ran");
    };
    assert_eq!(problem, Rejection::WrongDigest);
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn prices_that_cannot_be_taken_are_refused_at_the_door() {
    let shop = Shop::open();
    for more in [
        "price = '0.02 DOGE'",
        "price = 'free'",
        "price = '-1 USDC'",
        "price = '0 USDC'",
        "price = '1e3 USDC'",
        "price = 'USDC 1'",
        "price = '0.02 USDC'\npay_to = 'nobody'",
        "price = '0.02 USDC'\nprivate = true",
    ] {
        let refused = shop
            .host
            .try_deploy(&owner(), &guest("http-hello"), &manifest("hello", more))
            .await;
        let (problem, detail) = rejection(&refused.unwrap_err());
        assert_eq!(problem, Rejection::InvalidManifest, "{more}: {detail}");
    }
    let host = Host::start();
    let refused = host
        .try_deploy(&owner(), &guest("http-hello"), &manifest("hello", COSTS))
        .await;
    let (problem, detail) = rejection(&refused.unwrap_err());
    assert_eq!(problem, Rejection::InvalidManifest);
    assert!(detail.contains("takes no payments"), "{detail}");
}

#[tokio::test]
async fn the_policy_sees_what_a_call_costs_and_a_denial_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.py");
    std::fs::write(
        &rules,
        "def authorize(action):\n    if action.kind != 'invoke-agent':\n        return True\n    \
         return Deny(f'{action.charge.amount} {action.charge.chain} {action.agent.split(\".\")[0]}')\n",
    )
    .unwrap();
    let python = hypervisor_tests::programs::python_plugin();
    let shop = Shop::with(&format!("[policy]\nrules = {rules:?}\n{python}"));
    shop.sell("http-hello", "").await;
    let call = Call::get(&shop, "http-hello", "/");
    let answer = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (403, "agent-denied")
    );
    assert_eq!(answer.detail(), "20000 eip155:84532 http-hello");
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn an_agent_and_the_payment_for_it_survive_a_restart() {
    // Answers in the clear are kept under the platform's key alone.
    let mut shop = Shop::with("[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'\n");
    let deploy = guest("http-hello");
    shop.host
        .register("hello", &deploy, &manifest("hello", COSTS));
    shop.host.client().deploy_registered("hello").await.unwrap();
    let call = Call::get(&shop, "hello", "/");
    let payment = call.payment(&shop, Version::V2).await;
    let first = call.pay(&payment).await;
    assert_eq!(first.status, 200);
    restart(&mut shop.host);
    let again = Call::get(&shop, "hello", "/").pay(&payment).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn nothing_of_a_sale_is_in_the_hosts_log() {
    let shop = Shop::open();
    shop.sell("http-echo", "").await;
    let call = Call::post(&shop, "http-echo", b"a-secret-body");
    let payment = call.payment(&shop, Version::V2).await;
    assert_eq!(call.pay(&payment).await.status, 200);
    let refused = shop.host.get("http-echo", "/a-secret-path").await;
    assert_eq!(refused.status(), 402);
    let _: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    let missing = problem(shop.host.get("nobody", "/a-secret-path").await).await;
    assert_eq!(missing.0, 404);
    let log = shop.host.log().to_lowercase();
    let payer = payment.authorization.from.to_string().to_lowercase()[2..].to_owned();
    for mark in ["a-secret-body", "a-secret-path", &payer] {
        assert!(!log.contains(mark), "{mark} is in the log");
    }
}
