//! x402's signed receipts, and what they chain to.

use hypervisor_tests::payments::official;
use hypervisor_tests::programs::component_file;
use hypervisor_verify::Statement;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};

use crate::attestation::{identity, identity_evidence, judge, policy};
use crate::payments::agents::Call;
use crate::payments::kit::{Shop, header};
use hypervisor_tests::payments::Version;

fn bytes(hex: &Value) -> Vec<u8> {
    const_hex::decode(hex.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_official_verifier_takes_a_receipt_and_it_chains_to_the_quote_of_the_host() {
    let shop = Shop::with(
        "public_url = 'https://shop.example'\n[attestation]\nbackend = 'simulated'\nsimulated_seed = 'one'",
    );
    shop.host.ready().await;
    shop.sell("http-hello", "").await;
    let call = Call::get(&shop, "http-hello", "/");
    let answer = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(answer.status, 200);
    let settled = header(&answer, "payment-response");
    let receipt = &settled["extensions"]["offer-receipt"]["info"]["receipt"];
    let found = official::verified(receipt).await.unwrap();
    let payload = &found["payload"];
    assert_eq!(payload["transaction"], settled["transaction"]);
    assert_eq!(payload["payer"], settled["payer"]);
    assert_eq!(payload["network"], "eip155:84532");
    assert_eq!(
        payload["resourceUrl"],
        "https://shop.example/agents/http-hello/"
    );

    // The quote binds the identity key; that signs the statement; its claim is the receipt's key, made by the measured component.
    let evidence = identity_evidence(&shop.host).await;
    let verdict = judge(&evidence, &policy("one"), &identity());
    assert!(verdict.passed(), "{verdict}");
    let attested = &verdict.binding().unwrap().identity_public_key;
    let statement = Statement::verify(&bytes(&found["statement"]), attested).unwrap();
    assert_eq!(
        statement.claim.0,
        Sha256::digest(bytes(&found["key"])).as_slice()
    );
    let component = std::fs::read(component_file("payments")).unwrap();
    assert_eq!(statement.component.0, *Sha384::digest(component));

    // What is signed cannot be altered.
    let mut altered = receipt.clone();
    let signature = receipt["signature"].as_str().unwrap();
    let [head, _, tail] = signature.split('.').collect::<Vec<_>>()[..] else {
        panic!("{signature}")
    };
    altered["signature"] = format!("{head}.e30.{tail}").into();
    official::verified(&altered).await.unwrap_err();
}

#[tokio::test]
async fn a_host_that_proves_nothing_signs_no_receipts() {
    let shop = Shop::open();
    shop.sell("http-hello", "").await;
    let call = Call::get(&shop, "http-hello", "/");
    let answer = call.pay(&call.payment(&shop, Version::V2).await).await;
    assert_eq!(
        header(&answer, "payment-response")["extensions"],
        Value::Null
    );
}
