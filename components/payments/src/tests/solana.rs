//! Payments on Solana: transactions that the official clients made, what may not be changed of them, facilitators and the chain.
//!
//! The recorded ones are of @x402/svm 2.27.0, made on LiteSVM as devnet; their keys were made for this and hold nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::kit::{Reply, Shop, encode, header, reply};
use crate::api::{ErrorCode, Header, Offer, Settlement, Verification};
use crate::svm::key::{Key, TOKEN_2022};
use crate::svm::{self, code, message};
use crate::{evm, verify};

const NETWORK: &str = svm::NETWORKS[1].1;
const GENESIS: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG";
const FEE_PAYER: &str = "Chd6GJFCtSGqNG1xW2bmzavrqsZDk2katH13UzXHAxHf";
const PAYER: &str = "BGTsKgVJJ6W4QUjDVhnSo2dni1DF9YtkkLqKHTTaWMJD";
const PAYER_KEY: &str = "df78f75bdb9965c10d79a9560950075bef81ee244cfe45ccecbae465b240b2af";
/// By the client of version 2.
const CURRENT: &str = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB2lRD4P+54sONI4ovdJV6cH4r9CIXM12gUMquRCqzFQZt/6E6ibba/NKFdVFjz/fML7zW3dDET/T0U4PCiv+0DgAIBBAit2Ji0JXpUWvpVBf6DnN2r39PzGnXFHoGUuuhglyZlapiK9fGJ36SszG02mBcCpsIaty3tbCnmp6/ajbEZ4RMOZxdARYcb8XQ7SrwWfoVFrF+fKTeZkE4gva1YJpYlzI+AAl87MwLbgtZkytqDSV+glPbgaTzqQPBOIf7XBAvjojtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpruutSnlvzC4V3ExgYbRe2bNz8mrfx5jKfS2MxYGCcY4EBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDY1ZjRjZGYyNjBmMzZlYTFiOWI3ZGYyODQ3ZWYwMDM2AA==";
/// By the client of version 1.
const FIRST: &str = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB2TvlFs0syT5kKwWwwMCOvDnlH9+OMfj8PmKBkL8G6FPRNV4TVcmRR/Fa/WVr9Vcq5t/8sf4vdXd+qwM+UPDUGgAIBBAit2Ji0JXpUWvpVBf6DnN2r39PzGnXFHoGUuuhglyZlapiK9fGJ36SszG02mBcCpsIaty3tbCnmp6/ajbEZ4RMOZxdARYcb8XQ7SrwWfoVFrF+fKTeZkE4gva1YJpYlzI+AAl87MwLbgtZkytqDSV+glPbgaTzqQPBOIf7XBAvjojtELLORIVfxOpM9ATQoLQMrX/7NAaLb8bd5BgjfAC6nAwZGb+UhFzL/7K26csOb57yM5bvF9xJrLEObOkAAAAAFSlNamSkhBk0k6HFg2jh8fDW13bySu4HkH6hAQQVEjQbd9uHXZaGT2cvhRs7reawctIXtX1s3kTqM9YV+/wCpruutSnlvzC4V3ExgYbRe2bNz8mrfx5jKfS2MxYGCcY4EBQAFAiBOAAAFAAkDAQAAAAAAAAAHBAIEAwEKDBAnAAAAAAAABgYAIDVlNmI3ZTQ1OWFkN2NmYjJhZTRhMGExZWE0Y2YzZGRjAA==";
/// A name that a transaction may have.
const NAME: &str =
    "2682QJH8gfjGd8a5dw4ccrFEvn1GUQJUyJTbcBuuabMSzbbtxPajdEPVjsv6xLVP6WZu41kZTqNa8tNotTbMz13s";

