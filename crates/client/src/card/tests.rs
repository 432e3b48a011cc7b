//! Cards and evidence that a simulated host would give.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypervisor_evidence::{
    Attester, Backend, Binding, ComponentLog, Evidence, LogEntry, RawQuote, Statement, Subject,
    manifest, tdx::TdxQuote,
};
use hypervisor_protocol::{ContentFormat, HexArray, PublicKey};
use hypervisor_simulated::Simulator;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FRONT_BYTES: &[u8] = b"a component that speaks A2A";
const MANIFEST: &[u8] = b"\xa1\x64host\x68test 1.0";
const NOW: u64 = 1_780_000_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn jwk(key: &SigningKey, kid: &str) -> Value {
    let point = key.verifying_key().to_sec1_point(false);
    let point = point.as_bytes();
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
    })
}

fn card() -> Value {
    json!({
        "name": "weather", "description": "Tells the weather. ☂", "version": "1.0.0",
        "iconUrl": "", "skills": [], "provider": {"url": ""},
        "capabilities": {"streaming": true, "extensions": [
            {"uri": EXTENSION, "params": {"evidenceUrl": "https://host.example/a2a/weather/evidence"}}]},
    })
}

/// Signs a card with ES256, as any library of JSON Web Signatures does.
fn signed(mut card: Value, key: &SigningKey, header: &Value) -> Vec<u8> {
    let unsigned = Card::parse(card.to_string().as_bytes()).unwrap();
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let payload = URL_SAFE_NO_PAD.encode(unsigned.canonical());
    let signature: Signature = key.sign(format!("{protected}.{payload}").as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
    card["signatures"] = json!([{ "protected": protected, "signature": signature }]);
    card.to_string().into_bytes()
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JOSE", "kid": "k", "jku": "https://host.example/a2a/weather/.well-known/jwks.json" })
}

fn verified(card: &[u8], keys: &Value) -> Result<(Card, Signer), Error> {
    let card = Card::parse(card)?;
    let all = signature::signatures(&card)?;
    let signer = all[0].verify(&card, keys.to_string().as_bytes())?;
    Ok((card, signer))
}

fn good() -> (Card, Signer) {
    let key = key(1);
    let keys = json!({ "keys": [jwk(&key, "k")] });
    verified(&signed(card(), &key, &header()), &keys).unwrap()
}

fn names(error: &Error) -> Vec<&'static str> {
    match error {
        Error::Attestation(refusal) => refusal.names(),
        other => panic!("{other}"),
    }
}

/// A host in a simulated TD whose log has these components.
struct Host {
    simulator: Simulator,
    log: ComponentLog,
    identity: SigningKey,
}

impl Host {
    fn of(components: &[(&str, &[u8])]) -> Self {
        let simulator = Simulator::builder(b"cards").build().unwrap();
        let mut log = ComponentLog::with_register(simulator.read_register().unwrap());
        for (name, bytes) in components {
            let digest = log.append(LogEntry::new(*name, bytes, Vec::new())).unwrap();
            simulator.extend(&digest).unwrap();
        }
        Self {
            simulator,
            log,
            identity: key(7),
        }
    }

    fn start() -> Self {
        Self::of(&[("protocol/a2a", FRONT_BYTES)])
    }

    /// What `attestation.evidence` gives a component.
    fn evidence(&self, claim: &[u8], component: &[u8]) -> Vec<u8> {
        let identity = self.identity.verifying_key().to_sec1_point(true);
        let binding = Binding {
            subject: Subject::Identity,
            nonce: None,
            identity_public_key: PublicKey::from_sec1(identity.as_bytes()).unwrap(),
            tls_key: None,
            manifest_digest: manifest::digest(MANIFEST),
            log: self.log.head(),
            register_bound: true,
            backend: Backend::Simulated,
            boot_id: [3; 16],
        };
        let quote = self
            .simulator
            .quote(binding.report_data().as_bytes())
            .unwrap();
        let digest = LogEntry::new("it", component, Vec::new()).digest.0;
        let statement = Statement::new(claim, digest, NOW).unwrap();
        let sign = |message: &[u8]| {
            let signature: Signature = self.identity.sign(message);
            Ok::<[u8; 64], std::convert::Infallible>(signature.to_bytes().into())
        };
        let evidence = Evidence {
            log: Some(self.log.encode(ContentFormat::Cbor).unwrap()),
            manifest: Some(MANIFEST.to_vec()),
            collateral: Some(self.simulator.collateral_json().unwrap().into_bytes()),
            statement: Some(statement.sign(sign).unwrap()),
            ..Evidence::new(RawQuote::Tdx(quote.bytes), &binding)
        };
        evidence.encode(ContentFormat::Cbor).unwrap()
    }

