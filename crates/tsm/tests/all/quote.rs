//! Quotes through configfs-tsm.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_evidence::{Attester, Backend, QuoteFormat};
use hypervisor_tsm::{Error, Refusal};
use proptest::prelude::*;
use rustix::io::Errno;

use crate::support::kernel::{Driver, Fault, Kernel};
use crate::support::{REPORT_DATA, open, simulator, snp, tdx};

const TRANSIENT: [(Errno, Refusal); 4] = [
    (Errno::BUSY, Refusal::Busy),
    (Errno::INTR, Refusal::Interrupted),
    (Errno::IO, Refusal::Failed),
    (Errno::TIMEDOUT, Refusal::TimedOut),
];

#[test]
fn a_tdx_quote_is_over_the_report_data_asked_for() {
    let tsm = open(&tdx()).unwrap();
    let quote = tsm.quote(&REPORT_DATA).unwrap();
    assert_eq!(tsm.backend(), Backend::Tdx);
    assert_eq!(quote.format, QuoteFormat::TdxV4);
    assert_eq!(quote.bytes[568..632], REPORT_DATA);
    assert_eq!(quote.dropped, 0);
}

#[test]
fn each_request_has_an_entry_of_its_own_and_removes_it() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    tsm.quote(&REPORT_DATA).unwrap();
    tsm.quote(&REPORT_DATA).unwrap();
    let mut names = kernel.names();
    names.sort();
    names.dedup();
    // One more for the look at the provider when it was opened.
    assert_eq!(names.len(), 3);
    assert_eq!(kernel.entries(), 0);
}

#[test]
fn what_follows_a_quote_never_leaves() {
    for byte in [0, 0xa5] {
        let kernel = tdx();
        let whole = simulator();
        let good = whole.raw_quote(&REPORT_DATA).unwrap();
        let mut padded = good.clone();
        padded.extend([byte; 3065]);
        kernel.fail(Fault::Blob(padded));
        let quote = open(&kernel).unwrap().quote(&REPORT_DATA).unwrap();
        assert_eq!(quote.bytes, good);
        assert_eq!(quote.dropped, 3065);
    }
}

#[test]
fn a_transient_failure_is_tried_again() {
    for (errno, refusal) in TRANSIENT {
        let kernel = tdx();
        kernel.fail(Fault::Errno(errno));
        let tsm = open(&kernel).unwrap();
        assert!(tsm.quote(&REPORT_DATA).is_ok(), "{refusal:?}");
        assert_eq!(kernel.quotes(), 2, "{refusal:?}");
    }
}

#[test]
fn a_lasting_failure_is_named_after_a_bounded_number_of_attempts() {
    for (errno, refusal) in TRANSIENT {
        let kernel = tdx();
        for _ in 0..100 {
            kernel.fail(Fault::Errno(errno));
        }
        let error = open(&kernel).unwrap().quote(&REPORT_DATA).unwrap_err();
        // A time-out has taken the driver 30 seconds each time.
        let attempts = if refusal == Refusal::TimedOut { 2 } else { 4 };
        assert_eq!(
            error,
            Error::Refused {
                cause: refusal,
                attempts
            }
        );
    }
}

#[test]
fn a_refused_request_is_not_tried_again() {
    for (errno, cause) in [
        (Errno::INVAL, Refusal::Invalid),
        (Errno::FBIG, Refusal::TooBig),
    ] {
        let kernel = tdx();
        kernel.fail(Fault::Errno(errno));
        let error = open(&kernel).unwrap().quote(&REPORT_DATA).unwrap_err();
        assert_eq!(error, Error::Refused { cause, attempts: 1 });
    }
}

#[test]
fn no_failure_leaves_an_entry_behind() {
    let faults: Vec<fn() -> Fault> = vec![
        || Fault::Errno(Errno::BUSY),
        || Fault::Errno(Errno::INTR),
        || Fault::Errno(Errno::TIMEDOUT),
        || Fault::Errno(Errno::IO),
        || Fault::Errno(Errno::INVAL),
        || Fault::Errno(Errno::FBIG),
        || Fault::Errno(Errno::NOMEM),
        || Fault::Blob(Vec::new()),
        || Fault::Blob(vec![0xff; 5000]),
        || Fault::Intruder,
    ];
    for fault in faults {
        let kernel = tdx();
        for _ in 0..4 {
            kernel.fail(fault());
        }
        let error = open(&kernel).unwrap().quote(&REPORT_DATA).unwrap_err();
        assert_eq!(kernel.entries(), 0, "{error}");
    }
}

#[test]
fn an_empty_quote_is_an_error() {
    let kernel = tdx();
    kernel.fail(Fault::Blob(Vec::new()));
    assert!(matches!(
        open(&kernel).unwrap().quote(&REPORT_DATA),
        Err(Error::QuoteTooShort { length: 0, .. })
    ));
}

#[test]
fn a_stranger_who_writes_the_entry_is_noticed() {
    let kernel = tdx();
    kernel.fail(Fault::Intruder);
    assert_eq!(
        open(&kernel).unwrap().quote(&REPORT_DATA),
        Err(Error::Generation {
            found: "2".to_owned()
        })
    );
}

#[test]
fn a_quote_over_other_report_data_is_refused() {
    let kernel = tdx();
    kernel.fail(Fault::Blob(simulator().raw_quote(&[1; 64]).unwrap()));
    assert_eq!(
        open(&kernel).unwrap().quote(&REPORT_DATA),
        Err(Error::Quote(hypervisor_evidence::Error::OtherReportData))
    );
}

