//! What the tests of payments on Solana share: transactions that the official clients made, and a way to change them.
//!
//! The recorded ones are of @x402/svm 2.27.0, made on LiteSVM as devnet; their keys were made for this and hold nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::api::{AuthorizedPayment, Header, Offer, Verification};
use crate::evm;
use crate::svm::key::Key;
use crate::svm::{self, message};
use crate::tests::kit::{Reply, Shop, encode, header, reply, usdc};

pub const NETWORK: &str = svm::NETWORKS[1].1;
pub const FEE_PAYER: &str = "Chd6GJFCtSGqNG1xW2bmzavrqsZDk2katH13UzXHAxHf";
pub const PAYER: &str = "BGTsKgVJJ6W4QUjDVhnSo2dni1DF9YtkkLqKHTTaWMJD";
pub const PAYER_KEY: &str = "df78f75bdb9965c10d79a9560950075bef81ee244cfe45ccecbae465b240b2af";
/// By the client of version 2.
pub const CURRENT: &str = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB2lRD4P+54sONI4ovdJV6cH4r9CIXM12gUMquRCqzFQZt/6E6ibba/NKFdVFjz/fML7zW3dDET/T0U4PCiv+0DgAIBBAit2Ji0JXpUWvpVBf6DnN2r39PzGnXFHoGUuuhglyZlapiK9fGJ36SszG02mBcCpsIaty3tbCnmp6/ajbEZ4RMOZxdARYcb8XQ7SrwWfoVFrF+fKTeZkE4gva1YJpYlzI+AAl87MwLbgtZkytqDSV+glPbgaTzqQPBOIf7XBAvjojtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpruutSnlvzC4V3ExgYbRe2bNz8mrfx5jKfS2MxYGCcY4EBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDY1ZjRjZGYyNjBmMzZlYTFiOWI3ZGYyODQ3ZWYwMDM2AA==";
/// By the client of version 1.
pub const FIRST: &str = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB2TvlFs0syT5kKwWwwMCOvDnlH9+OMfj8PmKBkL8G6FPRNV4TVcmRR/Fa/WVr9Vcq5t/8sf4vdXd+qwM+UPDUGgAIBBAit2Ji0JXpUWvpVBf6DnN2r39PzGnXFHoGUuuhglyZlapiK9fGJ36SszG02mBcCpsIaty3tbCnmp6/ajbEZ4RMOZxdARYcb8XQ7SrwWfoVFrF+fKTeZkE4gva1YJpYlzI+AAl87MwLbgtZkytqDSV+glPbgaTzqQPBOIf7XBAvjojtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpruutSnlvzC4V3ExgYbRe2bNz8mrfx5jKfS2MxYGCcY4EBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDVlNmI3ZTQ1OWFkN2NmYjJhZTRhMGExZWE0Y2YzZGRjAA==";

