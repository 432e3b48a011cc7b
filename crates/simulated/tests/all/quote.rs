//! What is in a simulated quote, and that it is the same every time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::quote::Quote;
use dcap_qvl::verify::QuoteVerifier;
use hypervisor_evidence::{Attester, Backend, extend_and_check};
use hypervisor_simulated::{MARK, QuoteBody, Simulator, USER_DATA, XFAM, attribute};
use proptest::prelude::*;
use x509_cert::Certificate;
use x509_cert::der::Encode;

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;
const REPORT_DATA: [u8; 64] = [0x5a; 64];

fn simulator() -> Simulator {
    Simulator::builder(b"quote").build().unwrap()
}

fn parsed(simulator: &Simulator) -> Quote {
    Quote::parse(&simulator.raw_quote(&REPORT_DATA).unwrap()).unwrap()
}

#[test]
fn the_same_seed_and_options_give_the_same_bytes() {
    let (one, again) = (simulator(), simulator());
    assert_eq!(one.root(), again.root());
    assert_eq!(one.collateral(), again.collateral());
    assert_eq!(
        one.raw_quote(&REPORT_DATA).unwrap(),
        again.raw_quote(&REPORT_DATA).unwrap()
    );
}

#[test]
fn the_root_depends_on_the_seed_alone() {
    let other_options = Simulator::builder(b"quote")
        .body(QuoteBody::V5Td15)
        .debug()
        .revoked_pck()
        .collateral_window(NOW, NOW + 1)
        .build()
        .unwrap();
    assert_eq!(simulator().fingerprint(), other_options.fingerprint());
    let other_seed = Simulator::builder(b"another").build().unwrap();
    assert_ne!(simulator().fingerprint(), other_seed.fingerprint());
}

#[test]
fn the_fingerprint_is_the_same_in_every_version() {
    assert_eq!(
        const_hex::encode(Simulator::builder(b"golden").build().unwrap().fingerprint()),
        "e1bb587774fc01cba083cf0170250cb659bcd9b24aeaa59388f01e7d375cae92"
    );
}

#[test]
fn every_certificate_says_that_it_is_simulated() {
    let simulator = simulator();
    let collateral = simulator.collateral();
    let quote = parsed(&simulator);
    let chains = [
        quote.raw_cert_chain().unwrap(),
        collateral.pck_crl_issuer_chain.as_bytes(),
        collateral.tcb_info_issuer_chain.as_bytes(),
        collateral.qe_identity_issuer_chain.as_bytes(),
    ];
    let lengths = chains.map(|chain| {
        let certificates = Certificate::load_pem_chain(chain).unwrap();
        for certificate in &certificates {
            let subject = certificate.tbs_certificate().subject();
            let name = subject.common_name().unwrap().unwrap();
            assert!(name.value().contains(MARK), "{subject}");
        }
        let root = certificates.last().unwrap();
        assert_eq!(root.to_der().unwrap(), simulator.root());
        certificates.len()
    });
    assert_eq!(lengths, [3, 2, 2, 2]);
}

#[test]
fn the_quote_says_that_it_is_simulated() {
    let quote = parsed(&simulator());
    assert_eq!(quote.header.user_data, USER_DATA);
    assert!(quote.header.user_data.starts_with(b"SIMULATED"));
    let owner = quote.report.as_td10().unwrap().mr_owner;
    assert!(owner.starts_with(b"SIMULATED"));
    assert_eq!(simulator().backend(), Backend::Simulated);
}

