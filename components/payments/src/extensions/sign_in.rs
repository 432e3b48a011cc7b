//! `sign-in-with-x`: who has paid proves it by a signature, and needs no payment to get again what it was for.
//!
//! What is signed is a text of CAIP-122: EIP-4361 for accounts of EVM chains, and the same with another word for Solana's. Nothing in
//! it is the client's choice but account and chain, so it is written here anew from what the challenge said and compared by its
//! signature. Contract wallets, which have no key, cannot sign in: whether one signed is for a chain to say.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use alloy_primitives::eip191_hash_message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::error::{Error, Refusal};
use crate::header::only;
use crate::offer::Resource;
use crate::offered::Offered;
use crate::ports::Crypto;
use crate::settings::{Settings, Url};
use crate::sign_in_api::{Account, Proof};
use crate::svm::key::Key;
use crate::time::instant;
use crate::{evm, json, offline, svm};

/// The extension, and the header field of its proofs.
pub const NAME: &str = "sign-in-with-x";
/// What wallets show.
const STATEMENT: &str = "Get again what this account has paid for.";
/// How long a challenge may be signed and sent, in seconds.
pub const LIFETIME: u64 = 300;
/// The longest proof, in bytes: three URLs may be in it.
const LONGEST: usize = 12 * 1024;

/// What is asked to be signed, by whatever account.
struct Asked<'a> {
    domain: &'a str,
    uri: &'a str,
    nonce: String,
    issued: u64,
}

/// Where a payer signs in, as browsers write it: none where the host does not know its name, or what is sold is no call of an agent.
fn domain(settings: &Settings, resource: &Resource) -> Option<String> {
    let base = settings.public_url.as_str();
    let is_here = resource.is_agents && resource.url().starts_with(base);
    let url = Url::parse(base).filter(|_| is_here)?;
    let usual = if url.secure { ":443" } else { ":80" };
    let host = url.authority.strip_suffix(usual);
    Some(host.unwrap_or(url.authority).to_ascii_lowercase())
}

/// The kinds of signatures on a network.
fn kind(network: &str) -> &'static str {
    match svm::is_network(network) {
        true => "ed25519",
        false => "eip191",
    }
}

/// The networks of the offers, each once.
fn networks(terms: &[Offered]) -> Vec<&str> {
    let mut networks: Vec<&str> = Vec::new();
    for offered in terms {
        let network = offered.offer().network.as_str();
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    networks
}

/// What a challenge declares at the time `now`.
pub fn declared(
    settings: &Settings,
    resource: &Resource,
    terms: &[Offered],
    now: u64,
) -> Option<Value> {
    let domain = domain(settings, resource)?;
    // It has to differ, and need not be secret: a host that remembers which it has seen does not ask where they come from.
    let nonce = format!("{now:016x}{:016x}", RandomState::new().hash_one(now));
    let asked = Asked {
        domain: &domain,
        uri: resource.url(),
        nonce,
        issued: now,
    };
    let chains = networks(terms).into_iter();
    let chains = chains.map(|it| json!({"chainId": it, "type": kind(it)}));
    let required = [
        "domain",
        "address",
        "uri",
        "version",
        "chainId",
        "type",
        "nonce",
        "issuedAt",
        "signature",
    ];
    let text = json!({"type": "string"});
    let members = required.iter().map(|name| (*name, text.clone()));
    Some(json!({
        "info": asked.info(),
        "supportedChains": chains.collect::<Vec<_>>(),
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": members.collect::<std::collections::BTreeMap<_, _>>(),
            "required": required,
        },
    }))
}

impl Asked<'_> {
    fn info(&self) -> Value {
        json!({
            "domain": self.domain,
            "uri": self.uri,
            "statement": STATEMENT,
            "version": "1",
            "nonce": self.nonce,
            "issuedAt": instant(self.issued),
            "expirationTime": instant(self.expires()),
            "resources": [self.uri],
        })
    }

    fn expires(&self) -> u64 {
        self.issued.saturating_add(LIFETIME)
    }

    /// The text that an account signs.
    fn text(&self, address: &str, network: &str) -> String {
        let kind = match svm::is_network(network) {
            true => "Solana",
            false => "Ethereum",
        };
        let chain = network.split_once(':').map_or(network, |(_, chain)| chain);
        let Self {
            domain, uri, nonce, ..
        } = self;
        let (issued, expires) = (instant(self.issued), instant(self.expires()));
        format!(
            "{domain} wants you to sign in with your {kind} account:\n{address}\n\n{STATEMENT}\n\n\
             URI: {uri}\nVersion: 1\nChain ID: {chain}\nNonce: {nonce}\nIssued At: {issued}\n\
             Expiration Time: {expires}\nResources:\n- {uri}"
        )
    }
}

/// What a request proves of its sender; none where it has no proof, the operator wants none, or the error is why it proves nothing.
pub fn read(
    settings: &Settings,
    resource: &Resource,
    terms: &[Offered],
    (headers, now): (&[crate::api::Header], u64),
    crypto: &impl Crypto,
) -> Result<Option<Result<Proof, Refusal>>, Error> {
    let Some(domain) = domain(settings, resource) else {
        return Ok(None);
    };
    let sent = match only(headers, NAME) {
        Ok(None) => return Ok(None),
        Ok(Some(value)) => decoded(value),
        Err(_) => Err(refused("header", "the header occurs more than once")),
    };
    let read = sent.and_then(|sent| {
        let asked = asked(&sent, (&domain, resource.url()), now)?;
        Ok((sent, asked))
    });
    let (sent, asked) = match read {
        Ok(read) => read,
        Err(refusal) => return Ok(Some(Err(refusal))),
    };
    let proof = proof(&sent, &asked, &networks(terms), crypto);
    Ok(Some(proof.map_err(Error::Crypto)?))
}

