//! The host against the table of good and bad payments that the official facilitator and the real token agree on.

use hypervisor_tests::Host;
use hypervisor_tests::payments::oracle::{PRICE, ROWS, Row};
use hypervisor_tests::payments::{Chain, Facilitator, Version};
use serde_json::Value;

use crate::payments::kit::{Purchase, checked, config, confirmed, reason};

/// What became of a row on the whole path: served, or refused for a reason.
type Verdict = Result<(), String>;

/// Presents a row's payment to `host`, which makes this offer.
async fn present(
    row: &Row,
    chain: &Chain,
    facilitator: &Facilitator,
    host: &Host,
    version: Version,
) -> Verdict {
    let purchase = Purchase::of_echo(host, row.name).await;
    let offer = purchase.offer(version).await;
    let payment = row.stage(chain, facilitator, &offer).await;
    let before = chain.transfers().await.len();
    let answer = purchase.pay(&payment).await;
    let moved = chain.transfers().await.len() - before;
    if answer.status == 200 {
        let opened = purchase.opened(&answer);
        assert_eq!(opened.result, format!("{}\n", row.name).into_bytes());
        assert_eq!(moved, 1, "{} was served and not paid", row.name);
        return Ok(());
    }
    assert_eq!(moved, 0, "{} was refused and paid", row.name);
    // A facilitator that finds the operator's mistake only on the chain leaves a doubt, and nothing is served.
    if answer.status == 503 && row.offer.is_some() {
        return Err(answer.problem());
    }
    assert!(
        [400, 402].contains(&answer.status),
        "{}: {answer:?}",
        row.name
    );
    Err(reason(&answer))
}

/// The keys of `[payments]` that make the table's offer, bent as the row has it.
fn selling(offer: &Value) -> String {
    let text = |pointer: &str| {
        offer
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "assets = [{{ symbol = 'COIN', network = 'base-sepolia', address = '{}', decimals = 6, name = '{}', version = '{}' }}]",
        text("/asset"),
        text("/extra/name"),
        text("/extra/version"),
    )
}

async fn every_row(version: Version) {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let selling_usdc =
        config(&chain, facilitator.url(), &confirmed(&chain)).replace("0.01 USDC", "0.001 USDC");
    let honest = Host::with(&selling_usdc);
    for row in ROWS {
        let verdict = if row.offer.is_none() {
            present(row, &chain, &facilitator, &honest, version).await
        } else {
            // The operator's own mistake: seen at the start, or at the first payment.
            let offer = row.offer(&chain, chain.offer(version, PRICE));
            let config = format!("{}\n{}", selling(&offer), confirmed(&chain));
            let config =
                self::config(&chain, facilitator.url(), &config).replace("0.01 USDC", "0.001 COIN");
            match start(&config) {
                Err(message) => Err(message),
                Ok(host) => present(row, &chain, &facilitator, &host, version).await,
            }
        };
        assert_eq!(verdict.is_ok(), row.is_good(), "{}: {verdict:?}", row.name);
        if let Err(reason) = verdict {
            assert!(
                !reason.is_empty(),
                "{} was refused without a reason",
                row.name
            );
        }
    }
}

/// A host with this configuration, or what it says when it refuses to start.
fn start(config: &str) -> Result<Host, String> {
    let checked = checked(config);
    if checked.status.success() {
        Ok(Host::with(config))
    } else {
        Err(String::from_utf8(checked.stderr).unwrap())
    }
}

#[tokio::test]
async fn no_payment_of_version_2_is_served_that_the_token_refuses() {
    every_row(Version::V2).await;
}

#[tokio::test]
async fn no_payment_of_version_1_is_served_that_the_token_refuses() {
    every_row(Version::V1).await;
}
