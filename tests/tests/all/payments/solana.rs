//! Payments on Solana, of which the host knows nothing: it is told of a network, and passes on what the component makes of it.

use base64::prelude::{BASE64_STANDARD, Engine};
use hypervisor_tests::payments::official;
use hypervisor_tests::payments::sign::encode_header;
use hypervisor_tests::payments::{Solana, Version};
use hypervisor_tests::{Answer, Host};
use serde_json::Value;

use crate::payments::kit::{PRICE, Purchase, component, header};

const NETWORK: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// A host that sells on Solana and on an EVM chain, each to an account of its own.
fn shop(solana: &Solana) -> Host {
    Host::with(&format!(
        "[payments]\n{}price = '0.01 USDC'\nnetworks = ['solana-devnet', 'base-sepolia']\n\
         pay_to = '{} 0x1111111111111111111111111111111111111111'\nfacilitators = ['{}']\n\
         rpc = {{ '{NETWORK}' = '{}' }}\nsettings = {{ FEE_PAYERS = 'solana-devnet={}' }}\n",
        component(),
        solana.pay_to(),
        solana.facilitator_url(),
        solana.rpc_url(),
        solana.fee_payer(),
    ))
}

#[tokio::test]
async fn the_official_client_pays_on_solana_and_one_transaction_buys_one_run() {
    let solana = Solana::start();
    let host = shop(&solana);
    let purchase = Purchase::of_echo(&host, "solana").await;
    let offer = purchase.offer(Version::V2).await;
    assert_eq!(offer["network"], NETWORK);
    assert_eq!(offer["extra"]["feePayer"], solana.fee_payer());

    let before = solana.balance_of(solana.payer()).await;
    let answer = purchase
        .bought(async |request| official::pay_on_solana(&solana, request).await)
        .await;
    assert_eq!(purchase.opened(&answer).result, b"solana\n");
    assert_eq!(solana.balance_of(solana.payer()).await, before - PRICE);
    assert_eq!(solana.balance_of(solana.pay_to()).await, PRICE);
    let receipt = header(&answer, "payment-response");
    assert_eq!(receipt["network"], NETWORK);
    assert_eq!(receipt["payer"], solana.payer());

    let payment = solana.payment(&offer).await;
    let paid = send(&Purchase::of_echo(&host, "once").await, &payment).await;
    assert_eq!(paid.status, 200, "{paid:?}");
    // The place of the facilitator's signature is empty in what the client sends, and whoever sends it can fill it.
    for payment in [&payment, &filled_in(&payment)] {
        let again = send(&Purchase::of_echo(&host, "twice").await, payment).await;
        assert_eq!(
            (again.status, again.problem().as_str()),
            (409, "payment-reused")
        );
    }
    assert_eq!(solana.balance_of(solana.pay_to()).await, 2 * PRICE);
}

async fn send(purchase: &Purchase, payment: &Value) -> Answer {
    let payment = encode_header(payment);
    purchase.send(&[("payment-signature", &payment)]).await
}

/// The same transaction with something where the first signature goes.
fn filled_in(payment: &Value) -> Value {
    let mut payment = payment.clone();
    let transaction = &mut payment["payload"]["transaction"];
    let mut bytes = BASE64_STANDARD
        .decode(transaction.as_str().unwrap())
        .unwrap();
    bytes[1..65].fill(7);
    *transaction = BASE64_STANDARD.encode(bytes).into();
    payment
}
