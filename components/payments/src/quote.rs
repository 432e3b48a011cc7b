//! Prices as people write them, `0.01 USDC` or `$0.01`, made into offers: one for each network that the operator names.

use serde_json::Value;

use crate::api::Offer;
use crate::asset::{self, Token};
use crate::error::Error;
use crate::quoting::Terms;
use crate::svm::fee_payers::FeePayers;
use crate::svm::key::Key;
use crate::{evm, networks, offer, offered, svm};

/// The asset of a price in dollars.
const DOLLARS: &str = "USDC";

/// What of the settings is in an offer.
#[derive(Default)]
pub struct How {
    /// The account of the facilitator that settles `upto`.
    pub facilitator: Option<String>,
    /// Whom the facilitator pays the fees with, on Solana.
    pub fee_payers: FeePayers,
    /// Payments are settled before what they pay for.
    pub settles_first: bool,
}

/// The offers for a price, which this component takes.
pub fn quote(price: &str, pay_to: &str, terms: &Terms, how: &How) -> Result<Vec<Offer>, Error> {
    let offers = offers(price, pay_to, terms, how).map_err(Error::Offer)?;
    offered::check(&offers)?;
    Ok(offers)
}

fn offers(price: &str, pay_to: &str, terms: &Terms, how: &How) -> Result<Vec<Offer>, String> {
    let price = Price::parse(price)?;
    if terms.networks.is_empty() {
        return Err("`networks` is empty: name at least one chain, such as \"base\"".to_owned());
    }
    if terms.scheme == offer::UPTO && how.facilitator.is_none() {
        return Err(
            "the scheme upto needs UPTO_FACILITATOR in [payments.settings]: the `facilitatorAddress` that the first facilitator's /supported names for upto"
                .to_owned(),
        );
    }
    let facilitator = (how.facilitator.as_deref()).filter(|_| terms.scheme == offer::UPTO);
    let accounts = Accounts::read(pay_to)?;
    let offer = |network: &String| {
        let network = networks::identifier(network)?;
        let Some(pay_to) = accounts.on(&network) else {
            return Ok(None);
        };
        // There is only `exact` on Solana.
        if facilitator.is_some() && svm::is_network(&network) {
            return Ok(None);
        }
        let token: Token = asset::find(&price.symbol, &network, &terms.assets)?;
        let mut extra = if svm::is_network(&network) {
            svm::terms::extra(how.fee_payers.on(&network)?)
        } else {
            token.extra(facilitator)
        };
        if how.settles_first {
            extra.insert("paymentFlow".to_owned(), offer::UPFRONT.into());
        }
        Ok(Some(Offer {
            scheme: terms.scheme.clone(),
            amount: price.in_smallest_units(token.decimals)?,
            extra: Some(Value::Object(extra).to_string()),
            asset: token.address,
            network,
            pay_to: pay_to.to_owned(),
            max_timeout_seconds: terms.max_timeout_seconds,
        }))
    };
    let offers: Result<Vec<Option<Offer>>, String> = terms.networks.iter().map(offer).collect();
    let offers: Vec<Offer> = offers?.into_iter().flatten().collect();
    if offers.is_empty() {
        return Err("`pay_to` has no account on any of `networks`".to_owned());
    }
    Ok(offers)
}

/// The accounts that are paid, apart by spaces: one on EVM chains, one on Solana, or only one of the two. Where there is none for a
/// network, nothing is offered on it.
struct Accounts<'a> {
    evm: Option<&'a str>,
    solana: Option<&'a str>,
}

impl<'a> Accounts<'a> {
    fn read(pay_to: &'a str) -> Result<Self, String> {
        let mut accounts = Self {
            evm: None,
            solana: None,
        };
        for word in pay_to.split_whitespace() {
            let account = if evm::address(word).is_some() {
                &mut accounts.evm
            } else if Key::parse(word).is_some() {
                &mut accounts.solana
            } else {
                return Err(format!(
                    "pay-to {:?} is not an address: 0x and 40 hexadecimal digits, or on Solana 32 bytes in base58",
                    offer::shortened(word)
                ));
            };
            if account.replace(word).is_some() {
                return Err("`pay_to` names two accounts for one kind of chain".to_owned());
            }
        }
        if accounts.evm.or(accounts.solana).is_none() {
            return Err("`pay_to` is empty: name the account that is paid".to_owned());
        }
        Ok(accounts)
    }

    fn on(&self, network: &str) -> Option<&'a str> {
        if svm::is_network(network) {
            self.solana
        } else {
            self.evm
        }
    }
}