fn refused(code: &str, message: &str) -> Refusal {
    Refusal::new(format!("invalid_siwx_{code}"), message)
}

fn decoded(value: &str) -> Result<Map<String, Value>, Refusal> {
    let form = || refused("header", "the header is not base64 of a JSON object");
    if value.len() > LONGEST {
        return Err(refused("header", "the header is too long"));
    }
    let text = STANDARD.decode(value.trim_matches([' ', '\t']));
    json::parse_object(&text.map_err(|_| form())?).map_err(|_| form())
}

fn text<'a>(sent: &'a Map<String, Value>, key: &str) -> &'a str {
    sent.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The challenge that was answered: every member as it was given, here, and not too long ago.
fn asked<'a>(
    sent: &Map<String, Value>,
    (domain, uri): (&'a str, &'a str),
    now: u64,
) -> Result<Asked<'a>, Refusal> {
    let nonce = text(sent, "nonce");
    let is_hex = nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit());
    let issued = nonce.get(..16).filter(|_| is_hex);
    let issued = issued.and_then(|it| u64::from_str_radix(it, 16).ok());
    let Some(issued) = issued else {
        return Err(refused("nonce", "the nonce is none of this host's"));
    };
    let asked = Asked {
        domain,
        uri,
        nonce: nonce.to_owned(),
        issued,
    };
    let codes = [
        ("domain", "domain_mismatch"),
        ("uri", "uri_mismatch"),
        ("resources", "uri_mismatch"),
        ("issuedAt", "issued_at"),
        ("expirationTime", "expiration_time"),
    ];
    let mut info = asked.info();
    let info = info.as_object_mut();
    for (key, wanted) in info.into_iter().flat_map(|info| info.iter()) {
        if sent.get(key) != Some(wanted) {
            let known = codes.iter().find(|(known, _)| known == key);
            let code = known.map_or("header", |(_, code)| code);
            let message = format!("`{key}` is not what the challenge said");
            return Err(refused(code, &message));
        }
    }
    for key in ["notBefore", "requestId"] {
        if !sent.get(key).is_none_or(Value::is_null) {
            return Err(refused("header", "there is more in it than was asked for"));
        }
    }
    if issued > now {
        return Err(refused("issued_at_in_future", "it is from the future"));
    }
    if now >= asked.expires() {
        return Err(refused("expired", "it is too old: sign the new challenge"));
    }
    Ok(asked)
}

/// Whose account signed. The outer error is a failure of the host's crypto.
fn proof(
    sent: &Map<String, Value>,
    asked: &Asked<'_>,
    networks: &[&str],
    crypto: &impl Crypto,
) -> Result<Result<Proof, Refusal>, String> {
    let (network, address) = (text(sent, "chainId"), text(sent, "address"));
    if !networks.contains(&network) || text(sent, "type") != kind(network) {
        let words = "nothing is paid for on that chain, or not with such signatures";
        return Ok(Err(refused("unsupported_chain", words)));
    }
    let (message, signature) = (asked.text(address, network), text(sent, "signature"));
    let payer = match svm::is_network(network) {
        true => solana(address, &message, signature, crypto)?,
        false => ethereum(address, &message, signature, crypto)?,
    };
    let Some(payer) = payer else {
        let words =
            "the signature is not the account's, or of a contract wallet, which cannot sign in";
        return Ok(Err(refused("signature", words)));
    };
    // One key holds the account of its address on all chains of a kind.
    let same = networks.iter().filter(|it| kind(it) == kind(network));
    let accounts = same.map(|chain| Account {
        chain: (*chain).to_owned(),
        payer: payer.clone(),
    });
    Ok(Ok(Proof {
        accounts: accounts.collect(),
        nonce: asked.nonce.clone(),
        issued: asked.issued,
        expires: asked.expires(),
    }))
}

fn ethereum(
    address: &str,
    message: &str,
    signature: &str,
    crypto: &impl Crypto,
) -> Result<Option<String>, String> {
    let (Some(account), Some(bytes)) = (evm::address(address), evm::any_bytes(signature)) else {
        return Ok(None);
    };
    let signer = offline::signer(&eip191_hash_message(message), &bytes, crypto)?;
    Ok((signer == Some(account)).then(|| evm::text(account)))
}

fn solana(
    address: &str,
    message: &str,
    signature: &str,
    crypto: &impl Crypto,
) -> Result<Option<String>, String> {
    let mut bytes = [0; 64];
    // The longest has 88 digits.
    let is_read =
        signature.len() <= 88 && matches!(bs58::decode(signature).onto(&mut bytes), Ok(64));
    let (Some(key), true) = (Key::parse(address), is_read) else {
        return Ok(None);
    };
    let is_good = crypto.ed25519(&key.0, message.as_bytes(), &bytes)?;
    Ok(is_good.then(|| key.to_string()))
}