#[test]
fn more_than_four_megabytes_are_refused() {
    let kernel = tdx();
    kernel.outblob_max(usize::MAX);
    kernel.fail(Fault::Blob(vec![0; 4 * 1024 * 1024 + 1]));
    assert!(matches!(
        open(&kernel).unwrap().quote(&REPORT_DATA),
        Err(Error::TooLarge {
            maximum: 4_194_304,
            ..
        })
    ));
}

#[test]
fn a_quote_as_large_as_the_kernel_passes_on_is_read_whole() {
    let large = hypervisor_simulated::Simulator::builder(b"large")
        .filler(128 * 1024)
        .build()
        .unwrap();
    let kernel = Kernel::new(Driver::Tdx(Box::new(large)));
    kernel.outblob_max(256 * 1024);
    let quote = open(&kernel).unwrap().quote(&REPORT_DATA).unwrap();
    assert!(quote.bytes.len() > 128 * 1024);
    assert_eq!(quote.dropped, 0);
}

#[test]
fn an_unknown_provider_is_refused_by_name() {
    let kernel = Kernel::new(Driver::Other("arm_cca_guest"));
    assert_eq!(
        open(&kernel).unwrap_err(),
        Error::UnsupportedProvider {
            found: "arm_cca_guest".to_owned()
        }
    );
    assert_eq!(kernel.entries(), 0);
}

#[test]
fn a_kernel_without_a_driver_says_so() {
    let kernel = tdx();
    kernel.replace_driver(None);
    assert_eq!(open(&kernel).unwrap_err(), Error::NoProvider);
}

#[test]
fn a_driver_that_goes_away_is_named() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.replace_driver(None);
    assert_eq!(tsm.quote(&REPORT_DATA), Err(Error::NoProvider));
}

#[test]
fn another_driver_than_at_the_start_is_refused() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.replace_driver(Some(Driver::Sev));
    assert_eq!(tsm.quote(&REPORT_DATA), Err(Error::ProviderChanged));
    assert_eq!(kernel.entries(), 0);
}

#[test]
fn a_machine_without_the_interface_says_so() {
    let kernel = tdx();
    kernel.refuse_entries(Errno::NOENT);
    assert!(matches!(open(&kernel), Err(Error::NotOffered { .. })));
}

#[test]
fn a_process_without_permission_is_told() {
    for errno in [Errno::ACCESS, Errno::PERM] {
        let kernel = tdx();
        kernel.refuse_entries(errno);
        assert!(matches!(open(&kernel), Err(Error::NoPermission { .. })));
    }
}

#[test]
fn an_entry_that_stays_is_removed_with_the_next_request() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.stick(1);
    tsm.quote(&REPORT_DATA).unwrap();
    assert_eq!((kernel.entries(), tsm.left_behind()), (1, 1));
    tsm.quote(&REPORT_DATA).unwrap();
    assert_eq!((kernel.entries(), tsm.left_behind()), (0, 0));
}

#[test]
fn entries_that_stay_for_good_stop_the_requests() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.stick(usize::MAX);
    let error = (0..100)
        .find_map(|_| tsm.quote(&REPORT_DATA).err())
        .unwrap();
    assert!(matches!(error, Error::LeftBehind { .. }), "{error}");
    assert!(kernel.entries() < 20);
}

#[test]
fn an_snp_report_comes_with_its_certificates_cut_to_their_end() {
    let kernel = snp();
    let mut table = certificate_table(&[b"vcek", b"ask"]);
    let end = table.len();
    table.extend([0xa5; 4096]);
    kernel.auxblob(table);
    let tsm = open(&kernel).unwrap();
    let quote = tsm.quote(&REPORT_DATA).unwrap();
    assert_eq!(tsm.backend(), Backend::SevSnp);
    assert_eq!(quote.format, QuoteFormat::SevSnp);
    assert_eq!(quote.bytes.len(), 1184);
    assert_eq!(quote.bytes[0x50..0x90], REPORT_DATA);
    assert_eq!(quote.certificates.unwrap().len(), end);
}

#[test]
fn an_snp_report_without_certificates_is_good() {
    let kernel = snp();
    let tsm = open(&kernel).unwrap();
    assert_eq!(tsm.quote(&REPORT_DATA).unwrap().certificates, None);
    kernel.auxblob(Vec::new());
    assert_eq!(tsm.quote(&REPORT_DATA).unwrap().certificates, None);
}

#[test]
fn an_snp_guest_under_a_service_module_is_refused() {
    let kernel = snp();
    kernel.privlevel_floor(2);
    assert_eq!(
        open(&kernel).unwrap().quote(&REPORT_DATA),
        Err(Error::Privilege { floor: 2 })
    );
    assert_eq!(kernel.entries(), 0);
}

/// A table of the GHCB specification.
fn certificate_table(certificates: &[&[u8]]) -> Vec<u8> {
    let mut offset = 24 * (certificates.len() + 1);
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (guid, certificate) in (1..).zip(certificates) {
        table.extend([guid; 16]);
        table.extend(u32::try_from(offset).unwrap().to_le_bytes());
        table.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        data.extend_from_slice(certificate);
        offset += certificate.len();
    }
    table.extend([0; 24]);
    table.extend(data);
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_the_platform_returns_is_no_panic(
        blob in proptest::collection::vec(any::<u8>(), 0..3000),
        aux in proptest::collection::vec(any::<u8>(), 0..200),
        sev in any::<bool>(),
    ) {
        let kernel = if sev { snp() } else { tdx() };
        kernel.auxblob(aux);
        kernel.fail(Fault::Blob(blob));
        let _ = open(&kernel).unwrap().quote(&REPORT_DATA);
        prop_assert_eq!(kernel.entries(), 0);
    }
}
