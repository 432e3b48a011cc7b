//! Clients that nobody here wrote, and `hv`, pay and get their result.

use std::process::Command;

use hypervisor_tests::Host;
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::official::{self, Client};
use serde_json::Value;

use crate::payments::kit::{PRICE, Purchase, Shop};

async fn an_official_client_pays(client: Client) {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "official").await;
    let payer = shop.chain.payer(0);
    let before = shop.chain.balance_of(payer.address()).await;
    let answer = purchase
        .bought(async |request| official::pay(client, payer, request).await)
        .await;
    assert_eq!(purchase.opened(&answer).result, b"official\n");
    assert_eq!(shop.chain.balance_of(payer.address()).await, before - PRICE);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn the_official_client_pays_and_gets_its_result() {
    an_official_client_pays(Client::Current).await;
}

#[tokio::test]
async fn the_official_client_of_version_1_pays_and_gets_its_result() {
    an_official_client_pays(Client::Legacy).await;
}

/// Runs `hv run --pay` on `echo`; status, standard output, standard error.
fn hv(shop: &Shop, host: &Host, more: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, shop.chain.payer(0).private_key()).unwrap();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests/echo.wasm");
    let output = Command::new(binary("hv"))
        .args(["run", "--server", host.url(), "--pay"])
        .arg(&key)
        .args(more)
        .args([program, "--", "paid by hv"])
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn hv_pays_exactly_the_price_and_prints_the_result() {
    let shop = Shop::open();
    let payer = shop.chain.payer(0).address();
    let before = shop.chain.balance_of(payer).await;
    let (status, out, err) = hv(&shop, &shop.host, &["--max-price", "0.05"]);
    assert_eq!((status, out.as_str()), (0, "paid by hv\n"), "{err}");
    assert!(err.contains("0.01 USDC"), "{err}");
    assert_eq!(shop.chain.balance_of(payer).await, before - PRICE);
}

#[tokio::test]
async fn hv_prints_the_transaction_as_json() {
    let shop = Shop::open();
    let (status, out, err) = hv(
        &shop,
        &shop.host,
        &["--max-price", "0.05", "--output", "json"],
    );
    assert_eq!(status, 0, "{err}");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        out["payment"]["transaction"],
        shop.chain.transfers().await[0].transaction
    );
}

#[tokio::test]
async fn hv_does_not_pay_above_the_cap() {
    let shop = Shop::open();
    let (status, out, err) = hv(&shop, &shop.host, &["--max-price", "0.009"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("0.01") && err.contains("0.009"), "{err}");
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn hv_does_not_pay_on_a_network_it_was_not_given() {
    let shop = Shop::open();
    let (status, _, err) = hv(
        &shop,
        &shop.host,
        &["--max-price", "0.05", "--pay-network", "base"],
    );
    assert_eq!(status, 1, "{err}");
    assert_eq!(shop.chain.transfers().await.len(), 0);
}
