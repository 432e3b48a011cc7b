//! Paid answers that come with a quote: they are kept without one, and get it when they are given out.

use hypervisor_client::protocol::{ContentFormat, ExecuteResponse, Exit};
use hypervisor_evidence::{Binding, Evidence, Receipt};
use hypervisor_tests::programs::{component_file, guest};
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, eventually};
use sha2::{Digest, Sha256};

use crate::payments::kit::{Purchase, Shop, restart};

const ATTESTED: &str = "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'shop'\n";

/// Whether an answer to a sealed request has a quote over its own commitment.
fn is_quoted(answer: &Answer) -> bool {
    let response: ExecuteResponse = ContentFormat::Cbor.decode(&answer.body).unwrap();
    assert!(response.receipt.is_some());
    response.result_quote.is_some() && response.result_evidence.is_some()
}

#[tokio::test]
async fn an_answer_that_is_fetched_again_comes_with_a_quote_made_then() {
    let mut shop = Shop::with(ATTESTED);
    let mut purchase = Purchase::of_echo(&shop.host, "proved").await;
    purchase.url = purchase.url.replace("/test/wasm", "/verifiable/wasm");
    let payment = shop.payment(&purchase).await;
    let first = purchase.pay(&payment).await;
    assert!(is_quoted(&first));
    // The answer is kept without its quote: this one is of another run of the platform.
    restart(&mut shop.host);
    let purchase = purchase.moved(&shop.host);
    let again = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&again).result, b"proved\n");
    assert!(is_quoted(&again));
    assert_ne!(again.body, first.body);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_quote_gets_its_answer_when_it_asks_again() {
    let shop = Shop::with(&format!("{ATTESTED}simulated_delay = '2s'\n"));
    let mut purchase = Purchase::of_echo(&shop.host, "late").await;
    purchase.url = purchase.url.replace("/test/wasm", "/verifiable/wasm");
    let payment = shop.payment(&purchase).await;
    let (name, value) = payment.header();
    let headers = [(name, value.as_str())];
    let gives_up = eventually("the payment is made", async || {
        (!shop.chain.transfers().await.is_empty()).then_some(())
    });
    tokio::select! {
        _ = purchase.try_send(&headers) => {}
        () = gives_up => {}
    }
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).report.exit, Exit::Ok);
    assert!(is_quoted(&answer));
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

/// The manifests that an answer's receipt and its quote name.
fn manifests(answer: &Answer) -> ([u8; 48], [u8; 48]) {
    let response: ExecuteResponse = ContentFormat::Cbor.decode(&answer.body).unwrap();
    let evidence = response.result_evidence.unwrap();
    let evidence = Evidence::decode(ContentFormat::Cbor, &evidence.0).unwrap();
    let binding = Binding::decode(&evidence.binding).unwrap();
    let receipt = response.receipt.unwrap();
    let receipt = Receipt::verify(&receipt.0, &binding.identity_public_key).unwrap();
    (receipt.manifest_digest.0, binding.manifest_digest)
}

#[tokio::test]
async fn a_quote_that_is_made_after_a_swap_names_the_manifest_of_the_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    let allow = format!("{}\n", const_hex::encode(Sha256::digest(guest("echo"))));
    std::fs::write(&rules, &allow).unwrap();
    let component = component_file("policy-rust");
    let shop = Shop::with(&format!(
        "{ATTESTED}[policy]\ncomponent = {component:?}\nrules = {rules:?}\n"
    ));
    let mut purchase = Purchase::of_echo(&shop.host, "proved").await;
    purchase.url = purchase.url.replace("/test/wasm", "/verifiable/wasm");
    let payment = shop.payment(&purchase).await;
    let (receipt, quote) = manifests(&purchase.pay(&payment).await);
    assert_eq!(receipt, quote);
    // Other rules make another manifest.
    std::fs::write(&rules, format!("{allow}# more\n")).unwrap();
    let url = format!("{}/swap/policy", shop.host.admin());
    let component = std::fs::read(component).unwrap();
    let swapped = post(&shop.host.operator(), &url, "application/wasm", component).await;
    assert_eq!(swapped.status, 200, "{swapped:?}");
    let again = manifests(&purchase.pay(&payment).await);
    assert_eq!(again, (receipt, receipt));
}
