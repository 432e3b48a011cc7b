//! What a good simulated quote is: right for a verifier that trusts its root, and refused by every other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dcap_qvl::QuotePolicy;
use dcap_qvl::verify::QuoteVerifier;
use hypervisor_simulated::{QuoteBody, Simulator};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;
const REPORT_DATA: [u8; 64] = [0x5a; 64];

const BODIES: [QuoteBody; 4] = [
    QuoteBody::V4,
    QuoteBody::V5Td10,
    QuoteBody::V5Td15,
    QuoteBody::V5Td15Ex,
];

fn simulator(body: QuoteBody) -> Simulator {
    Simulator::builder(b"accepted").body(body).build().unwrap()
}

#[test]
fn its_own_root_verifies_it() {
    for body in BODIES {
        let simulator = simulator(body);
        let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
        let report = QuoteVerifier::new(simulator.root().to_vec())
            .verify(&quote, simulator.collateral(), NOW)
            .unwrap();
        assert_eq!(report.status, "UpToDate", "{body:?}");
        assert_eq!(report.report.as_td10().unwrap().report_data, REPORT_DATA);
    }
}

#[test]
fn the_strict_policy_accepts_it() {
    for body in BODIES {
        let simulator = simulator(body);
        let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
        let claims = QuoteVerifier::new(simulator.root().to_vec())
            .verify_with_policy(
                &quote,
                simulator.collateral(),
                NOW,
                &QuotePolicy::strict(NOW),
            )
            .unwrap();
        assert_eq!(claims.tcb.eval_data_number, 20, "{body:?}");
    }
}

#[test]
fn the_vendors_root_refuses_it() {
    for body in BODIES {
        let simulator = simulator(body);
        let quote = simulator.raw_quote(&REPORT_DATA).unwrap();
        let error = QuoteVerifier::new_prod()
            .verify(&quote, simulator.collateral(), NOW)
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("Crl"),
            "{body:?}: refused for another reason: {error:#}"
        );
    }
}