/// A price as it was written: a decimal number and the name of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Price {
    whole: String,
    fraction: String,
    symbol: String,
}

impl Price {
    /// Reads `0.01 USDC`, or `$0.01`, which is the same.
    fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a price; write it like `0.01 USDC` or `$0.01`");
        let mut words = text.split_whitespace();
        let (number, symbol) = match (words.next(), words.next(), words.next()) {
            (Some(number), Some(symbol), None) => (number, symbol),
            (Some(number), None, None) => (number.strip_prefix('$').ok_or_else(form)?, DOLLARS),
            _ => return Err(form()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(form());
        }
        Ok(Self {
            whole: whole.to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
            symbol: symbol.to_owned(),
        })
    }

    /// The amount in the smallest unit of an asset with this many decimals: digits without leading zeros.
    fn in_smallest_units(&self, decimals: u8) -> Result<String, String> {
        let decimals = usize::from(decimals);
        if self.fraction.len() > decimals {
            return Err(format!(
                "{}.{} has more decimal places than the {decimals} of {}",
                self.whole, self.fraction, self.symbol
            ));
        }
        let digits = format!("{}{:0<decimals$}", self.whole, self.fraction);
        match digits.trim_start_matches('0') {
            "" => Err(
                "a price of nothing cannot be paid; what is free has no price, and routes that are free need no payment"
                    .to_owned(),
            ),
            amount => Ok(amount.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, decimals: u8) -> Result<String, String> {
        Price::parse(text)?.in_smallest_units(decimals)
    }

    #[test]
    fn human_units_become_the_smallest_units() {
        assert_eq!(units("0.01 USDC", 6).unwrap(), "10000");
        assert_eq!(units("$0.01", 6).unwrap(), "10000");
        assert_eq!(units("1 USDC", 6).unwrap(), "1000000");
        assert_eq!(units("12.5 USDC", 6).unwrap(), "12500000");
        assert_eq!(units("0.000001 USDC", 6).unwrap(), "1");
        assert_eq!(units("0.0100000000 USDC", 6).unwrap(), "10000");
        assert_eq!(units("007 X", 0).unwrap(), "7");
        let wei = units("123456789012345678901234567890 X", 18).unwrap();
        assert_eq!(
            wei,
            format!("123456789012345678901234567890{}", "0".repeat(18))
        );
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", "USDC", "0.01", "0.01USDC", "-1 USDC", "1e3 USDC", "1. USDC", ".1 USDC",
            "1 2 USDC", "0x1 USDC", "$", "$-1", "$1 2 3",
        ] {
            let error = Price::parse(text).unwrap_err();
            assert!(error.contains("`0.01 USDC`"), "{text}: {error}");
        }
        let error = units("0.0000001 USDC", 6).unwrap_err();
        assert!(error.contains("decimal places"), "{error}");
        assert!(units("0.00 USDC", 6).unwrap_err().contains("nothing"));
    }

    fn terms(networks: &[&str]) -> Terms {
        Terms {
            networks: networks.iter().map(|it| (*it).to_owned()).collect(),
            scheme: "exact".to_owned(),
            max_timeout_seconds: 120,
            assets: Vec::new(),
        }
    }

    const PAY_TO: &str = "0x1111111111111111111111111111111111111111";

    #[test]
    fn a_price_becomes_one_offer_for_each_network() {
        let terms = terms(&["base-sepolia", "eip155:8453"]);
        let offers = quote("0.01 USDC", PAY_TO, &terms, &How::default()).unwrap();
        let [sepolia, base] = offers.as_slice() else {
            panic!("two offers")
        };
        assert_eq!(
            (sepolia.network.as_str(), sepolia.amount.as_str()),
            ("eip155:84532", "10000")
        );
        assert_eq!(
            sepolia.extra.as_deref(),
            Some(r#"{"name":"USDC","version":"2"}"#)
        );
        assert_eq!(base.asset, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        assert_eq!(
            (base.pay_to.as_str(), base.max_timeout_seconds),
            (PAY_TO, 120)
        );
    }

    const SOLANA_PAY_TO: &str = "cqyuNf6Ct21UWRZYEyPkBDHDWGwTkRcjSvvvvpexjFP";
    const FEE_PAYER: &str = "5rfdkZHuKqXcppADVs6yCYNuF1nxkTm7i8HDWgSmNepM";

    #[test]
    fn a_network_is_offered_on_where_there_is_an_account_for_it() {
        let terms = terms(&["base", "solana-devnet"]);
        let how = How {
            fee_payers: FeePayers::read(&format!("solana-devnet={FEE_PAYER}")).unwrap(),
            ..How::default()
        };
        let quote = |pay_to: &str| quote("0.01 USDC", pay_to, &terms, &how).unwrap();
        let accounts = |pay_to: &str| -> Vec<String> {
            let offers = quote(pay_to).into_iter();
            offers.map(|offer| offer.pay_to).collect()
        };
        let both = quote(&format!("{SOLANA_PAY_TO} {PAY_TO}"));
        assert_eq!([&both[0].pay_to, &both[1].pay_to], [PAY_TO, SOLANA_PAY_TO]);
        assert_eq!(
            both[1].extra,
            Some(format!(r#"{{"feePayer":"{FEE_PAYER}"}}"#))
        );
        assert_eq!(accounts(PAY_TO), [PAY_TO]);
        assert_eq!(accounts(SOLANA_PAY_TO), [SOLANA_PAY_TO]);
    }

    #[test]
    fn fee_payers_are_pairs_of_a_network_and_an_address() {
        for bad in [
            FEE_PAYER.to_owned(),
            format!("base={FEE_PAYER}"),
            "solana=0x1111111111111111111111111111111111111111".to_owned(),
        ] {
            let error = FeePayers::read(&bad).unwrap_err().to_string();
            assert!(error.starts_with("FEE_PAYERS: a pair is"), "{error}");
        }
    }

    #[test]
    fn an_offer_that_is_settled_first_says_so() {
        let how = How {
            settles_first: true,
            ..How::default()
        };
        let offers = quote("0.01 USDC", PAY_TO, &terms(&["base"]), &how).unwrap();
        let extra = offers[0].extra.as_deref().unwrap();
        assert!(extra.contains(r#""paymentFlow":"upfront""#), "{extra}");
    }

    #[test]
    fn what_is_wrong_is_said_in_words_of_the_configuration() {
        let error = |price: &str, pay_to: &str, terms: &Terms| {
            let error = quote(price, pay_to, terms, &How::default()).unwrap_err();
            assert!(matches!(error, Error::Offer(_)));
            error.to_string()
        };
        for (price, pay_to, networks, word) in [
            ("free", PAY_TO, &["base"][..], "`free` is not a price"),
            ("1 USDC", PAY_TO, &[], "`networks`"),
            ("1 USDC", "", &["base"], "`pay_to`"),
            (
                "1 USDC",
                "nobody",
                &["base"],
                "\"nobody\" is not an address",
            ),
            ("1 USDC", PAY_TO, &["bass"], "base-sepolia"),
            ("1 USDC", PAY_TO, &["solana"], "no account on any"),
            (
                "1 USDC",
                SOLANA_PAY_TO,
                &["solana"],
                "set FEE_PAYERS in [payments.settings]",
            ),
            (
                "1 USDC",
                "0x1111111111111111111111111111111111111111 0x2222222222222222222222222222222222222222",
                &["base"],
                "two accounts",
            ),
            ("1 DOGE", PAY_TO, &["base"], "[[payments.assets]]"),
        ] {
            let error = error(price, pay_to, &terms(networks));
            assert!(error.contains(word), "{word}: {error}");
        }
        let odd = Terms {
            scheme: "barter".to_owned(),
            ..terms(&["base"])
        };
        assert!(error("1 USDC", PAY_TO, &odd).contains("use exact or upto"));
        let lost = Terms {
            scheme: "upto".to_owned(),
            ..terms(&["base"])
        };
        assert!(error("1 USDC", PAY_TO, &lost).contains("UPTO_FACILITATOR"));
    }

    #[test]
    fn an_offer_of_upto_names_the_facilitator_that_settles_it() {
        let terms = Terms {
            scheme: "upto".to_owned(),
            ..terms(&["base-sepolia"])
        };
        let how = How {
            facilitator: Some(PAY_TO.to_owned()),
            ..How::default()
        };
        let offers = quote("0.05 USDC", PAY_TO, &terms, &how).unwrap();
        let extra: serde_json::Value =
            serde_json::from_str(offers[0].extra.as_deref().unwrap()).unwrap();
        assert_eq!(
            extra,
            serde_json::json!({
                "name": "USDC", "version": "2",
                "assetTransferMethod": "permit2", "facilitatorAddress": PAY_TO,
            })
        );
        assert_eq!(offers[0].amount, "50000");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", decimals: u8) {
            let _ = units(&text, decimals);
        }
    }
}
