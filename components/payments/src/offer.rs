//! The operator's offers, checked, and how each version of the protocol writes them.

use alloy_primitives::{Address, U256};
use serde_json::{Map, Value, json};

use crate::api::{Offer, ResourceInfo};
use crate::error::Error;
use crate::{evm, json, networks};

/// The amount that was signed is transferred.
pub const EXACT: &str = "exact";
/// At most the amount that was signed is transferred.
pub const UPTO: &str = "upto";
/// The flow of a payment that is settled before what it pays for: as `extra.paymentFlow` says it, where it is not the usual one.
pub const UPFRONT: &str = "upfront";
/// An authorization must be good for so much longer when it is verified: a facilitator refuses it later (@x402/evm).
pub const LEAST_REMAINING: u64 = 6;

const MOST_OFFERS: usize = 32;
const LONGEST_TIMEOUT: u64 = 30 * 24 * 60 * 60;
const LONGEST_EXTRA: usize = 4096;
const LONGEST_METADATA: usize = 16 * 1024;
const LONGEST_TEXT: usize = 2048;
const LONGEST_TAG: usize = 32;
const MOST_TAGS: usize = 5;

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
    /// How the token is transferred.
    pub method: Method,
    /// All of the offer's `extra`.
    pub extra: Map<String, Value>,
}

/// How a token is transferred: `extra.assetTransferMethod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the token itself.
    Eip3009 {
        /// The `name` of the token's EIP-712 domain.
        name: String,
        /// Its `version`.
        version: String,
    },
    /// By Permit2, for any ERC-20.
    Permit2 {
        /// The account of the only facilitator that can settle: in `upto`.
        facilitator: Option<Address>,
    },
}

impl Terms {
    /// The name of the chain in version 1, if it has one and the offer can be paid in that version: by EIP-3009.
    pub fn v1_network(&self) -> Option<&'static str> {
        match self.method {
            Method::Eip3009 { .. } => networks::v1_name(self.chain_id),
            Method::Permit2 { .. } => None,
        }
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
    method: Option<String>,
    metadata: Map<String, Value>,
    /// It is a call of an agent.
    pub is_agents: bool,
}

impl Resource {
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The media type of what comes back, where it is known.
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// The method of HTTP that it is called by, where it is known.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// Checks a description of a resource.
    pub fn new(info: &ResourceInfo) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Offer(format!("resource: {problem}"));
        let texts = [Some(&info.url), info.mime_type.as_ref()];
        if info.url.is_empty() {
            return Err(wrong("url is empty"));
        }
        if texts.iter().flatten().any(|text| text.len() > LONGEST_TEXT) {
            return Err(wrong("url or mime-type is longer than 2048 bytes"));
        }
        let mut metadata = match info.metadata.as_deref() {
            None => Map::new(),
            Some(text) if text.len() > LONGEST_METADATA => {
                return Err(wrong("metadata is longer than 16 KiB"));
            }
            Some(text) => json::parse_object(text.as_bytes())
                .map_err(|problem| wrong(&format!("metadata: {problem}")))?,
        };
        let method = match metadata.remove("method") {
            Some(Value::String(method)) => Some(method),
            _ => None,
        };
        let (name, skills) = (metadata.remove("name"), metadata.remove("skills"));
        let is_agents = name.is_some();
        let name = name.filter(is_tag).map(|name| ("serviceName", name));
        let tags = tags(skills).map(|tags| ("tags", tags));
        let service = name.into_iter().chain(tags);
        metadata.extend(service.map(|(key, value)| (key.to_owned(), value)));
        Ok(Self {
            method,
            url: info.url.clone(),
            description: info.description.as_deref().map(beginning),
            mime_type: info.mime_type.clone(),
            metadata,
            is_agents,
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

/// As much of a description as fits a header: an agent's may have four times as many bytes.
fn beginning(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_TEXT);
    text.get(..end).unwrap_or_default().to_owned()
}

/// Whether a text is one that lists of services take: printable ASCII, and short.
fn is_tag(text: &Value) -> bool {
    let is_fit = |text: &str| {
        let is_printable = |b: u8| (b' '..=b'~').contains(&b);
        (1..=LONGEST_TAG).contains(&text.len()) && text.bytes().all(is_printable)
    };
    text.as_str().is_some_and(is_fit)
}

/// The first few of an agent's skills that lists take as tags.
fn tags(skills: Option<Value>) -> Option<Value> {
    let skills = skills.as_ref()?.as_array()?;
    let tags: Vec<&Value> = skills
        .iter()
        .filter(|it| is_tag(it))
        .take(MOST_TAGS)
        .collect();
    (!tags.is_empty()).then(|| json!(tags))
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
    if ![EXACT, UPTO].contains(&offer.scheme.as_str()) {
        return Err(format!(
            "the scheme {:?} is not supported: use exact or upto",
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
    let method = method(&offer.scheme, &extra)?;
    check_flow(&extra)?;
    Ok(Terms {
        offer: offer.clone(),
        chain_id,
        asset,
        amount,
        pay_to,
        method,
        extra,
    })
}

fn method(scheme: &str, extra: &Map<String, Value>) -> Result<Method, String> {
    let text = |key: &'static str, which: &str| match json::optional_text(extra, key) {
        Ok(Some(text)) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("extra has no text {key:?}: {which}")),
    };
    let method = extra.get("assetTransferMethod").map(Value::as_str);
    match (scheme, method) {
        (EXACT, None | Some(Some("eip3009"))) => {
            let which = "give the name and the version of the token's EIP-712 domain";
            Ok(Method::Eip3009 {
                name: text("name", which)?,
                version: text("version", which)?,
            })
        }
        (EXACT, Some(Some("permit2"))) => Ok(Method::Permit2 { facilitator: None }),
        (UPTO, Some(Some("permit2"))) => {
            let which = "give the account by which the facilitator settles";
            let facilitator = evm::address(&text("facilitatorAddress", which)?);
            facilitator
                .map(|account| Method::Permit2 {
                    facilitator: Some(account),
                })
                .ok_or_else(|| "extra \"facilitatorAddress\" is not an address".to_owned())
        }
        _ => Err(
            "extra \"assetTransferMethod\" can only be \"eip3009\" or \"permit2\", and for upto \"permit2\""
                .to_owned(),
        ),
    }
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

/// Checks when a payment is settled, where `extra` says it.
pub fn check_flow(extra: &Map<String, Value>) -> Result<(), String> {
    let flows = ["authorization", UPFRONT];
    match extra.get("paymentFlow") {
        Some(flow) if flows.iter().all(|it| flow != it) => Err(format!(
            "extra \"paymentFlow\" can only be {}",
            flows.join(" or ")
        )),
        _ => Ok(()),
    }
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
