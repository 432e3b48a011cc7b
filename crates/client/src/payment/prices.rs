//! What a host asks for a route, without buying anything.

use reqwest::StatusCode;

use crate::client::Client;
use crate::error::Error;
use crate::payment::challenge::{Challenge, Requirements, object};
use crate::payment::exchange::PAYMENT_REQUIRED;
use crate::payment::{Amount, Asset, Network, printable};

/// Bytes of the answer: what is read is in its head.
const MOST: usize = 1 << 20;

impl Client {
    /// What the host offers a paid route for, such as `x402_execute/test/wasm`: `0.01 USDC on base`, each offer once. Nothing where it
    /// is not sold. It is said in plaintext, and what a payment comes to is in its own challenge.
    ///
    /// # Errors
    /// [`Error::Challenge`] when what it says is not x402 version 2, [`Error::Refused`] when it cannot say it now, and those of any request.
    pub async fn prices(&self, route: &str) -> Result<Vec<String>, Error> {
        let answer = self.get(route, MOST).await?;
        // It may sell it, and not be able to say so now.
        if answer.status.is_server_error() {
            return Err(self.refusal(&answer));
        }
        let header = answer.headers.get(PAYMENT_REQUIRED);
        let Some(header) = header.filter(|_| answer.status == StatusCode::PAYMENT_REQUIRED) else {
            return Ok(Vec::new());
        };
        let challenge = Challenge::from_header(header.as_bytes())?;
        let mut prices = Vec::new();
        for offer in &challenge.accepts {
            let price = object(offer.get()).map(price);
            let price = price.map_err(|reason| Error::Challenge { reason })?;
            if !prices.contains(&price) {
                prices.push(price);
            }
        }
        Ok(prices)
    }
}

fn price(offer: Requirements) -> String {
    let Requirements {
        scheme,
        network,
        amount,
        asset,
        ..
    } = offer;
    let most = match scheme.as_str() {
        "upto" => "at most ",
        _ => "",
    };
    let known = Network::from_caip2(&network).and_then(|network| {
        let of_offer = |known: &Asset| {
            known.network == network && asset.parse().is_ok_and(|it| known.address == it)
        };
        let parts: Amount = amount.parse().ok()?;
        let known = Asset::known().find(of_offer)?;
        Some(format!("{most}{} on {network}", known.show(parts)))
    });
    known.unwrap_or_else(|| {
        let shown = printable(&format!(
            "{amount} of the smallest unit of {asset} on {network}"
        ));
        format!("{most}{shown}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scheme: &str, asset: &str) -> String {
        let offer = serde_json::json!({
            "scheme": scheme, "network": "eip155:84532", "amount": "10000", "asset": asset,
            "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "maxTimeoutSeconds": 60,
        });
        price(object(&offer.to_string()).unwrap())
    }

    #[test]
    fn known_tokens_are_counted_as_people_do() {
        let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
        assert_eq!(shown("exact", usdc), "0.01 USDC on base-sepolia");
        assert_eq!(shown("upto", usdc), "at most 0.01 USDC on base-sepolia");
        assert_eq!(
            shown("exact", "0xother\u{1b}"),
            "10000 of the smallest unit of 0xother\u{fffd} on eip155:84532"
        );
    }
}
