//! What components of the operator's answer the host with, by WIT.

use hypervisor_fuzz_kit::plugin::{self, Outcome, Settlement};

/// What a payment component says of a payment, held against it; the answer that asks for one.
pub(crate) fn payments(bytes: &[u8]) {
    let Ok((payment, offers, settlement, challenge)) = plugin::given(bytes) else {
        return;
    };
    assert_eq!(plugin::there_and_back(&payment), payment);
    assert_eq!(
        plugin::outcome(&payment, None),
        Outcome::Unknown(Box::new(payment.clone()))
    );
    match plugin::outcome(&payment, Some(settlement.clone())) {
        Outcome::Settled { headers, .. } => {
            let Settlement::Settled(receipt) = settlement else {
                panic!("nobody said so: {settlement:?}");
            };
            assert_eq!(
                (receipt.id, receipt.amount),
                (payment.id.clone(), payment.amount.clone())
            );
            kept(&headers);
        }
        Outcome::Failed { headers } => {
            assert!(matches!(settlement, Settlement::Failed(_)));
            kept(&headers);
        }
        // What it is settled with may be another by now, and nothing else of it.
        Outcome::Unknown(doubt) => {
            let state = payment.state.clone();
            assert_eq!(plugin::Payment { state, ..*doubt }, payment);
        }
    }
    if plugin::is_offered(&offers, &payment) {
        let mut offers = offers.iter();
        assert!(offers.any(|it| it.amount == payment.amount && it.network == payment.id.chain));
    }
    if let Settlement::Failed(failure) = plugin::given(bytes).unwrap().2 {
        let word = plugin::word(&failure.reason);
        let is_code = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        assert!(word.len() <= 80 && word.bytes().all(is_code));
    }
    let body = challenge.body.clone();
    if let Some(response) = plugin::challenged(challenge) {
        assert!(response.status().is_client_error());
        assert_eq!(response.body(), &body);
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        // The connection is the host's.
        for own in [
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
        ] {
            assert!(!headers.contains_key(own), "{own}");
        }
        assert!(headers.len() <= 65);
    }
}

/// No more is kept than a client could be told.
fn kept(headers: &plugin::Fields) {
    let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
    assert!(headers.len() <= 64 && bytes.sum::<usize>() <= 64 << 10);
}
