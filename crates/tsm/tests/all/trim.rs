//! Where quotes end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_evidence::{Error, Quote, QuoteFormat};
use hypervisor_simulated::{QuoteBody, Simulator};
use proptest::prelude::*;

use crate::support::{REPORT_DATA, milan};

const TDX_V4: &[u8] = include_bytes!("../../vectors/tdx_v4.bin");
const TDX_V5: &[u8] = include_bytes!("../../vectors/tdx_v5.bin");

fn report_data(blob: &[u8], at: usize) -> [u8; 64] {
    blob[at..at + 64].try_into().unwrap()
}

#[test]
fn a_real_quote_of_version_4_loses_its_tail() {
    let quote = Quote::tdx(TDX_V4.to_vec(), &report_data(TDX_V4, 568)).unwrap();
    assert_eq!(quote.format, QuoteFormat::TdxV4);
    assert_eq!((quote.bytes.len(), quote.dropped), (4936, 70));
    assert_eq!(quote.bytes, TDX_V4[..4936]);
}

#[test]
fn a_real_quote_of_version_5_ends_where_it_says() {
    let quote = Quote::tdx(TDX_V5.to_vec(), &report_data(TDX_V5, 574)).unwrap();
    assert_eq!(quote.format, QuoteFormat::TdxV5);
    assert_eq!((quote.bytes.len(), quote.dropped), (5247, 0));
}

#[test]
fn every_body_that_is_known_is_cut() {
    for body in [
        QuoteBody::V4,
        QuoteBody::V5Td10,
        QuoteBody::V5Td15,
        QuoteBody::V5Td15Ex,
    ] {
        let simulator = Simulator::builder(b"trim")
            .body(body)
            .tail(100, 0xa5)
            .build()
            .unwrap();
        let blob = simulator.raw_quote(&REPORT_DATA).unwrap();
        let quote = Quote::tdx(blob, &REPORT_DATA).unwrap();
        assert_eq!(quote.dropped, 100, "{body:?}");
    }
}

#[test]
fn a_quote_that_is_cut_short_is_refused() {
    let report_data = report_data(TDX_V4, 568);
    for length in [0, 47, 631, 1019, 1020, 4935] {
        assert!(
            Quote::tdx(TDX_V4[..length].to_vec(), &report_data).is_err(),
            "{length}"
        );
    }
}

/// Changes bytes of a good quote and gives the message of the refusal.
fn refusal(quote: &[u8], at: usize, bytes: &[u8], report_data: &[u8; 64]) -> String {
    let mut quote = quote.to_vec();
    quote[at..at + bytes.len()].copy_from_slice(bytes);
    Quote::tdx(quote, report_data).unwrap_err().to_string()
}

#[test]
fn each_header_field_that_decides_the_length_is_checked() {
    let v4 = report_data(TDX_V4, 568);
    let v5 = report_data(TDX_V5, 574);
    for (quote, data, at, bytes, says) in [
        (TDX_V4, &v4, 0, &[3_u8, 0][..], "version 3"),
        (TDX_V4, &v4, 0, &[0xd8, 0x3d], "version 15832"),
        (TDX_V4, &v4, 2, &[3, 0], "key type 3"),
        (TDX_V4, &v4, 4, &[0, 0, 0, 0], "SGX enclave"),
        (TDX_V4, &v4, 632, &[0xff, 0xff, 0xff, 0xff], "cut off"),
        (TDX_V4, &v4, 632, &[0, 0, 0, 0], "signature data cut off"),
        (TDX_V4, &v4, 764, &[5, 0], "type 5"),
        (TDX_V4, &v4, 766, &[0, 0, 0, 0], "follow the signature data"),
        (TDX_V5, &v5, 48, &[9, 0], "body type 9"),
        (TDX_V5, &v5, 50, &[0, 0, 0, 0], "has 0 bytes"),
        (TDX_V5, &v5, 50, &[0xff, 0xff, 0xff, 0xff], "not 885"),
    ] {
        let message = refusal(quote, at, bytes, data);
        assert!(message.contains(says), "{at}: {message}");
    }
}

#[test]
fn an_snp_report_is_cut_and_checked() {
    let report = milan();
    let data = report_data(&report, 0x50);
    let mut padded = report.clone();
    padded.extend([0xa5; 500]);
    let quote = Quote::snp(padded, None, &data).unwrap();
    assert_eq!((quote.bytes, quote.dropped), (report.clone(), 500));

    assert!(Quote::snp(report[..1183].to_vec(), None, &data).is_err());
    assert_eq!(
        Quote::snp(report.clone(), None, &[0; 64]),
        Err(Error::OtherReportData)
    );
    for (at, byte, says) in [(0, 9, "version 9"), (0x34, 2, "algorithm 2")] {
        let mut report = report.clone();
        report[at] = byte;
        let message = Quote::snp(report, None, &data).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
}

/// One entry of a certificate table.
fn entry(offset: u32, length: u32) -> Vec<u8> {
    let mut entry = vec![7; 16];
    entry.extend(offset.to_le_bytes());
    entry.extend(length.to_le_bytes());
    entry
}

fn certificates(table: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let report = milan();
    let data = report_data(&report, 0x50);
    Ok(Quote::snp(report, Some(table), &data)?.certificates)
}

#[test]
fn bytes_that_no_certificate_claims_are_wiped() {
    let mut table = entry(58, 4);
    table.extend([0; 24]);
    table.extend([0xa5; 10]);
    table.extend(*b"CERT");
    table.extend([0xa5; 10]);
    let cut = certificates(table).unwrap().unwrap();
    assert_eq!(cut.len(), 62);
    assert_eq!(&cut[48..58], [0; 10]);
    assert_eq!(&cut[58..], b"CERT");
}

#[test]
fn a_certificate_table_of_zeros_is_none() {
    assert_eq!(certificates(vec![0; 4096]), Ok(None));
}

#[test]
fn a_certificate_table_that_points_outside_is_refused() {
    for (offset, length) in [(0, 10), (47, 1), (48, 5), (u32::MAX, 1), (48, u32::MAX)] {
        let mut table = entry(offset, length);
        table.extend([0; 24]);
        table.extend(*b"CERT");
        assert!(certificates(table).is_err(), "{offset} {length}");
    }
    let mut long = entry(48, 64 * 1024);
    long.resize(80 * 1024, 0);
    assert!(certificates(long).is_err(), "longer than any chain");
    assert!(certificates(vec![7; 24 * 40]).is_err(), "too many entries");
    assert!(certificates(entry(48, 0)).is_err(), "no last entry");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        blob in proptest::collection::vec(any::<u8>(), 0..2048),
        table in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let _ = Quote::tdx(blob.clone(), &REPORT_DATA);
        let _ = Quote::snp(blob, None, &REPORT_DATA);
        let _ = certificates(table);
    }

    #[test]
    fn a_damaged_quote_never_grows_and_never_panics(
        at in 0..TDX_V5.len(), byte in any::<u8>(), length in 0..=TDX_V5.len(),
    ) {
        let mut blob = TDX_V5.to_vec();
        blob[at] = byte;
        blob.truncate(length);
        if let Ok(quote) = Quote::tdx(blob.clone(), &report_data(TDX_V5, 574)) {
            prop_assert_eq!(quote.bytes.len() + quote.dropped, length);
            prop_assert!(blob.starts_with(&quote.bytes));
        }
    }
}
