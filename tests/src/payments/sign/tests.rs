//! The signer against the specification's own example, which nobody here signed.

use super::*;

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

fn example(header: &str) -> Value {
    decode_header(header.trim())["payload"].clone()
}

fn examples() -> [Value; 2] {
    [
        example(include_str!(
            "../../../vectors/x402/v2-payment-signature.txt"
        )),
        example(include_str!("../../../vectors/x402/v1-x-payment.txt")),
    ]
}

fn domain() -> Domain {
    Domain {
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        chain_id: 84532,
        contract: USDC.parse().unwrap(),
    }
}

fn authorization(payload: &Value) -> Authorization {
    let field = |name: &str| payload["authorization"][name].as_str().unwrap();
    Authorization {
        from: field("from").parse().unwrap(),
        to: field("to").parse().unwrap(),
        value: field("value").parse().unwrap(),
        valid_after: field("validAfter").parse().unwrap(),
        valid_before: field("validBefore").parse().unwrap(),
        nonce: const_hex::decode_to_array(field("nonce")).unwrap(),
    }
}

fn signature(payload: &Value) -> Vec<u8> {
    const_hex::decode(payload["signature"].as_str().unwrap()).unwrap()
}

fn offer() -> Value {
    json!({
        "scheme": "exact",
        "network": "eip155:84532",
        "amount": "1000",
        "asset": USDC,
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60,
        "extra": {"name": "USDC", "version": "2"},
    })
}

fn recovered(payment: &Payment) -> Option<Address> {
    recover(
        &digest(&payment.domain, &payment.authorization),
        &payment.signature(),
    )
}

#[test]
fn the_specification_s_example_recovers_to_its_payer() {
    for payload in examples() {
        let authorization = authorization(&payload);
        let signer = recover(&digest(&domain(), &authorization), &signature(&payload));
        assert_eq!(signer, Some(authorization.from));
        assert_eq!(
            authorization.from.to_string(),
            payload["authorization"]["from"]
        );
    }
}

#[test]
fn the_example_recovers_to_nobody_we_know_when_any_signed_part_changes() {
    let [payload, _] = examples();
    let changes: [fn(&mut Domain, &mut Authorization); 10] = [
        |domain, _| domain.name.push('C'),
        |domain, _| domain.version.push('0'),
        |domain, _| domain.chain_id += 1,
        |domain, _| domain.contract.0[19] ^= 1,
        |_, authorization| authorization.from.0[0] ^= 1,
        |_, authorization| authorization.to.0[0] ^= 1,
        |_, authorization| authorization.value += 1,
        |_, authorization| authorization.valid_after += 1,
        |_, authorization| authorization.valid_before += 1,
        |_, authorization| authorization.nonce[31] ^= 1,
    ];
    let original = authorization(&payload);
    for (index, change) in changes.into_iter().enumerate() {
        let (mut domain, mut changed) = (domain(), original.clone());
        change(&mut domain, &mut changed);
        let signer = recover(&digest(&domain, &changed), &signature(&payload));
        assert_ne!(signer, Some(original.from), "change {index}");
    }
}

#[test]
fn a_payment_recovers_to_its_signer() {
    let payer = Payer::generate();
    assert_eq!(
        recovered(&Payment::for_offer(&payer, &offer())),
        Some(payer.address())
    );
}

#[test]
fn each_tampering_does_what_it_says() {
    let payer = Payer::generate();
    let mut payment = Payment::for_offer(&payer, &offer());
    let good = payment.signature();
    let mut sign = |tamper: Tamper| {
        payment.tamper = tamper;
        (payment.signature(), recovered(&payment))
    };

    let (high, signer) = sign(Tamper::HighS);
    assert_eq!(high[..32], good[..32]);
    assert_ne!((&high[32..64], high[64]), (&good[32..64], good[64]));
    assert_eq!(
        signer,
        Some(payer.address()),
        "a high s recovers all the same"
    );

    let (low, _) = sign(Tamper::LowV);
    assert_eq!((&low[..64], low[64]), (&good[..64], good[64] - 27));

    let (flipped, signer) = sign(Tamper::FlippedBit);
    assert_eq!(flipped.len(), 65);
    assert_ne!(signer, Some(payer.address()));

    assert_eq!(sign(Tamper::Compact).0.len(), 64);
    let longer = [good.as_slice(), &[0]].concat();
    assert_eq!(sign(Tamper::TooLong).0, longer);
    assert!(sign(Tamper::Empty).0.is_empty());
}