    fn policy(&self) -> Policy {
        let fresh = Simulator::builder(b"cards").build().unwrap();
        let report = TdxQuote::parse(&fresh.raw_quote(&[7; 64]).unwrap())
            .unwrap()
            .report;
        let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmr;
        let mut text = format!(
            "version = 1\nroots.simulated = \"{}\"\n[components]\nany = true\n[manifest]\nallowed = [\"{}\"]\n[[tdx.reference]]\nname = \"image\"\n",
            const_hex::encode(self.simulator.fingerprint()),
            HexArray(manifest::digest(MANIFEST)),
        );
        for (name, value) in [
            ("mrtd", &report.mrtd[..]),
            ("rtmr0", &rtmr0),
            ("rtmr1", &rtmr1),
            ("rtmr2", &rtmr2),
            ("rtmr3", &rtmr3),
            ("xfam", &report.xfam),
            ("td_attributes", &report.td_attributes),
            ("mrowner", &report.mrowner),
        ] {
            text += &format!("{name} = \"{}\"\n", const_hex::encode(value));
        }
        Policy::parse(&text).unwrap()
    }
}

fn nonce(byte: u8) -> VerifierNonce {
    VerifierNonce::new([[byte; 16], [7; 16]].concat()).unwrap()
}

/// As of when the simulator's collateral is in date.
fn at() -> u64 {
    now()
}

#[test]
fn a_card_is_signed_without_what_is_empty_in_canonical_form() {
    let (card, _) = good();
    let canonical = String::from_utf8(card.canonical().to_vec()).unwrap();
    assert_eq!(
        canonical,
        r#"{"capabilities":{"extensions":[{"params":{"evidenceUrl":"https://host.example/a2a/weather/evidence"},"uri":"urn:hypervisor:a2a:evidence:v1"}],"streaming":true},"description":"Tells the weather. ☂","name":"weather","version":"1.0.0"}"#
    );
    assert_eq!(
        (card.name(), card.version()),
        (Some("weather"), Some("1.0.0"))
    );
}

#[test]
fn the_signers_thumbprint_is_that_of_rfc_7638() {
    // The key of RFC 7517, appendix A.1; its thumbprint was computed apart from this program.
    let key = json!({
        "kty": "EC", "crv": "P-256", "kid": "1", "use": "enc",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    });
    let (_, signer) = signature::p256_key(key.as_object().unwrap()).unwrap();
    assert_eq!(
        signer.to_string(),
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
    );
}

#[test]
fn an_altered_card_is_refused() {
    let key = key(1);
    let keys = json!({ "keys": [jwk(&key, "k")] });
    let mut altered: Value = serde_json::from_slice(&signed(card(), &key, &header())).unwrap();
    altered["description"] = json!("Tells another.");
    let error = verified(altered.to_string().as_bytes(), &keys).unwrap_err();
    assert_eq!(names(&error), ["signature"]);
    assert!(error.is_verification_failure());
}

#[test]
fn a_key_that_is_not_the_signers_is_refused() {
    let card = signed(card(), &key(1), &header());
    for (keys, check) in [
        (json!({ "keys": [jwk(&key(2), "k")] }), "signature"),
        (json!({ "keys": [jwk(&key(1), "other")] }), "key"),
        (json!({ "keys": [{ "kty": "RSA", "kid": "k" }] }), "key"),
        (json!({ "keys": [] }), "key"),
        (json!([]), "key"),
    ] {
        assert_eq!(
            names(&verified(&card, &keys).unwrap_err()),
            [check],
            "{keys}"
        );
    }
}

#[test]
fn a_card_that_nobody_signed_in_a_way_that_is_known_is_refused() {
    let unsigned = Card::parse(card().to_string().as_bytes()).unwrap();
    assert_eq!(
        names(&signature::signatures(&unsigned).err().unwrap()),
        ["signature"]
    );
    for (member, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("jku", Value::Null),
        ("kid", json!(1)),
    ] {
        let mut header = header();
        header[member] = value;
        let card = Card::parse(&signed(card(), &key(1), &header)).unwrap();
        let error = signature::signatures(&card).err().unwrap();
        assert_eq!(names(&error), ["signature"], "{member}");
    }
}