fn offer() -> Offer {
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

fn shop() -> Shop {
    let mut shop = Shop::new();
    shop.offers = vec![super::kit::usdc(), offer()];
    shop
}

fn shop_with_rpc() -> Shop {
    let mut shop = shop();
    shop.variables
        .push(("RPC_URLS", format!("{NETWORK}=http://rpc.example/")));
    shop
}

fn accepted() -> Value {
    let offer = offer();
    json!({
        "scheme": "exact", "network": NETWORK, "amount": offer.amount, "asset": offer.asset, "payTo": offer.pay_to,
        "maxTimeoutSeconds": 60, "extra": {"feePayer": FEE_PAYER},
    })
}

fn v2(transaction: &str) -> Vec<Header> {
    let payment =
        json!({"x402Version": 2, "accepted": accepted(), "payload": {"transaction": transaction}});
    vec![header("PAYMENT-SIGNATURE", &encode(&payment))]
}

fn v1(transaction: &str) -> Vec<Header> {
    let payment = json!({
        "x402Version": 1, "scheme": "exact", "network": "solana-devnet", "payload": {"transaction": transaction},
    });
    vec![header("X-PAYMENT", &encode(&payment))]
}

/// A transaction in parts, to be changed, signed anew and put together.
struct Draft {
    prefix: Vec<u8>,
    header: [u8; 3],
    accounts: Vec<Key>,
    blockhash: Key,
    instructions: Vec<(u8, Vec<u8>, Vec<u8>)>,
    lookups: Vec<u8>,
    /// Signatures beside the fee payer's, which is missing, and the payer's.
    further: usize,
    /// Changes the whole of it, once it is signed.
    mend: fn(&mut Vec<u8>),
}

impl Draft {
    /// The transaction of the current client.
    fn recorded() -> Self {
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

    fn transaction(&self) -> String {
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
    fn add(&mut self, key: Key) -> u8 {
        self.accounts.push(key);
        u8::try_from(self.accounts.len() - 1).unwrap()
    }
}

fn key_bytes() -> [u8; 32] {
    evm::any_bytes(&format!("0x{PAYER_KEY}"))
        .unwrap()
        .try_into()
        .unwrap()
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Where the transfer is among the instructions, and its accounts in it.
const TRANSFER: usize = 2;
const SOURCE: usize = 0;
const MINT: usize = 1;
const DESTINATION: usize = 2;
const OWNER: usize = 3;

#[test]
fn what_was_recorded_is_put_together_as_it_was() {
    assert_eq!(Draft::recorded().transaction(), CURRENT);
}

#[test]
fn nothing_may_be_changed_of_a_payment_that_matters() {
    type Change = fn(&mut Draft);
    let rows: [(&str, Change, &str); 36] = [
        ("as it was", |_| (), "good"),
        (
            "a legacy message",
            |d| {
                d.prefix.clear();
                d.lookups.clear();
            },
            "good",
        ),
        (
            "the fee payer's signature is there",
            |d| d.mend = |b| b[1..65].fill(7),
            "good",
        ),
        ("without a note", |d| drop(d.instructions.pop()), "good"),
        (
            "four notes",
            |d| {
                for _ in 0..3 {
                    d.instructions.push(d.instructions[3].clone())
                }
            },
            "good",
        ),
        (
            "the highest price of computation",
            |d| d.instructions[1].2[1..].copy_from_slice(&5_000_000_u64.to_le_bytes()),
            "good",
        ),
        (
            "a bit of the signature",
            |d| d.mend = |b| b[70] ^= 1,
            code::SIGNATURE,
        ),
        (
            "no signature",
            |d| d.mend = |b| b[65..129].fill(0),
            code::SIGNATURE,
        ),
        (
            "another note than was signed",
            |d| {
                d.mend = |b| {
                    let at = b.len() - 2;
                    b[at] ^= 1;
                }
            },
            code::SIGNATURE,
        ),
        (
            "the payer is someone else",
            |d| d.accounts[1] = Key([9; 32]),
            code::SIGNATURE,
        ),
        ("less", |d| d.instructions[TRANSFER].2[1] -= 1, code::AMOUNT),
        ("more", |d| d.instructions[TRANSFER].2[1] += 1, code::AMOUNT),
        (
            "much more",
            |d| d.instructions[TRANSFER].2[8] += 1,
            code::AMOUNT,
        ),
        (
            "to the wallet and not to its account",
            |d| {
                let it = key(&offer().pay_to);
                let it = d.add(it);
                d.instructions[TRANSFER].1[DESTINATION] = it;
            },
            code::RECIPIENT,
        ),
        (
            "to the payer's own account",
            |d| d.instructions[TRANSFER].1[DESTINATION] = d.instructions[TRANSFER].1[SOURCE],
            code::RECIPIENT,
        ),
        (
            "from the account that is paid",
            |d| d.instructions[TRANSFER].1[SOURCE] = d.instructions[TRANSFER].1[DESTINATION],
            code::RECIPIENT,
        ),
        (
            "by the other token program",
            |d| {
                let it = d.add(TOKEN_2022);
                d.instructions[TRANSFER].0 = it;
            },
            code::RECIPIENT,
        ),
        (
            "another token",
            |d| {
                let it = d.add(Key([8; 32]));
                d.instructions[TRANSFER].1[MINT] = it;
            },
            code::MINT,
        ),
        (
            "a program of one's own",
            |d| {
                let it = d.add(Key([8; 32]));
                d.instructions[TRANSFER].0 = it;
            },
            code::NO_TRANSFER,
        ),
        (
            "an approval",
            |d| d.instructions[TRANSFER].2[0] = 13,
            code::NO_TRANSFER,
        ),
        (
            "a transfer with more behind it",
            |d| d.instructions[TRANSFER].2.push(0),
            code::NO_TRANSFER,
        ),
        (
            "by several owners",
            |d| d.instructions[TRANSFER].1.push(0),
            code::NO_TRANSFER,
        ),
        (
            "another fee payer",
            |d| d.accounts[0] = Key([8; 32]),
            code::FEE_PAYER,
        ),
        (
            "the fee payer's tokens",
            |d| d.instructions[TRANSFER].1[OWNER] = 0,
            code::FEE_PAYER_TRANSFERS,
        ),
        (
            "the fee payer as a witness",
            |d| d.instructions[3].1.push(0),
            code::FEE_PAYER_TRANSFERS,
        ),
        (
            "another owner",
            |d| {
                let it = d.add(Key([8; 32]));
                d.instructions[TRANSFER].1[OWNER] = it;
            },
            code::SIGNATURE,
        ),
        (
            "a third signer",
            |d| {
                d.header[0] = 3;
                d.further = 1;
            },
            code::SIGNERS,
        ),
        (
            "too high a price of computation",
            |d| d.instructions[1].2[1..].copy_from_slice(&5_000_001_u64.to_le_bytes()),
            code::COMPUTE_PRICE_TOO_HIGH,
        ),
        (
            "limit and price in another order",
            |d| d.instructions.swap(0, 1),
            code::COMPUTE_LIMIT,
        ),
        (
            "no price",
            |d| drop(d.instructions.remove(1)),
            code::COMPUTE_PRICE,
        ),
        (
            "good for ever, by a durable nonce",
            |d| {
                let it = d.add(Key([0; 32]));
                d.instructions
                    .insert(0, (it, vec![1, 2, 1], vec![4, 0, 0, 0]));
            },
            code::COMPUTE_LIMIT,
        ),
        (
            "a second transfer",
            |d| d.instructions.push(d.instructions[TRANSFER].clone()),
            code::FIFTH_INSTRUCTION,
        ),
        (
            "five notes",
            |d| {
                for _ in 0..4 {
                    d.instructions.push(d.instructions[3].clone())
                }
            },
            code::INSTRUCTIONS,
        ),
        (
            "accounts of a lookup table",
            |d| {
                d.lookups = vec![1];
                d.lookups.extend([5; 32]);
                d.lookups.extend([1, 0, 0]);
            },
            code::LOOKUP_TABLE,
        ),
        (
            "an account that it does not name",
            |d| d.instructions[3].1.push(99),
            code::NOT_DECODED,
        ),
        (
            "a byte behind the end",
            |d| d.mend = |b| b.push(0),
            code::NOT_DECODED,
        ),
    ];
    for (name, change, expected) in rows {
        let mut draft = Draft::recorded();
        change(&mut draft);
        let headers = v2(&draft.transaction());
        if expected == "good" {
            shop_authorizes(&headers);
        } else {
            assert_eq!(shop().refused_offline(&headers).reason, expected, "{name}");
        }
    }
}

#[test]
fn what_is_no_transaction_is_refused() {
    let bytes = STANDARD.decode(CURRENT).unwrap();
    let mut next_version = bytes.clone();
    next_version[129] = 0x81;
    let mut one_signature = bytes.clone();
    one_signature[0] = 1;
    one_signature.drain(1..65);
    for bytes in [
        &[][..],
        &bytes[..bytes.len() - 1],
        &next_version,
        &one_signature,
        &[bytes.as_slice(), &[0; 1232]].concat(),
    ] {
        let refusal = shop().refused_offline(&v2(&STANDARD.encode(bytes)));
        assert_eq!(
            (refusal.reason.as_str(), refusal.challenge.status),
            (code::NOT_DECODED, 400)
        );
    }
    let refusal = shop().refused_offline(&v2(&format!("{CURRENT}%")));
    assert_eq!(refusal.reason, code::NOT_DECODED);
}

fn valid() -> Reply {
    reply(200, &json!({"isValid": true, "payer": PAYER}))
}

fn shop_authorizes(headers: &[Header]) -> crate::api::AuthorizedPayment {
    match shop().verify(headers, vec![valid()]).0.unwrap() {
        Verification::Authorized(payment) => payment,
        Verification::Refused(refusal) => panic!("refused: {}", refusal.reason),
    }
}

#[test]
fn the_transactions_of_the_official_clients_are_good() {
    for (headers, transaction) in [(v2(CURRENT), CURRENT), (v1(FIRST), FIRST)] {
        let payment = shop_authorizes(&headers);
        let bytes = STANDARD.decode(transaction).unwrap();
        let digest = message::digest(message::split(&bytes).unwrap().1);
        assert_eq!(
            [
                &payment.id.chain,
                &payment.id.asset,
                &payment.id.payer,
                &payment.id.nonce
            ],
            [NETWORK, svm::USDC[1].1, PAYER, &evm::text(digest)]
        );
        assert_eq!(payment.amount, "10000");
        assert_eq!(payment.pay_to, offer().pay_to);
        assert_eq!(payment.valid_before, super::kit::NOW + svm::LIFETIME);
    }
}

#[test]
fn who_signed_a_transaction_how_often_makes_no_second_payment_of_it() {
    let id = |transaction: &str| {
        let id = verify::identify(&v2(transaction), &shop().offers, &super::kit::SoftCrypto);
        format!("{:?}", id.unwrap())
    };
    let mut signed = Draft::recorded();
    signed.mend = |bytes| bytes[1..129].fill(7);
    assert_eq!(id(CURRENT), id(&signed.transaction()));
    let named = shop_authorizes(&v2(CURRENT)).id;
    assert_eq!(id(CURRENT), format!("{named:?}"));
    let mut other = Draft::recorded();
    other.instructions[3].2[0] ^= 1;
    assert_ne!(id(CURRENT), id(&other.transaction()));
}

#[test]
fn both_headers_may_carry_one_transaction_and_not_two() {
    let same = [v2(CURRENT), v1(CURRENT)].concat();
    shop_authorizes(&same);
    let different = [v2(CURRENT), v1(FIRST)].concat();
    assert_eq!(shop().refused_offline(&different).reason, "invalid_payload");
    let purse = super::kit::Purse::new(&super::kit::usdc());
    let mixed = [v2(CURRENT), purse.v1()].concat();
    assert_eq!(shop().refused_offline(&mixed).reason, "invalid_payload");
}

#[test]
fn a_transaction_for_what_was_not_offered_is_refused() {
    let mut shop = shop();
    shop.offers.pop();
    for headers in [v2(CURRENT), v1(FIRST)] {
        assert_eq!(shop.refused_offline(&headers).reason, "invalid_network");
    }
}

#[test]
fn the_challenge_names_the_fee_payer_in_either_version() {
    let refusal = shop().refused_offline(&[]);
    let v2 = super::kit::decode(&refusal.challenge.headers, "payment-required");
    assert_eq!(v2["accepts"][1], accepted());
    let v1: Value = serde_json::from_slice(&refusal.challenge.body).unwrap();
    assert_eq!(v1["accepts"][1]["network"], "solana-devnet");
    assert_eq!(v1["accepts"][1]["extra"]["feePayer"], FEE_PAYER);
}

#[test]
fn a_facilitator_without_the_fee_payers_key_is_passed_over_and_the_payer_is_not_blamed() {
    let without = || {
        reply(
            200,
            &json!({"isValid": false, "invalidReason": code::FEE_PAYER_NOT_MANAGED[0]}),
        )
    };
    let mut shop = shop();
    shop.variables[0].1.push_str(" http://two.example");
    let (answer, _) = shop.verify(&v2(CURRENT), vec![without(), valid()]);
    assert!(matches!(answer, Ok(Verification::Authorized(_))));
    let (answer, _) = shop.verify(&v2(CURRENT), vec![without(), without()]);
    match ErrorCode::from(answer.unwrap_err()) {
        ErrorCode::Unavailable(text) => assert!(text.contains("FEE_PAYERS"), "{text}"),
        other => panic!("{other:?}"),
    }
}

fn success() -> Value {
    json!({"success": true, "payer": PAYER, "transaction": NAME, "network": NETWORK})
}

fn result(value: Value) -> Reply {
    reply(200, &json!({"jsonrpc": "2.0", "id": 1, "result": value}))
}

/// The chain has this transaction.
fn chain_has(transaction: &str, error: Value) -> Reply {
    result(json!({"slot": 9, "transaction": [transaction, "base64"], "meta": {"err": error}}))
}

fn listed(entries: &[(&str, u64, Option<&str>)]) -> Reply {
    let entries = entries.iter().map(|(name, time, memo)| {
        json!({"signature": name, "slot": 9, "err": null, "memo": memo, "blockTime": time})
    });
    result(entries.collect())
}

/// The chain's newest final block, this old.
fn newest(time: u64) -> [Reply; 2] {
    [result(json!(9)), result(json!(time))]
}

fn outcome(settlement: Settlement) -> Result<String, String> {
    match settlement {
        Settlement::Settled(receipt) => Ok(receipt.transaction),
        Settlement::Failed(failure) => Err(failure.reason),
        Settlement::Unknown(unknown) => Err(format!("unknown: {}", unknown.reason)),
    }
}

#[test]
fn a_settlement_is_believed_when_the_chain_has_the_message() {
    let payment = || shop_authorizes(&v2(CURRENT));
    let shop = shop_with_rpc();
    let settle = |chain: Vec<Reply>| {
        let replies = [vec![reply(200, &success()), result(json!(GENESIS))], chain].concat();
        outcome(shop.settle(payment(), replies).0)
    };
    assert_eq!(
        settle(vec![chain_has(CURRENT, Value::Null)]).as_deref(),
        Ok(NAME)
    );
    for lie in [
        chain_has(FIRST, Value::Null),
        chain_has(CURRENT, json!({"InstructionError": [2, {"Custom": 1}]})),
    ] {
        let answer = settle(vec![lie]).unwrap_err();
        assert_eq!(
            answer,
            "unknown: the transaction does not hold the transfer"
        );
    }
    let replies = vec![
        reply(200, &success()),
        result(json!("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")),
    ];
    let again = std::iter::repeat_n(replies[1].clone(), 3);
    let (answer, _) = shop.settle(payment(), replies.into_iter().chain(again).collect());
    let answer = outcome(answer).unwrap_err();
    assert!(answer.contains("not one of solana:"), "{answer}");
}

#[test]
fn without_an_endpoint_the_facilitator_is_believed_for_this_network_and_payer_alone() {
    let settle = |answer: &Value| {
        outcome(
            shop()
                .settle(shop_authorizes(&v2(CURRENT)), vec![reply(200, answer)])
                .0,
        )
    };
    assert_eq!(settle(&success()).as_deref(), Ok(NAME));
    for (field, value) in [
        ("payer", "CJ4e9tfPtUsvTAkvafAwnsCtC4kVea6WP51pBWuATRKT"),
        ("network", svm::NETWORKS[0].1),
        ("transaction", super::kit::TRANSACTION),
    ] {
        let mut answer = success();
        answer[field] = value.into();
        assert!(
            settle(&answer).unwrap_err().starts_with("unknown"),
            "{field}"
        );
    }
    let refused = |reason: &str| {
        settle(
            &json!({"success": false, "errorReason": reason, "transaction": "", "network": NETWORK}),
        )
    };
    assert_eq!(refused(code::MINT).unwrap_err(), code::MINT);
    // What is also said of a transaction that was made a moment ago leaves it open.
    for reason in [
        "duplicate_settlement",
        "invalid_exact_svm_transaction_simulation_failed",
        code::TRANSACTION_FAILED,
    ] {
        assert_eq!(refused(reason).unwrap_err(), format!("unknown: {reason}"));
    }
}

#[test]
fn what_became_of_a_transaction_is_found_on_the_account_that_pays() {
    let shop = shop_with_rpc();
    let now = super::kit::NOW;
    let note = Draft::recorded().instructions[3].2.clone();
    let note = format!("[32] {}", String::from_utf8(note).unwrap());
    let ours = (NAME, now, Some(note.as_str()));
    let reconcile = |time: u64, then: Vec<Reply>| {
        let replies = [vec![result(json!(GENESIS))], newest(time).to_vec(), then].concat();
        let (answer, asked) = shop.reconcile(shop_authorizes(&v2(CURRENT)), replies);
        (outcome(answer), asked)
    };

    let other = ("3".repeat(87), now, Some("[1] x"));
    let list = || listed(&[(&other.0, now, other.2), ours]);
    let (made, asked) = reconcile(now, vec![list(), chain_has(CURRENT, Value::Null)]);
    assert_eq!(made.as_deref(), Ok(NAME));
    let bytes = STANDARD.decode(CURRENT).unwrap();
    let source = message::read(&bytes).unwrap().instructions[TRANSFER].accounts[SOURCE];
    let search = &asked[3].1;
    assert_eq!(search["method"], "getSignaturesForAddress");
    assert_eq!(search["params"][0], source.to_string());
    assert_eq!(search["params"][1]["minContextSlot"], 9);

    let (failed, _) = reconcile(now, vec![list(), chain_has(CURRENT, json!("x"))]);
    assert_eq!(failed.unwrap_err(), code::TRANSACTION_FAILED);

    // Still good: it is sent again, which the chain makes harmless.
    let duplicate = json!({"success": false, "errorReason": "duplicate_settlement", "transaction": "", "network": NETWORK});
    let (open, asked) = reconcile(now, vec![listed(&[]), reply(200, &duplicate)]);
    assert_eq!(open.unwrap_err(), "unknown: duplicate_settlement");
    assert_eq!(asked[4].0, "http://one.example/settle");
}

#[test]
fn a_transaction_has_failed_when_the_chain_takes_it_no_more_and_does_not_have_it() {
    let shop = shop_with_rpc();
    let late = super::kit::NOW + svm::LIFETIME + 1;
    let reconcile = |valid: bool, then: Vec<Reply>| {
        let replies = [
            vec![result(json!(GENESIS))],
            newest(late).to_vec(),
            vec![result(json!({"context": {"slot": 9}, "value": valid}))],
            then,
        ]
        .concat();
        outcome(shop.reconcile(shop_authorizes(&v2(CURRENT)), replies).0)
    };
    assert_eq!(
        reconcile(false, vec![listed(&[])]).unwrap_err(),
        code::EXPIRED
    );
    let old = (NAME, super::kit::NOW - 301, None);
    assert_eq!(
        reconcile(false, vec![listed(&[old])]).unwrap_err(),
        code::EXPIRED
    );
    let made = vec![
        listed(&[(NAME, late, None)]),
        chain_has(CURRENT, Value::Null),
    ];
    assert_eq!(reconcile(false, made).as_deref(), Ok(NAME));
    // Not to be told: more transactions than are looked through, or one that the endpoint does not have yet.
    let many = vec![(NAME, late, Some("another")); 1000];
    assert!(
        reconcile(false, vec![listed(&many)])
            .unwrap_err()
            .starts_with("unknown")
    );
    let missing = vec![listed(&[(NAME, late, None)]), result(Value::Null)];
    assert!(
        reconcile(false, missing)
            .unwrap_err()
            .starts_with("unknown")
    );
    // The chain would still take it.
    let pending = json!({"success": false, "errorReason": "settlement_pending", "transaction": NAME, "network": NETWORK});
    let open = vec![listed(&[]), reply(200, &pending)];
    assert_eq!(
        reconcile(true, open).unwrap_err(),
        "unknown: settlement_pending"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn a_transaction_with_any_bytes_changed_is_not_good_unless_it_is_the_same_payment(
        at in 0_usize..520, byte: u8, cut: bool,
    ) {
        let mut bytes = STANDARD.decode(CURRENT).unwrap();
        let at = at % bytes.len();
        let before = bytes[at];
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let headers = v2(&STANDARD.encode(&bytes));
        // The fee payer's signature is not there yet, and anything may stand in its place.
        if !cut && (byte == before || (1..65).contains(&at)) {
            shop_authorizes(&headers);
        } else {
            shop().refused_offline(&headers);
        }
    }
}