pub fn offer() -> Offer {
    Offer {
        scheme: "exact".to_owned(),
        network: NETWORK.to_owned(),
        asset: svm::USDC[1].1.to_owned(),
        amount: "10000".to_owned(),
        pay_to: "CJ4e9tfPtUsvTAkvafAwnsCtC4kVea6WP51pBWuATRKT".to_owned(),
        max_timeout_seconds: 60,
        extra: Some(format!(r#"{{"feePayer":"{FEE_PAYER}"}}"#)),
    }
}

pub fn shop() -> Shop {
    let mut shop = Shop::new();
    shop.offers = vec![usdc(), offer()];
    shop
}

pub fn shop_with_rpc() -> Shop {
    let mut shop = shop();
    shop.variables
        .push(("RPC_URLS", format!("{NETWORK}=http://rpc.example/")));
    shop
}

pub fn accepted() -> Value {
    let offer = offer();
    json!({
        "scheme": "exact", "network": NETWORK, "amount": offer.amount, "asset": offer.asset, "payTo": offer.pay_to,
        "maxTimeoutSeconds": 60, "extra": {"feePayer": FEE_PAYER},
    })
}

pub fn v2(transaction: &str) -> Vec<Header> {
    let payment =
        json!({"x402Version": 2, "accepted": accepted(), "payload": {"transaction": transaction}});
    vec![header("PAYMENT-SIGNATURE", &encode(&payment))]
}

pub fn v1(transaction: &str) -> Vec<Header> {
    let payment = json!({
        "x402Version": 1, "scheme": "exact", "network": "solana-devnet", "payload": {"transaction": transaction},
    });
    vec![header("X-PAYMENT", &encode(&payment))]
}

/// A transaction in parts, to be changed, signed anew and put together.
pub struct Draft {
    pub prefix: Vec<u8>,
    pub header: [u8; 3],
    pub accounts: Vec<Key>,
    pub blockhash: Key,
    pub instructions: Vec<(u8, Vec<u8>, Vec<u8>)>,
    pub lookups: Vec<u8>,
    /// Signatures beside the fee payer's, which is missing, and the payer's.
    pub further: usize,
    /// Changes the whole of it, once it is signed.
    pub mend: fn(&mut Vec<u8>),
}

impl Draft {
    /// The transaction of the current client.
    pub fn recorded() -> Self {
        let bytes = STANDARD.decode(CURRENT).unwrap();
        let transaction = message::read(&bytes).unwrap();
        let index = |key: &Key| {
            let position = transaction.accounts.iter().position(|known| known == key);
            u8::try_from(position.unwrap()).unwrap()
        };
        let instructions = transaction.instructions.iter().map(|instruction| {
            (
                index(&instruction.program),
                instruction.accounts.iter().map(index).collect(),
                instruction.data.to_vec(),
            )
        });
        Self {
            prefix: vec![0x80],
            header: [2, 1, 4],
            blockhash: transaction.blockhash,
            instructions: instructions.collect(),
            accounts: transaction.accounts.clone(),
            lookups: vec![0],
            further: 0,
            mend: |_| (),
        }
    }

    fn message(&self) -> Vec<u8> {
        // Every length here is below 128: one byte.
        let length = |length: usize| u8::try_from(length).unwrap();
        let mut bytes = self.prefix.clone();
        bytes.extend(self.header);
        bytes.push(length(self.accounts.len()));
        bytes.extend(self.accounts.iter().flat_map(|key| key.0));
        bytes.extend(self.blockhash.0);
        bytes.push(length(self.instructions.len()));
        for (program, accounts, data) in &self.instructions {
            bytes.extend([*program, length(accounts.len())]);
            bytes.extend(accounts);
            bytes.push(length(data.len()));
            bytes.extend(data);
        }
        bytes.extend(&self.lookups);
        bytes
    }

    pub fn transaction(&self) -> String {
        let message = self.message();
        let key = SigningKey::from_bytes(&key_bytes());
        let mut bytes = vec![u8::try_from(2 + self.further).unwrap()];
        bytes.extend([0; 64]);
        bytes.extend(key.sign(&message).to_bytes());
        bytes.extend(vec![0; 64 * self.further]);
        bytes.extend(message);
        (self.mend)(&mut bytes);
        STANDARD.encode(bytes)
    }

    /// The number of an account, which is added.
    pub fn add(&mut self, key: Key) -> u8 {
        self.accounts.push(key);
        u8::try_from(self.accounts.len() - 1).unwrap()
    }
}

pub fn key_bytes() -> [u8; 32] {
    evm::any_bytes(&format!("0x{PAYER_KEY}"))
        .unwrap()
        .try_into()
        .unwrap()
}

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub fn valid() -> Reply {
    reply(200, &json!({"isValid": true, "payer": PAYER}))
}

pub fn shop_authorizes(headers: &[Header]) -> AuthorizedPayment {
    match shop().verify(headers, vec![valid()]).0.unwrap() {
        Verification::Authorized(payment) => payment,
        Verification::Refused(refusal) => panic!("refused: {}", refusal.reason),
    }
}
