//! What may not be changed of a transaction, byte by byte and part by part.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::kit::{CURRENT, Draft, key, offer, shop, shop_authorizes, v2};
use crate::svm::code;
use crate::svm::key::{Key, TOKEN_2022};

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
