//! Signing in as who paid: with what was overheard, made up, or meant for something else.

use hypervisor_tests::Answer;
use hypervisor_tests::payments::official;
use hypervisor_tests::payments::sign::{decode_header, encode_header};

use crate::payments::agents::Call;
use crate::payments::kit::reason;
use crate::payments::sign_in::{PUBLIC, buy, declared, proof, shop, signed};

/// It got nothing but the price.
fn got_nothing(answer: &Answer, why: &str) {
    assert_eq!((answer.status, reason(answer).as_str()), (402, why));
    assert!(!answer.headers.contains_key("payment-response"));
}

#[tokio::test]
async fn a_proof_that_was_overheard_opens_nothing_after_its_sender_used_it() {
    let shop = shop("").await;
    let payer = shop.chain.payer(0);
    let call = Call::post(&shop, "http-echo", b"mine");
    let other = Call::post(&shop, "http-echo", b"mine too");
    for call in [&call, &other] {
        buy(&shop, call).await;
    }
    let overheard = proof(&call, payer).await;
    assert_eq!(signed(&call, &overheard).await.body, b"mine");
    got_nothing(&signed(&call, &overheard).await, "payment_required");
    // Not for another purchase of the same account's either, at the same path or another.
    got_nothing(&signed(&other, &overheard).await, "payment_required");
    let elsewhere = Call::get(&shop, "http-echo", "/elsewhere");
    buy(&shop, &elsewhere).await;
    let meant = proof(&elsewhere, payer).await;
    got_nothing(&signed(&call, &meant).await, "invalid_siwx_uri_mismatch");
    // Of two that are sent at once one is answered.
    let twice = proof(&call, payer).await;
    let (one, two) = tokio::join!(signed(&call, &twice), signed(&call, &twice));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 402]);
    assert_eq!(shop.chain.transfers().await.len(), 3);
}

#[tokio::test]
async fn a_proof_that_is_made_up_is_told_why_it_proves_nothing_and_who_paid_still_gets_the_answer()
{
    let shop = shop("").await;
    let (alice, mallory) = (shop.chain.payer(0), shop.chain.payer(1));
    let call = Call::post(&shop, "http-echo", b"hers");
    buy(&shop, &call).await;
    let own = proof(&call, mallory).await;
    let forged = |change: fn(&mut serde_json::Value, &str)| {
        let mut forged = decode_header(&own);
        change(&mut forged, &alice.address().to_string());
        encode_header(&forged)
    };
    let claimed = forged(|it, alice| it["address"] = alice.into());
    got_nothing(&signed(&call, &claimed).await, "invalid_siwx_signature");
    let older = forged(|it, _| it["nonce"] = "0".repeat(32).into());
    got_nothing(&signed(&call, &older).await, "invalid_siwx_expiration_time");
    got_nothing(&signed(&call, "e30=").await, "invalid_siwx_nonce");
    got_nothing(&signed(&call, "no base64").await, "invalid_siwx_header");
    let huge = "A".repeat(13 * 1024);
    got_nothing(&signed(&call, &huge).await, "invalid_siwx_header");
    // What alice signed for a site that looks like this one.
    let mut lure = declared(&call).await;
    lure["info"]["domain"] = "shop.example.evil".into();
    lure["info"]["uri"] = "https://shop.example.evil/agents/http-echo/".into();
    let lured = official::proof(alice, &lure).await;
    got_nothing(&signed(&call, &lured).await, "invalid_siwx_domain_mismatch");
    let mut dressed = decode_header(&lured);
    dressed["domain"] = "shop.example".into();
    dressed["uri"] = format!("{PUBLIC}/agents/http-echo/").into();
    let dressed = signed(&call, &encode_header(&dressed)).await;
    got_nothing(&dressed, "invalid_siwx_signature");
    let hers = signed(&call, &proof(&call, alice).await).await;
    assert_eq!((hers.status, &*hers.body), (200, &b"hers"[..]));
}

#[tokio::test]
async fn an_agent_sees_no_proof() {
    let shop = shop("").await;
    let payer = shop.chain.payer(0);
    let call = Call::get(&shop, "http-echo", "/info");
    let payment = call
        .payment(&shop, hypervisor_tests::payments::Version::V2)
        .await;
    let (name, value) = payment.header();
    let proof = proof(&call, payer).await;
    let answer = call
        .send(&[(name, &value), ("Sign-In-With-X", &proof)])
        .await;
    assert_eq!(answer.status, 200);
    let seen = String::from_utf8_lossy(&answer.body).to_lowercase();
    assert!(seen.contains("x-forwarded-prefix"), "{seen}");
    assert!(!seen.contains("sign-in-with-x") && !seen.contains(&proof.to_lowercase()));
}
