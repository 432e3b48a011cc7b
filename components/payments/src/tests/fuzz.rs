//! Fuzz targets (`make fuzz`); as tests they read their seeds and a thousand inputs at random.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bolero::check;

use super::kit::{NOW, Purse, Shop, SoftCrypto, evm_terms, header, plain, read_evm, upto, usdc};
use super::solana::kit::{self as solana, CURRENT};
use crate::api::{AuthorizedPayment, Settlement};
use crate::facilitator::{self, Expected, Settled, Verified};
use crate::header::Version;
use crate::ports::Answer;
use crate::svm::message;
use crate::{evm, payment, settle, verify};

/// The JSON of a payment, in the headers of both versions.
#[test]
fn x402_headers() {
    check!(name = "x402_headers").for_each(|json: &[u8]| {
        let value = STANDARD.encode(json);
        for name in ["PAYMENT-SIGNATURE", "X-PAYMENT"] {
            let headers = [header(name, &value)];
            let _ = payment::read(&headers);
            let Some(read) = read_evm(&headers) else {
                continue;
            };
            let offers = [usdc(), plain(), upto()];
            verify::identify(&headers, &offers, &SoftCrypto);
            let terms = evm_terms(&offers);
            let chosen = verify::choose(&read, &terms, NOW, &SoftCrypto);
            // What is taken pays who sells, whatever else is said.
            if chosen.unwrap().is_ok() {
                let to = evm::address(&usdc().pay_to).unwrap();
                assert_eq!(read.authorization.to, to);
            }
        }
    });
}

/// What a facilitator answers.
#[test]
fn x402_facilitators() {
    let authorized = Shop::new().authorized(&Purse::new(&usdc()).v2());
    let expected = Expected::new(Version::V2, &authorized).unwrap();
    check!(name = "x402_facilitators").for_each(|body: &[u8]| {
        for status in [200, 202, 402, 500] {
            let body = body.to_vec();
            let answer = Answer { status, body };
            let verified = facilitator::read_verified(&answer, &expected);
            let settled = facilitator::read_settled(&answer, &expected);
            if status >= 300 {
                assert_ne!(verified, Verified::Valid);
                assert!(!matches!(settled, Settled::Made(_)));
            }
        }
    });
}

fn reconciled(shop: &Shop, payment: &AuthorizedPayment, text: &[u8]) -> Settlement {
    // One line is one answer; the last is given to whatever is asked beyond.
    let mut bodies: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(32).collect();
    let last = bodies.last().copied().unwrap_or_default();
    bodies.resize(64, last);
    let answers = bodies.into_iter().map(|body| {
        let body = body.to_vec();
        Ok(Answer { status: 200, body })
    });
    settle::reconcile(
        &shop.ports(answers.collect()),
        shop.settings(),
        payment.clone(),
    )
}

/// What the endpoint of a chain answers, line by line.
#[test]
fn x402_chains() {
    let evm = Shop::with_rpc();
    let on_evm = evm.authorized(&Purse::new(&usdc()).v2());
    let svm = solana::shop_with_rpc();
    let on_svm = solana::shop_authorizes(&solana::v2(CURRENT));
    check!(name = "x402_chains").for_each(|text: &[u8]| {
        for (shop, payment) in [(&evm, &on_evm), (&svm, &on_svm)] {
            if let Settlement::Settled(settled) = reconciled(shop, payment, text) {
                // Only what was answered can have settled it.
                let transaction = settled.transaction.as_bytes();
                let mut answers = text.windows(transaction.len());
                assert!(answers.any(|part| part.eq_ignore_ascii_case(transaction)));
            }
        }
    });
}

/// Transactions of Solana.
#[test]
fn solana_messages() {
    check!(name = "solana_messages").for_each(|bytes: &[u8]| {
        if let Ok(read) = message::read(bytes) {
            let data = read
                .instructions
                .iter()
                .map(|it| it.data.len() + it.accounts.len());
            assert!(data.sum::<usize>() + 32 * read.accounts.len() <= bytes.len());
            assert!(bytes.ends_with(read.signed));
        }
    });
}
