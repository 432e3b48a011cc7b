//! Another payment component takes the place of the first: by configuration alone, and while the host sells.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hypervisor_client::protocol::{Exit, Rejection};
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::payments::{Chain, Version};
use hypervisor_tests::programs::{component_file, guest, released};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Host, PAUSE, eventually};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;
use tempfile::TempDir;

use crate::agents::swap::{SIMULATED, component, listing, swapped};
use crate::payments::agents::Call;
use crate::payments::kit::{Purchase, Shop, checked, config};
use crate::templates::template;

struct Issuer(SigningKey);

impl Issuer {
    fn new() -> Self {
        Self(SigningKey::from_slice(&[7; 32]).unwrap())
    }

    fn host(&self) -> Host {
        self.host_with(&component_file("payments-voucher"), "", "")
    }

    /// A host that takes this issuer's vouchers by `component`; `more` are further keys of `[payments]`, `sections` others.
    fn host_with(&self, component: &Path, more: &str, sections: &str) -> Host {
        let key = const_hex::encode(self.0.verifying_key().to_sec1_point(false).as_bytes());
        Host::with(&format!(
            "[payments]\ncomponent = {component:?}\npay_to = 'acme'\nprice = '3 CREDIT'\n{more}\
             [payments.settings]\nVOUCHER_ISSUER = '{key}'\n{sections}",
        ))
    }

    fn voucher(&self, id: &str, amount: &str) -> String {
        self.voucher_for("acme", id, amount)
    }

    fn voucher_for(&self, pay_to: &str, id: &str, amount: &str) -> String {
        let tomorrow = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 60;
        let payload =
            json!({"id": id, "amount": amount, "pay_to": pay_to, "valid_before": tomorrow})
                .to_string();
        let signature: Signature = self.0.sign(payload.as_bytes());
        format!(
            "{}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(payload),
            BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes())
        )
    }
}

#[tokio::test]
async fn a_voucher_pays_for_one_request() {
    let issuer = Issuer::new();
    let host = issuer.host();
    let purchase = Purchase::of_echo(&host, "by voucher").await;
    assert_eq!(purchase.send(&[]).await.status, 402);
    let voucher = issuer.voucher("voucher-0001", "3");
    let answer = purchase.send(&[("x-voucher", &voucher)]).await;
    let opened = purchase.opened(&answer);
    assert_eq!(opened.result, b"by voucher\n");
    assert_eq!(opened.report.payment.unwrap().network, "voucher:issuer");
    let again = purchase.send(&[("x-voucher", &voucher)]).await;
    assert_eq!((again.status, &again.body), (200, &answer.body));
    let other = Purchase::of_echo(&host, "once more").await;
    let answer = other.send(&[("x-voucher", &voucher)]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "payment-reused")
    );
}

#[tokio::test]
async fn a_voucher_of_nobody_or_of_another_amount_is_refused() {
    let issuer = Issuer::new();
    let host = issuer.host();
    let purchase = Purchase::of_echo(&host, "no").await;
    let other = Issuer(SigningKey::from_slice(&[8; 32]).unwrap());
    for voucher in [
        other.voucher("voucher-0002", "3"),
        issuer.voucher("voucher-0003", "2"),
        "x.y".to_owned(),
    ] {
        let answer = purchase.send(&[("x-voucher", &voucher)]).await;
        assert!([400, 402].contains(&answer.status), "{answer:?}");
    }
}