#[test]
fn a_card_sends_its_verifier_nowhere_but_below_itself() {
    let base = base("https://host.example/a2a/weather/.well-known/agent-card.json?x#y").unwrap();
    assert_eq!(base.as_str(), "https://host.example/a2a/weather/");
    for bare in [
        "https://host.example/a2a/weather",
        "https://host.example/a2a/weather/",
    ] {
        assert_eq!(super::base(bare).unwrap(), base);
    }
    let place = |url| below(&base, url, "it").ok();
    assert_eq!(
        place("https://host.example/a2a/weather/evidence?a=b").as_deref(),
        Some("evidence?a=b")
    );
    assert_eq!(place("evidence").as_deref(), Some("evidence"));
    for elsewhere in [
        "https://evil.example/a2a/weather/evidence",
        "http://host.example/a2a/weather/evidence",
        "https://host.example:444/a2a/weather/evidence",
        "https://host.example/a2a/other/evidence",
        "https://host.example/a2a/weather/../other/evidence",
        "https://host.example/a2a/weather//evil.example/",
        "https://host.example/a2a/weather/https:evil",
        "//evil.example/a2a/weather/",
        "..",
    ] {
        assert_eq!(place(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn a_component_that_answers_for_the_host_vouches_for_its_card() {
    let (host, (card, signer)) = (Host::start(), good());
    let claimed = claim(&card, &signer, &nonce(9));
    let evidence = host.evidence(&claimed, FRONT_BYTES);
    let vouched = judge(card, signer, &nonce(9), (&evidence, &host.policy(), at()));
    let vouched = vouched.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(vouched.names, ["protocol/a2a"]);
    assert_eq!(
        vouched.component,
        LogEntry::new("it", FRONT_BYTES, Vec::new()).digest.0
    );
    assert!(vouched.verdict.passed());
}

#[test]
fn evidence_of_another_card_key_or_nonce_is_refused() {
    let host = Host::start();
    let (card, signer) = good();
    let other_card = Card::parse(br#"{"name":"other"}"#).unwrap();
    let (_, other_signer) = {
        let keys = json!({ "keys": [jwk(&key(2), "k")] });
        verified(&signed(super::tests::card(), &key(2), &header()), &keys).unwrap()
    };
    for claimed in [
        claim(&other_card, &signer, &nonce(9)),
        claim(&card, &other_signer, &nonce(9)),
        claim(&card, &signer, &nonce(8)),
    ] {
        let evidence = host.evidence(&claimed, FRONT_BYTES);
        let judged = judge(
            card.clone(),
            signer.clone(),
            &nonce(9),
            (&evidence, &host.policy(), at()),
        );
        assert_eq!(names(&judged.unwrap_err()), ["claim"]);
    }
}

#[test]
fn an_agent_that_makes_the_same_claim_is_refused() {
    let agent = b"an agent that anybody deployed";
    let host = Host::of(&[("protocol/a2a", FRONT_BYTES), ("agent/weather", agent)]);
    let (card, signer) = good();
    let claimed = claim(&card, &signer, &nonce(9));
    for component in [&agent[..], b"a script that nobody measured"] {
        let evidence = host.evidence(&claimed, component);
        let judged = judge(
            card.clone(),
            signer.clone(),
            &nonce(9),
            (&evidence, &host.policy(), at()),
        );
        assert_eq!(names(&judged.unwrap_err()), ["component"]);
    }
}

#[test]
fn a_host_that_is_not_what_the_policy_wants_vouches_for_nothing() {
    let (host, (card, signer)) = (Host::start(), good());
    let claimed = claim(&card, &signer, &nonce(9));
    let evidence = host.evidence(&claimed, FRONT_BYTES);
    let mut policy = host.policy();
    policy.rules.tdx.reference.clear();
    let judged = judge(
        card.clone(),
        signer.clone(),
        &nonce(9),
        (&evidence, &policy, at()),
    );
    assert!(names(&judged.unwrap_err()).contains(&"measurements"));
    let judged = judge(
        card,
        signer,
        &nonce(9),
        (b"no evidence", &host.policy(), at()),
    );
    assert_eq!(names(&judged.unwrap_err()), ["evidence"]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_card_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), keys in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(card) = Card::parse(&bytes) && let Ok(all) = signature::signatures(&card) {
            for signature in all {
                let _ = signature.verify(&card, &keys);
            }
        }
    }

    #[test]
    fn an_altered_card_or_set_of_keys_is_read_or_refused(at: prop::sample::Index, byte: u8, in_keys: bool) {
        let key = key(1);
        let mut card = signed(card(), &key, &header());
        let mut keys = json!({ "keys": [jwk(&key, "k")] }).to_string().into_bytes();
        let bytes = if in_keys { &mut keys } else { &mut card };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(card) = Card::parse(&card) && let Ok(all) = signature::signatures(&card) {
            for signature in all {
                let _ = signature.verify(&card, &keys);
            }
        }
    }

    #[test]
    fn any_place_is_below_the_card_or_refused(url in "(https://host.example)?[a-z0-9./:@?#%-]{0,40}") {
        let base = base("https://host.example/a2a/weather/").unwrap();
        if let Ok(place) = below(&base, &url, "it") {
            let joined = base.join(&place).unwrap();
            prop_assert!(joined.as_str().starts_with(base.as_str()), "{}", joined);
        }
    }
}
