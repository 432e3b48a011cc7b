//! Another payment component takes the place of the first: by configuration alone, and while the host sells.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hypervisor_client::protocol::Exit;
use hypervisor_tests::payments::Version;
use hypervisor_tests::programs::{component_file, guest};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Host, eventually};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::json;

use crate::payments::agents::Call;
use crate::payments::kit::{Purchase, Shop};

struct Issuer(SigningKey);

impl Issuer {
    fn new() -> Self {
        Self(SigningKey::from_slice(&[7; 32]).unwrap())
    }

    fn host(&self) -> Host {
        let key = const_hex::encode(self.0.verifying_key().to_sec1_point(false).as_bytes());
        let component = component_file("payments-voucher");
        Host::with(&format!(
            "[payments]\ncomponent = {component:?}\nscheme = 'voucher'\nnetworks = ['voucher:issuer']\npay_to = 'acme'\n\
             price = '3 CREDIT'\n\
             assets = [{{ symbol = 'CREDIT', network = 'voucher:issuer', address = 'voucher', decimals = 0 }}]\n\
             [payments.settings]\nVOUCHER_ISSUER = '{key}'\n",
        ))
    }

    fn voucher(&self, id: &str, amount: &str) -> String {
        let tomorrow = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 60;
        let payload =
            json!({"id": id, "amount": amount, "pay_to": "acme", "valid_before": tomorrow})
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

#[test]
fn a_component_of_another_world_is_no_payment_component() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    let component = component_file("policy-rust");
    std::fs::write(&file, format!("[payments]\ncomponent = {component:?}\n")).unwrap();
    let checked = std::process::Command::new(hypervisor_tests::host::binary("hypervisor-ctl"))
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let message = String::from_utf8(checked.stderr).unwrap();
    assert!(
        message.contains("`policy-engine`") && message.contains("`payments`"),
        "{message}"
    );
}

/// Puts the payment component in its own place while the host serves.
async fn swap(host: &Host) {
    let component = std::fs::read(component_file("payments")).unwrap();
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
