//! What the tests share: an operator with an offer, a client with a key, an HTTP peer that answers by a script.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use alloy_primitives::{Address, U256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde_json::{Value, json};

use crate::api::{
    AuthorizedPayment, Header, Offer, Refusal, ResourceInfo, Settlement, Verification,
};
use crate::contract::{Authorization, address_of, signing_hash};
use crate::error::Error;
use crate::offer::{Method, Terms};
use crate::offered;
use crate::payment::{self, Payment};
use crate::permit2::{EXACT_PROXY, Permit, UPTO_PROXY};
use crate::ports::{Answer, Clock, Crypto, Http, HttpError, Ports, Vouched};
use crate::settings::Settings;
use crate::{evm, payload, settle, verify};

/// The time of most tests.
pub const NOW: u64 = 1_800_000_000;
/// A transaction.
pub const TRANSACTION: &str = "0x00000000000000000000000000000000000000000000000000000000000000aa";

/// secp256k1 in software.
pub struct SoftCrypto;

impl Crypto for SoftCrypto {
    fn sign_vouched(&self, _: &dyn Fn(&Vouched) -> String) -> Option<(String, Vec<u8>)> {
        // A host that proves nothing.
        None
    }

    fn recover(
        &self,
        prehash: &[u8; 32],
        signature: &[u8; 64],
        recovery_id: u8,
    ) -> Result<Option<[u8; 65]>, String> {
        let Ok(signature) = Signature::from_slice(signature) else {
            return Ok(None);
        };
        assert_eq!(signature.normalize_s(), signature, "the host refuses it");
        let id = RecoveryId::from_byte(recovery_id).filter(|id| !id.is_x_reduced());
        let id = id.ok_or("the host refuses this recovery id")?;
        Ok(VerifyingKey::recover_from_prehash(prehash, &signature, id)
            .ok()
            .map(|key| uncompressed(&key)))
    }

    fn ed25519(
        &self,
        key: &[u8; 32],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<bool, String> {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else {
            return Ok(false);
        };
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        Ok(key.verify_strict(message, &signature).is_ok())
    }
}

fn uncompressed(key: &VerifyingKey) -> [u8; 65] {
    key.to_sec1_point(false).as_bytes().try_into().unwrap()
}

/// What a peer does with a request.
pub type Reply = Result<Answer, HttpError>;

/// Answers in the order of a script, and keeps what it was asked.
pub struct Script {
    replies: RefCell<VecDeque<Reply>>,
    requests: RefCell<Vec<(String, Value)>>,
}

impl Http for Script {
    fn post(&self, url: &str, body: &[u8], timeout_ms: u64, limit: usize) -> Reply {
        assert!(timeout_ms > 0, "each request has a deadline");
        let body = serde_json::from_slice(body).unwrap();
        self.requests.borrow_mut().push((url.to_owned(), body));
        let reply = self.replies.borrow_mut().pop_front();
        let reply = reply.unwrap_or_else(|| panic!("nobody expected a request to {url}"))?;
        assert!(reply.body.len() <= limit, "the host's side would refuse it");
        Ok(reply)
    }
}

/// A clock that stands still until somebody waits.
pub struct Stopped(Cell<u64>);

impl Clock for Stopped {
    fn now(&self) -> u64 {
        self.0.get() / 1000
    }

