//! The operator's offers, checked, and how each version of the protocol writes them.

use alloy_primitives::{Address, U256};
use serde_json::{Map, Value, json};

use crate::api::{Offer, ResourceInfo};
use crate::error::Error;
use crate::{evm, json, networks};

/// The one scheme that this component knows.
pub const SCHEME: &str = "exact";
/// An authorization must be good for so much longer when it is verified: a facilitator refuses it later (@x402/evm).
pub const LEAST_REMAINING: u64 = 6;

const MOST_OFFERS: usize = 32;
const LONGEST_TIMEOUT: u64 = 30 * 24 * 60 * 60;
const LONGEST_EXTRA: usize = 4096;
const LONGEST_METADATA: usize = 16 * 1024;
const LONGEST_TEXT: usize = 2048;

/// An offer that can be used.
#[derive(Clone, Debug)]
pub struct Terms {
    /// As the operator wrote it.
    pub offer: Offer,
    /// The chain.
    pub chain_id: u64,
    /// The token's contract.
    pub asset: Address,
    /// The price.
    pub amount: U256,
    /// Who is paid.
    pub pay_to: Address,
    /// The `name` of the token's EIP-712 domain.
    pub token_name: String,
    /// The `version` of the token's EIP-712 domain.
    pub token_version: String,
    /// All of the offer's `extra`.
    pub extra: Map<String, Value>,
}

impl Terms {
    /// The name of the chain in version 1, if it has one.
    pub fn v1_network(&self) -> Option<&'static str> {
        networks::v1_name(self.chain_id)
    }

    /// `PaymentRequirements` of version 2.
    pub fn v2(&self) -> Value {
        v2(&self.offer, &self.extra)
    }
}

/// `PaymentRequirements` of version 2, on any chain.
pub fn v2(offer: &Offer, extra: &Map<String, Value>) -> Value {
    json!({
        "scheme": offer.scheme,
        "network": offer.network,
        "amount": offer.amount,
        "asset": offer.asset,
        "payTo": offer.pay_to,
        "maxTimeoutSeconds": offer.max_timeout_seconds,
        "extra": extra,
    })
}

/// `PaymentRequirements` of version 1, which describe the resource too. `None` for a chain that has no name in it.
pub fn v1(offer: &Offer, extra: &Map<String, Value>, resource: &Resource) -> Option<Value> {
    let mut requirements = json!({
        "scheme": offer.scheme,
        "network": networks::v1_name_of(&offer.network)?,
        "maxAmountRequired": offer.amount,
        "resource": resource.url,
        // Both are required in version 1.
        "description": resource.description.as_deref().unwrap_or_default(),
        "mimeType": resource.mime_type.as_deref().unwrap_or_default(),
        "payTo": offer.pay_to,
        "maxTimeoutSeconds": offer.max_timeout_seconds,
        "asset": offer.asset,
        "extra": extra,
    });
    if let (Some(schema), Some(members)) = (
        resource.metadata.get("outputSchema"),
        requirements.as_object_mut(),
    ) {
        members.insert("outputSchema".to_owned(), schema.clone());
    }
    Some(requirements)
}

/// What is sold, checked.
#[derive(Clone, Debug)]
pub struct Resource {
    url: String,
    description: Option<String>,
    mime_type: Option<String>,
    metadata: Map<String, Value>,
}

impl Resource {
    /// Checks a description of a resource.
    pub fn new(info: &ResourceInfo) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Offer(format!("resource: {problem}"));
        let texts = [
            Some(&info.url),
            info.description.as_ref(),
            info.mime_type.as_ref(),
        ];
        if info.url.is_empty() {
            return Err(wrong("url is empty"));
        }
        if texts.iter().flatten().any(|text| text.len() > LONGEST_TEXT) {
            return Err(wrong(
                "url, description or mime-type is longer than 2048 bytes",
            ));
        }
        let metadata = match info.metadata.as_deref() {
            None => Map::new(),
            Some(text) if text.len() > LONGEST_METADATA => {
                return Err(wrong("metadata is longer than 16 KiB"));
            }
            Some(text) => json::parse_object(text.as_bytes())
                .map_err(|problem| wrong(&format!("metadata: {problem}")))?,
        };
        Ok(Self {
            url: info.url.clone(),
            description: info.description.clone(),
            mime_type: info.mime_type.clone(),
            metadata,
        })
    }

    /// `resource` of version 2: the metadata too, but for the output schema, which is of version 1.
    pub fn v2(&self) -> Value {
        let mut members = self.metadata.clone();
        members.remove("outputSchema");
        members.insert("url".to_owned(), self.url.clone().into());
        for (key, text) in [
            ("description", &self.description),
            ("mimeType", &self.mime_type),
        ] {
            match text {
                Some(text) => members.insert(key.to_owned(), text.clone().into()),
                None => members.remove(key),
            };
        }
        Value::Object(members)
    }
}