#[test]
fn every_chosen_field_is_in_the_report() {
    let simulator = Simulator::builder(b"quote")
        .attributes(attribute::SEPT_VE_DISABLE | attribute::PERFMON)
        .xfam(XFAM | 1 << 12)
        .mrtd([1; 48])
        .registers([[2; 48], [3; 48], [4; 48], [5; 48]])
        .mr_config_id([6; 48])
        .mr_owner_config([7; 48])
        .build()
        .unwrap();
    let quote = parsed(&simulator);
    let report = quote.report.as_td10().unwrap();
    assert_eq!(u64::from_le_bytes(report.td_attributes), 1 << 28 | 1 << 63);
    assert_eq!(u64::from_le_bytes(report.xfam), XFAM | 1 << 12);
    assert_eq!(report.mr_td, [1; 48]);
    assert_eq!(
        [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3],
        [[2; 48], [3; 48], [4; 48], [5; 48]]
    );
    assert_eq!(report.mr_config_id, [6; 48]);
    assert_eq!(report.mr_owner_config, [7; 48]);
    assert_eq!(report.report_data, REPORT_DATA);
}

#[test]
fn an_extension_shows_in_the_next_quote() {
    let simulator = simulator();
    let value = extend_and_check(&simulator, &[9; 48]).unwrap();
    assert_eq!(simulator.registers()[3], value);
    let quote = parsed(&simulator);
    assert_eq!(quote.report.as_td10().unwrap().rt_mr3, value);
}

#[test]
fn a_tail_is_in_the_drivers_bytes_and_not_in_the_attesters_quote() {
    let simulator = Simulator::builder(b"quote")
        .tail(3065, 0xa5)
        .build()
        .unwrap();
    let raw = simulator.raw_quote(&REPORT_DATA).unwrap();
    let quote = simulator.quote(&REPORT_DATA).unwrap();
    assert_eq!(quote.dropped, 3065);
    assert_eq!(raw.len(), quote.bytes.len() + 3065);
    assert!(raw.ends_with(&[0xa5; 3065]));
    assert_eq!(
        quote.bytes,
        Simulator::builder(b"quote")
            .build()
            .unwrap()
            .raw_quote(&REPORT_DATA)
            .unwrap()
    );
}

#[test]
fn a_quote_of_128_kib_verifies() {
    let simulator = Simulator::builder(b"quote")
        .filler(128 * 1024)
        .build()
        .unwrap();
    let quote = simulator.quote(&REPORT_DATA).unwrap();
    assert!(quote.bytes.len() > 128 * 1024);
    assert_eq!(quote.dropped, 0);
    QuoteVerifier::new(simulator.root().to_vec())
        .verify(&quote.bytes, simulator.collateral(), NOW)
        .unwrap();
}

#[test]
fn a_driver_with_a_delay_takes_at_least_as_long_for_each_quote() {
    let delay = Duration::from_millis(5);
    let simulator = Simulator::builder(b"quote")
        .driver_delay(delay)
        .build()
        .unwrap();
    let started = Instant::now();
    let slow = std::thread::scope(|scope| {
        let quotes = [(); 2].map(|()| scope.spawn(|| simulator.quote(&REPORT_DATA).unwrap()));
        quotes.map(|quote| quote.join().unwrap())
    });
    assert!(started.elapsed() >= delay * 2);
    let quick = self::simulator().quote(&REPORT_DATA).unwrap();
    assert_eq!(slow, [quick.clone(), quick]);
}

#[test]
fn the_collateral_survives_json() {
    let simulator = simulator();
    let json = simulator.collateral_json().unwrap();
    let read: QuoteCollateralV3 = serde_json::from_str(&json).unwrap();
    assert_eq!(&read, simulator.collateral());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_seed_and_report_data_verify(
        seed in proptest::collection::vec(any::<u8>(), 0..64),
        report_data in proptest::array::uniform32(any::<u8>()),
    ) {
        let mut whole = [0; 64];
        whole[32..].copy_from_slice(&report_data);
        let simulator = Simulator::builder(&seed).build().unwrap();
        let quote = simulator.raw_quote(&whole).unwrap();
        let report = QuoteVerifier::new(simulator.root().to_vec())
            .verify(&quote, simulator.collateral(), NOW)
            .unwrap();
        prop_assert_eq!(report.report.as_td10().unwrap().report_data, whole);
    }
}
