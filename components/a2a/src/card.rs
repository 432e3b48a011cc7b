//! What an agent says of itself: its card, the keys that sign it, and evidence of the host that holds them.

use front::agents::Listed;
use front::http::Outgoing;
use front::words::words;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::error::{A2aError, Unproved};
use crate::pay;
use crate::ports::Proofs;
use crate::settings::Settings;
use crate::sign::{self, CardKey};

/// The extension by which an agent proves what host it runs on.
pub const EVIDENCE: &str = "urn:hypervisor:a2a:evidence:v1";
/// What a claim about a card begins with.
const CLAIM: &[u8] = b"hypervisor/v1 a2a-card";
/// Bytes of a nonce.
const NONCE: std::ops::RangeInclusive<usize> = 16..=64;
/// How long a card may be kept: its key is another one when the host was started anew.
const AGE: &str = "public, max-age=60";
const INPUT: [&str; 4] = [
    "text/plain",
    "application/json",
    "application/octet-stream",
    "application/a2a+json",
];
const OUTPUT: [&str; 3] = ["text/plain", "application/json", "application/octet-stream"];
/// As many of an agent's words are tags.
const MOST_TAGS: usize = 32;

/// The card of an agent at `url`, which ends with a slash, without its signature.
pub fn card(
    proofs: &impl Proofs,
    settings: &Settings,
    agent: &Listed,
    url: &str,
) -> Map<String, Value> {
    let name = agent.address.split('.').next().unwrap_or(&agent.address);
    let said = |text: &str| match words(text, 2000).trim() {
        "" => format!("The agent {name}."),
        text => text.to_owned(),
    };
    let description = match &agent.price {
        Some(price) => format!("{} A call costs {price}.", said(&agent.description)),
        None => said(&agent.description),
    };
    let version = agent.version.as_deref().map(|it| words(it, 64));
    let version = version.filter(|it| !it.is_empty());
    let mut card = json!({
        "name": name,
        "description": description,
        "version": version.unwrap_or_else(|| "0".to_owned()),
        "supportedInterfaces": [
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": url.trim_end_matches('/'), "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
        ],
        "capabilities": {"streaming": true},
        "defaultInputModes": INPUT,
        "defaultOutputModes": OUTPUT,
        "skills": [skill(agent, name)],
    });
    let extensions = extensions(proofs, agent, url);
    if !extensions.is_empty() {
        card["capabilities"]["extensions"] = extensions.into();
    }
    if let Some((organization, url)) = &settings.provider {
        card["provider"] = json!({"organization": organization, "url": url});
    }
    match card {
        Value::Object(card) => card,
        _ => Map::new(),
    }
}

fn skill(agent: &Listed, name: &str) -> Value {
    let tool = agent.tool.as_ref();
    let told = tool.and_then(|tool| front::json::text(tool, "description"));
    let told = words(told.unwrap_or(&agent.description), 1024);
    let told = match told.trim() {
        "" => format!("The agent {name}."),
        told => told.to_owned(),
    };
    let tags = agent.skills.iter().map(|tag| words(tag, 64));
    let mut tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).take(MOST_TAGS).collect();
    if tags.is_empty() {
        tags.push(name.to_owned());
    }
    let mut skill = json!({"id": name, "name": name, "description": told, "tags": tags});
    if agent.tool_path().is_some() {
        skill["inputModes"] = json!(["application/json"]);
    }
    skill
}

fn extensions(proofs: &impl Proofs, agent: &Listed, url: &str) -> Vec<Value> {
    let mut extensions = Vec::new();
    if agent.price.is_some() {
        let x402 = |uri| json!({"uri": uri, "description": "Payments by x402, in messages. Without it: HTTP 402."});
        extensions.extend(pay::URIS.map(x402));
    }
    if proofs.is_attested() {
        extensions.push(json!({
            "uri": EVIDENCE,
            "description": "Evidence by hardware of the host that signed this card.",
            "params": {"evidenceUrl": format!("{url}evidence")},
        }));
    }
    extensions
}

/// The signed card as it is sent, or that it is the one that the client has.
pub fn answer(
    proofs: &impl Proofs,
    card: Map<String, Value>,
    url: &str,
    known: Option<&str>,
) -> Result<Outgoing, A2aError> {
    let keys = format!("{url}.well-known/jwks.json");
    let card = sign::signed(proofs, card, &keys);
    let card = card.map_err(|error| A2aError::Internal(error.to_string()))?;
    Ok(cacheable(&Value::Object(card), known))
}

/// JSON that may be kept for a while.
pub fn cacheable(value: &Value, known: Option<&str>) -> Outgoing {
    let body = value.to_string().into_bytes();
    let digest = const_hex::encode(Sha256::digest(&body));
    let tag = format!("\"{}\"", digest.get(..32).unwrap_or(&digest));
    let mut tags = known.unwrap_or_default().split(',').map(str::trim);
    let is_known = tags.any(|it| it == "*" || it.trim_start_matches("W/") == tag);
    Outgoing {
        status: if is_known { 304 } else { 200 },
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", AGE.to_owned()),
            ("etag", tag),
        ],
        body: if is_known { Vec::new() } else { body },
    }
}

/// Evidence that this host signs the card, made for a verifier's nonce.
pub fn evidence(
    proofs: &impl Proofs,
    card: &Map<String, Value>,
    nonce: Option<&str>,
) -> Result<Outgoing, A2aError> {
    let nonce = nonce.and_then(|text| const_hex::decode(text).ok());
    let nonce = nonce.filter(|nonce| NONCE.contains(&nonce.len()));
    let nonce = nonce.ok_or(A2aError::Http(
        400,
        "`nonce` has to be 16 to 64 bytes in hex",
    ))?;
    let made = CardKey::of(proofs).and_then(|key| proofs.evidence(&claim(card, &key, &nonce)));
    match made {
        Ok(evidence) => Ok(Outgoing {
            status: 200,
            headers: vec![
                ("content-type", "application/cbor".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: evidence,
        }),
        Err(error @ Unproved::Unavailable(_)) => Err(A2aError::Busy(error.to_string(), None)),
        Err(error @ Unproved::Busy) => Err(A2aError::Busy(error.to_string(), Some(1))),
        Err(error) => Err(A2aError::Internal(error.to_string())),
    }
}

/// The claim: SHA-512 over a label, the card, the thumbprint of its key, and the nonce.
pub fn claim(card: &Map<String, Value>, key: &CardKey, nonce: &[u8]) -> [u8; 64] {
    let mut hash = Sha512::new();
    hash.update(CLAIM);
    hash.update([0]);
    hash.update(Sha256::digest(sign::canonical(card)));
    hash.update(key.thumbprint());
    hash.update(nonce);
    hash.finalize().into()
}