    fn pause(&self, milliseconds: u64) {
        self.0.set(self.0.get() + milliseconds);
    }
}

/// An operator.
pub struct Shop {
    pub offers: Vec<Offer>,
    pub info: ResourceInfo,
    pub variables: Vec<(&'static str, String)>,
    pub now: u64,
}

impl Shop {
    /// One offer, one facilitator, no RPC endpoint.
    pub fn new() -> Self {
        Self {
            offers: vec![usdc()],
            info: ResourceInfo {
                url: "https://api.example.com/premium-data".to_owned(),
                description: Some("Data".to_owned()),
                mime_type: Some("application/json".to_owned()),
                metadata: Some(r#"{"tags":["x"],"outputSchema":{"type":"object"}}"#.to_owned()),
            },
            variables: vec![("FACILITATORS", "http://one.example".to_owned())],
            now: NOW,
        }
    }

    pub fn with_two_facilitators() -> Self {
        let mut shop = Self::new();
        shop.variables[0].1.push_str(" http://two.example/x402/");
        shop
    }

    pub fn with_rpc() -> Self {
        let mut shop = Self::new();
        let pair = "eip155:84532=http://rpc.example/".to_owned();
        shop.variables.push(("RPC_URLS", pair));
        shop
    }

    pub fn settings(&self) -> Result<Settings, Error> {
        Settings::from_variables(|name| {
            let found = self.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        })
    }

    pub fn ports(&self, replies: Vec<Reply>) -> Ports<SoftCrypto, Script, Stopped> {
        Ports {
            crypto: SoftCrypto,
            http: Script {
                replies: RefCell::new(replies.into()),
                requests: RefCell::default(),
            },
            clock: Stopped(Cell::new(self.now * 1000)),
        }
    }

    /// Verifies; every reply of the script must have been asked for. Returns what was asked, too.
    pub fn verify(
        &self,
        headers: &[Header],
        replies: Vec<Reply>,
    ) -> (Result<Verification, Error>, Asked) {
        let ports = self.ports(replies);
        let settings = self.settings().unwrap();
        let answer = verify::verify(&ports, &settings, &self.info, &self.offers, headers);
        (answer, asked(ports))
    }

    /// What a good payment becomes.
    pub fn authorized(&self, headers: &[Header]) -> AuthorizedPayment {
        match self.verify(headers, vec![valid()]).0.unwrap() {
            Verification::Authorized(payment) => payment,
            Verification::Refused(refusal) => panic!("refused: {}", refusal.reason),
        }
    }

    /// Verifies what is refused before any network.
    pub fn refused_offline(&self, headers: &[Header]) -> Refusal {
        match self.verify(headers, vec![]).0.unwrap() {
            Verification::Refused(refusal) => refusal,
            Verification::Authorized(_) => panic!("authorized"),
        }
    }

    pub fn settle(&self, payment: AuthorizedPayment, replies: Vec<Reply>) -> (Settlement, Asked) {
        let ports = self.ports(replies);
        let settlement = settle::settle(&ports, self.settings(), payment);
        (settlement, asked(ports))
    }

    pub fn settle_part(
        &self,
        payment: AuthorizedPayment,
        amount: &str,
        replies: Vec<Reply>,
    ) -> (Settlement, Asked) {
        let ports = self.ports(replies);
        let settlement = settle::settle_part(&ports, self.settings(), payment, amount.to_owned());
        (settlement, asked(ports))
    }

    pub fn reconcile(
        &self,
        payment: AuthorizedPayment,
        replies: Vec<Reply>,
    ) -> (Settlement, Asked) {
        let ports = self.ports(replies);
        let settlement = settle::reconcile(&ports, self.settings(), payment);
        (settlement, asked(ports))
    }
}

/// The payment in the headers, which is one on an EVM chain.
pub fn read_evm(headers: &[Header]) -> Option<payload::Payment> {
    match payment::read(headers) {
        Ok(Some(Payment::Evm(payment))) => Some(payment),
        _ => None,
    }
}

/// What `offers` are on EVM chains.
pub fn evm_terms(offers: &[Offer]) -> Vec<Terms> {
    offered::evm(&offered::check(offers).unwrap())
}

/// The requests of a call: URL and body.
pub type Asked = Vec<(String, Value)>;

fn asked(ports: Ports<SoftCrypto, Script, Stopped>) -> Asked {
    assert!(
        ports.http.replies.borrow().is_empty(),
        "fewer requests than the script has replies"
    );
    ports.http.requests.into_inner()
}

/// Where the requests went.
pub fn urls(asked: &Asked) -> Vec<&str> {
    asked.iter().map(|(url, _)| url.as_str()).collect()
}

/// 0.01 USDC on Base Sepolia: the offer of the specification's examples.
pub fn usdc() -> Offer {
    Offer {
        scheme: "exact".to_owned(),
        network: "eip155:84532".to_owned(),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
        amount: "10000".to_owned(),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
        max_timeout_seconds: 60,
        extra: Some(r#"{"name":"USDC","version":"2"}"#.to_owned()),
    }
}

/// The account by which the facilitator settles.
pub const FACILITATOR: &str = "0x3333333333333333333333333333333333333333";

/// The same price in a token that is paid by Permit2.
pub fn plain() -> Offer {
    Offer {
        extra: Some(r#"{"assetTransferMethod":"permit2"}"#.to_owned()),
        ..usdc()
    }
}

/// At most 0.01 USDC.
pub fn upto() -> Offer {
    let extra = json!({
        "name": "USDC", "version": "2",
        "assetTransferMethod": "permit2", "facilitatorAddress": FACILITATOR,
    });
    Offer {
        scheme: "upto".to_owned(),
        extra: Some(extra.to_string()),
        ..usdc()
    }
}

/// What is signed for Permit2 where an offer is paid by it.
fn permit(offer: &Offer) -> Option<Permit> {
    let terms = evm_terms(std::slice::from_ref(offer));
    match terms[0].method {
        Method::Eip3009 { .. } => None,
        Method::Permit2 { facilitator } => Some(Permit {
            token: terms[0].asset,
            spender: facilitator.map_or(EXACT_PROXY, |_| UPTO_PROXY),
            facilitator,
        }),
    }
}

/// The client's key.
pub fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

/// The client's address.
pub fn payer() -> Address {
    address_of(&uncompressed(key().verifying_key()))
}

/// A payment as the official clients make it, and what a test changes of it.
pub struct Purse {
    pub offer: Offer,
    pub authorization: Authorization,
    /// The domain that is signed under: that of another offer, for a test.
    pub signed_for: Offer,
    /// Changes the signature's bytes.
    pub mend: fn(Vec<u8>) -> Vec<u8>,
    /// Changes the JSON, once it is signed.
    pub edit: Box<dyn Fn(&mut Value)>,
}

impl Purse {
    pub fn new(offer: &Offer) -> Self {
        Self {
            authorization: Authorization {
                from: payer(),
                to: evm::address(&offer.pay_to).unwrap(),
                value: evm::amount(&offer.amount).unwrap(),
                valid_after: U256::ZERO,
                valid_before: U256::from(NOW + offer.max_timeout_seconds),
                nonce: [9; 32].into(),
                permit: permit(offer),
            },
            offer: offer.clone(),
            signed_for: offer.clone(),
            mend: |signature| signature,
            edit: Box::new(|_| ()),
        }
    }

    fn payload(&self) -> Value {
        let terms = evm_terms(std::slice::from_ref(&self.signed_for));
        let hash = signing_hash(&self.authorization, &terms[0]);
        let (signature, id) = key().sign_prehash_recoverable(&hash.0);
        let mut bytes = signature.to_bytes().to_vec();
        bytes.push(27 + id.to_byte());
        let authorization = &self.authorization;
        if let Some(permit) = &authorization.permit {
            let mut payload = json!({
                "signature": evm::text((self.mend)(bytes)),
                "permit2Authorization": {
                    "from": evm::text(authorization.from),
                    "permitted": {
                        "token": evm::text(permit.token),
                        "amount": authorization.value.to_string(),
                    },
                    "spender": evm::text(permit.spender),
                    "nonce": U256::from_be_bytes(authorization.nonce.0).to_string(),
                    "deadline": authorization.valid_before.to_string(),
                    "witness": {
                        "to": evm::text(authorization.to),
                        "validAfter": authorization.valid_after.to_string(),
                    },
                },
            });
            if let Some(facilitator) = permit.facilitator {
                payload["permit2Authorization"]["witness"]["facilitator"] =
                    evm::text(facilitator).into();
            }
            return payload;
        }
        json!({
            "signature": evm::text((self.mend)(bytes)),
            "authorization": {
                "from": evm::text(authorization.from),
                "to": evm::text(authorization.to),
                "value": authorization.value.to_string(),
                "validAfter": authorization.valid_after.to_string(),
                "validBefore": authorization.valid_before.to_string(),
                "nonce": evm::text(authorization.nonce),
            },
        })
    }

    /// The JSON of version 2.
    pub fn json(&self) -> Value {
        let terms = evm_terms(std::slice::from_ref(&self.offer));
        let mut payment = json!({
            "x402Version": 2,
            "resource": {"url": "https://api.example.com/premium-data"},
            "accepted": terms[0].v2(),
            "payload": self.payload(),
        });
        (self.edit)(&mut payment);
        payment
    }

    /// `PAYMENT-SIGNATURE`.
    pub fn v2(&self) -> Vec<Header> {
        vec![header("PAYMENT-SIGNATURE", &encode(&self.json()))]
    }

    /// The JSON of version 1, on Base Sepolia.
    pub fn v1_json(&self) -> Value {
        let mut payment = json!({
            "x402Version": 1,
            "scheme": "exact",
            "network": "base-sepolia",
            "payload": self.payload(),
        });
        (self.edit)(&mut payment);
        payment
    }

    /// `X-PAYMENT`.
    pub fn v1(&self) -> Vec<Header> {
        vec![header("X-PAYMENT", &encode(&self.v1_json()))]
    }
}

pub fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

pub fn encode(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

/// The JSON in the header of that name.
pub fn decode(headers: &[Header], name: &str) -> Value {
    let found = headers.iter().find(|header| header.name == name);
    let found = found.unwrap_or_else(|| panic!("no header {name}"));
    serde_json::from_slice(&STANDARD.decode(&found.value).unwrap()).unwrap()
}

pub fn answer(status: u16, body: &str) -> Reply {
    Ok(Answer {
        status,
        body: body.as_bytes().to_vec(),
    })
}

pub fn reply(status: u16, body: &Value) -> Reply {
    answer(status, &body.to_string())
}

/// The facilitator finds the payment good.
pub fn valid() -> Reply {
    reply(200, &json!({"isValid": true, "payer": evm::text(payer())}))
}

/// The facilitator has transferred the money.
pub fn success() -> Value {
    json!({
        "success": true,
        "payer": payer().to_string(),
        "transaction": TRANSACTION,
        "network": "eip155:84532",
    })
}

pub fn refused_connection() -> Reply {
    Err(HttpError::NotSent("the connection was refused".to_owned()))
}

pub fn timeout() -> Reply {
    Err(HttpError::Broken("no answer in time".to_owned()))
}

/// Faults that leave it open what a facilitator did.
pub fn faults() -> Vec<(&'static str, Reply)> {
    let truncated = success().to_string();
    vec![
        ("HTML with 502", answer(502, "<html>Bad Gateway</html>")),
        ("HTML with 200", answer(200, "<html>Hello</html>")),
        ("an empty body", answer(200, "")),
        (
            "truncated JSON",
            answer(200, &truncated[..truncated.len() - 2]),
        ),
        ("another JSON", answer(200, "{}")),
        ("a list", answer(200, "[]")),
        ("JSON with 401", answer(401, r#"{"error":"unauthorized"}"#)),
        (
            "not UTF-8",
            Ok(Answer {
                status: 200,
                body: vec![0xff; 64],
            }),
        ),
        ("a timeout", timeout()),
    ]
}