/// Checks offers, each by `read`. The error says which one cannot be used, and why.
pub fn check_each<T>(
    offers: &[Offer],
    read: impl Fn(&Offer) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    if !(1..=MOST_OFFERS).contains(&offers.len()) {
        return Err(Error::Offer(format!(
            "{} offers: there must be 1 to {MOST_OFFERS}",
            offers.len()
        )));
    }
    offers
        .iter()
        .enumerate()
        .map(|(index, offer)| {
            read(offer)
                .map_err(|problem| Error::Offer(format!("offer {} {problem}", described(index))))
        })
        .collect()
}

fn described(index: usize) -> String {
    format!("{} of the list:", index + 1)
}

/// Checks an offer on an EVM chain.
pub fn terms(offer: &Offer) -> Result<Terms, String> {
    if offer.scheme != SCHEME {
        return Err(format!(
            "the scheme {:?} is not supported: use exact",
            shortened(&offer.scheme)
        ));
    }
    let chain_id = networks::chain_id(&offer.network).ok_or_else(|| {
        format!(
            "the network {:?} is not a chain in CAIP-2 form, such as eip155:8453",
            shortened(&offer.network)
        )
    })?;
    let address = |name: &str, text: &str| {
        evm::address(text).ok_or_else(|| {
            format!(
                "{name} {:?} is not an address: 0x and 40 hexadecimal digits",
                shortened(text)
            )
        })
    };
    let asset = address("asset", &offer.asset)?;
    let pay_to = address("pay-to", &offer.pay_to)?;
    let amount = evm::amount(&offer.amount).ok_or_else(|| {
        format!(
            "amount {:?} is not a decimal number of at most 256 bits without leading zeros",
            shortened(&offer.amount)
        )
    })?;
    check_timeout(offer)?;
    let extra = extra(offer.extra.as_deref())?;
    let text = |key: &'static str| match json::optional_text(&extra, key) {
        Ok(Some(text)) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!(
            "extra has no text {key:?}: give the name and the version of the token's EIP-712 domain"
        )),
    };
    let (token_name, token_version) = (text("name")?, text("version")?);
    for (key, only) in [
        ("assetTransferMethod", "eip3009"),
        ("paymentFlow", "authorization"),
    ] {
        if extra.get(key).is_some_and(|value| value != only) {
            return Err(format!("extra {key:?} can only be {only:?}"));
        }
    }
    Ok(Terms {
        offer: offer.clone(),
        chain_id,
        asset,
        amount,
        pay_to,
        token_name,
        token_version,
        extra,
    })
}

/// Checks the time that an offer leaves. At the limit itself, a client that signs at once would be refused a second later.
pub fn check_timeout(offer: &Offer) -> Result<(), String> {
    if (LEAST_REMAINING + 1..=LONGEST_TIMEOUT).contains(&offer.max_timeout_seconds) {
        return Ok(());
    }
    Err(format!(
        "max-timeout-seconds {} is not between {} and {LONGEST_TIMEOUT}",
        offer.max_timeout_seconds,
        LEAST_REMAINING + 1
    ))
}

/// Reads an offer's `extra`.
pub fn extra(text: Option<&str>) -> Result<Map<String, Value>, String> {
    let text = text.unwrap_or("{}");
    if text.len() > LONGEST_EXTRA {
        return Err(format!("extra is longer than {LONGEST_EXTRA} bytes"));
    }
    json::parse_object(text.as_bytes()).map_err(|problem| format!("extra: {problem}"))
}

/// As much of an operator's text as an error quotes.
pub fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