/// Buys from an agent that asks for five credits, and is told which prices cannot be.
async fn sells_an_agent(issuer: &Issuer, host: &Host) {
    let to_bob = "price = '5 CREDIT'\npay_to = 'bob'";
    host.deploy(&owner(), "http-hello", "hello", to_bob).await;
    let call = async |voucher: Option<String>| {
        let request = reqwest::Client::new().get(host.agent("hello", "/"));
        let request = voucher
            .into_iter()
            .fold(request, |it, voucher| it.header("x-voucher", voucher));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, challenge) = call(None).await;
    let challenge: serde_json::Value = serde_json::from_str(&challenge).unwrap();
    assert_eq!(status, 402);
    assert_eq!(
        challenge["accepts"],
        json!([{"amount": "5", "pay_to": "bob"}])
    );
    for (pay_to, amount, expected) in [("acme", "5", 402), ("bob", "3", 402), ("bob", "5", 200)] {
        let voucher = issuer.voucher_for(pay_to, &format!("{pay_to}-{amount}"), amount);
        let (status, answer) = call(Some(voucher)).await;
        assert_eq!(status, expected, "{answer}");
    }
    let costs = manifest("dear", "price = '5 DOGE'");
    let refused = host
        .try_deploy(&owner(), &guest("http-hello"), &costs)
        .await;
    let (problem, detail) = rejection(&refused.unwrap_err());
    assert_eq!(problem, Rejection::InvalidManifest);
    assert!(
        detail.contains("`price`") && detail.contains("DOGE"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_component_with_units_of_its_own_sells_an_agent_that_is_not_free_without_it() {
    let issuer = Issuer::new();
    let mut host = issuer.host_with(&component_file("payments-voucher"), "", SIMULATED);
    sells_an_agent(&issuer, &host).await;
    host.restart_with(SIMULATED);
    assert_eq!(host.get("hello", "/").await.status(), 404);
    let said = "`price`: this host takes no payments";
    assert!(host.log().contains(said), "{}", host.log());
}

#[tokio::test]
async fn a_component_of_0_1_0_that_makes_no_offers_sells_what_the_configuration_describes() {
    let issuer = Issuer::new();
    let host = issuer.host_with(
        &released("payments-voucher"),
        "scheme = 'voucher'\nnetworks = ['voucher:issuer']\n\
         assets = [{ symbol = 'CREDIT', network = 'voucher:issuer', address = 'voucher', decimals = 0 }]\n",
        "",
    );
    let purchase = Purchase::of_echo(&host, "by an old voucher").await;
    let voucher = issuer.voucher("voucher-0004", "3");
    let answer = purchase.send(&[("x-voucher", &voucher)]).await;
    let opened = purchase.opened(&answer);
    assert_eq!(opened.result, b"by an old voucher\n");
    assert_eq!(opened.report.payment.unwrap().amount, "3");
    sells_an_agent(&issuer, &host).await;
    // One that makes offers itself takes its place, and asks for the same.
    swap_for(
        &host,
        std::fs::read(component_file("payments-voucher")).unwrap(),
    )
    .await;
    let voucher = issuer.voucher_for("bob", "voucher-0005", "5");
    let request = reqwest::Client::new().get(host.agent("hello", "/"));
    let answer = request.header("x-voucher", voucher).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn prices_that_the_component_cannot_read_stop_the_start_with_its_words() {
    let pay_to = format!("0x{}", "11".repeat(20));
    let base = "networks = ['base']";
    for (name, keys, words) in [
        (
            "payments",
            format!("price = 'free'\npay_to = '{pay_to}'\n{base}"),
            "`free` is not a price",
        ),
        (
            "payments",
            format!("pay_to = '{pay_to}'"),
            "`networks` is empty",
        ),
        (
            "payments",
            format!("pay_to = 'me'\n{base}"),
            "\"me\" is not an address",
        ),
        (
            "payments",
            format!("pay_to = '{pay_to}'\nnetworks = ['bass']"),
            "base-sepolia",
        ),
        (
            "payments-voucher",
            "price = '$1'".to_owned(),
            "write it like `3 CREDIT`",
        ),
    ] {
        let component = component_file(name);
        let text = format!(
            "[payments]\ncomponent = {component:?}\n{keys}\nfacilitators = ['http://127.0.0.1:9']\n"
        );
        let checked = checked(&text);
        assert_eq!(checked.status.code(), Some(1));
        let message = String::from_utf8(checked.stderr).unwrap();
        let route = "the price of /x402_execute/test/wasm";
        assert!(
            message.contains(words) && message.contains(route),
            "{message}"
        );
    }
}

#[test]
fn check_prints_what_is_sold_in_words_and_in_units() {
    let chain = Chain::start();
    let sold = config(
        &chain,
        "http://127.0.0.1:9",
        "prices = { '/x402_policy/unsafe/python' = '$2' }",
    );
    let checked = checked(&sold);
    let printed = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{printed}");
    let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
    for (route, price, amount) in [
        ("/x402_execute/test/wasm", "0.01 USDC", 10_000),
        ("/x402_policy/unsafe/python", "$2", 2_000_000),
    ] {
        let pay_to = chain.pay_to();
        let lines = format!(
            "# sold: {route} for {price}\n#   exact: {amount} of {usdc} on eip155:84532, to {pay_to}\n"
        );
        assert!(printed.contains(&lines), "{printed}");
    }
}

#[test]
fn a_component_of_another_world_is_no_payment_component() {
    let component = component_file("policy-rust");
    let checked = checked(&format!("[payments]\ncomponent = {component:?}\n"));
    assert_eq!(checked.status.code(), Some(1));
    let message = String::from_utf8(checked.stderr).unwrap();
    assert!(
        message.contains("`policy-engine`") && message.contains("`payments`"),
        "{message}"
    );
}

/// Puts the payment component in its own place while the host serves.
async fn swap(host: &Host) {
    swap_for(host, std::fs::read(component_file("payments")).unwrap()).await;
}

async fn swap_for(host: &Host, component: Vec<u8>) {
    let url = format!("{}/swap/payments", host.admin());
    let http = host.operator();
    let swapped = post(&http, &url, "application/wasm", component).await;
    assert_eq!(swapped.status, 200, "{swapped:?}");
}

#[tokio::test]
async fn the_payment_component_is_swapped_while_it_sells() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let call = Call::get(&shop, "http-hello", "/");
    let payment = call.payment(&shop, Version::V2).await;
    let first = call.pay(&payment).await;
    assert_eq!(first.status, 200);
    let unpaid = call.payment(&shop, Version::V2).await;
    swap(&shop.host).await;
    // What was paid before is known after it, and what was asked before may be paid after it.
    let again = call.pay(&payment).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(call.pay(&unpaid).await.status, 200);
    assert_eq!(shop.chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn a_purchase_that_is_under_way_is_settled_whatever_is_swapped_meanwhile() {
    let limits = "[limits]\nexecutions = 1\nqueue = 0\n";
    let shop = Shop::with(limits);
    let purchase = Purchase::of(&shop.host, &guest("sleepy"), &[b"5000"]).await;
    let payment = shop.payment(&purchase).await;
    let swap_meanwhile = async {
        eventually("the program runs", async || {
            (shop.host.counter("hypervisor_executions").await == 1).then_some(())
        })
        .await;
        swap(&shop.host).await;
    };
    let (answer, ()) = tokio::join!(purchase.pay(&payment), swap_meanwhile);
    assert_eq!(purchase.opened(&answer).report.exit, Exit::Ok);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

/// Purchases until they are told to stop, each with a voucher of its own: every one has to be served.
#[derive(Clone, Default)]
struct Buyers {
    stop: Arc<AtomicBool>,
    bought: Arc<AtomicUsize>,
}

impl Buyers {
    fn voucher(&self) -> String {
        let number = self.bought.fetch_add(1, Ordering::Relaxed);
        Issuer::new().voucher(&format!("under-load-{number}"), "3")
    }

    async fn of_calls(self, url: String) {
        let http = reqwest::Client::new();
        while !self.stop.load(Ordering::Relaxed) {
            let answer = http.get(&url).header("x-voucher", self.voucher()).send();
            let answer = answer.await.unwrap();
            let status = answer.status();
            assert_eq!(status, 200, "{}", answer.text().await.unwrap());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn of_runs(self, host: Arc<Host>) {
        while !self.stop.load(Ordering::Relaxed) {
            let purchase = Purchase::of_echo(&host, "bought").await;
            let answer = purchase.send(&[("x-voucher", &self.voucher())]).await;
            assert_eq!(purchase.opened(&answer).result, b"bought\n");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until everybody who buys has had something since.
    async fn go_on(&self) {
        let before = self.bought.load(Ordering::Relaxed);
        eventually("purchases go on", async || {
            (self.bought.load(Ordering::Relaxed) > before + 8).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_purchase_is_lost_while_plugins_in_javascript_take_over_from_those_in_rust() {
    let read = |name: &str| std::fs::read(template(name)).unwrap();
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules");
    std::fs::write(&rules, listing(&["echo", "http-hello"])).unwrap();
    let policy = component_file("policy-rust");
    // Where tests compile side by side, everything takes its time.
    let sections = format!(
        "[policy]\ncomponent = {policy:?}\nrules = {rules:?}\nwall = '30s'\ncpu = '30s'\n[limits]\ncompile = '10m'\ncompile_agent = '10m'\nwall = '2m'\ncpu = '2m'\n"
    );
    let issuer = Issuer::new();
    let host = Arc::new(issuer.host_with(&component_file("payments-voucher"), "", &sections));
    let price = "price = '3 CREDIT'\npay_to = 'acme'";
    host.deploy(&owner(), "http-hello", "greeter", price).await;

    let buyers = Buyers::default();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        tasks.push(tokio::spawn(
            buyers.clone().of_calls(host.agent("greeter", "/")),
        ));
        tasks.push(tokio::spawn(buyers.clone().of_runs(Arc::clone(&host))));
    }
    buyers.go_on().await;
    for (plugin, component) in [
        ("policy", read("js-policy-engine")),
        ("payments", read("js-payments")),
        ("policy", component("policy-rust")),
    ] {
        swapped(&host, plugin, component).await;
        buyers.go_on().await;
    }
    buyers.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
}
