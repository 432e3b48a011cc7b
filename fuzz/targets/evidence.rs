//! Evidence: its documents, and the verdict over all of it.

use std::sync::LazyLock;

use hypervisor_evidence::cmw::Collection;
use hypervisor_fuzz_kit::simulated::{self, NOW, key};
use hypervisor_protocol::ContentFormat;
use hypervisor_verify::{
    Binding, ComponentLog, Evidence, Expected, InclusionProof, Policy, Receipt, ReportData,
    Statement, VerifierNonce, Vtpm, manifest, verify,
};

use crate::bounded_by_serde;

const BOTH: [ContentFormat; 2] = [ContentFormat::Json, ContentFormat::Cbor];
/// Base64 and hex are longer than what they stand for, entries of a log are not: a name of one byte takes two allocations.
const TIMES: usize = 64;

/// Each document of evidence by itself.
pub(crate) fn documents(bytes: &[u8]) {
    for format in BOTH {
        if let Ok(read) = bounded_by_serde(bytes, TIMES, || Evidence::decode(format, bytes)) {
            let written = read.encode(format).expect("what was read can be written");
            assert_eq!(Evidence::decode(format, &written).unwrap(), read);
            let _ = Binding::of(&read);
        }
        if let Ok(read) = bounded_by_serde(bytes, TIMES, || format.decode::<Collection>(bytes)) {
            let written = format.encode(&read).unwrap();
            assert_eq!(format.decode::<Collection>(&written).unwrap(), read);
        }
        if let Ok(read) = bounded_by_serde(bytes, TIMES, || ComponentLog::decode(format, bytes)) {
            let written = read.encode(format).unwrap();
            let again = ComponentLog::decode(format, &written).unwrap();
            assert_eq!((again.head(), &again), (read.head(), &read));
        }
        if let Ok(read) = InclusionProof::decode(format, bytes) {
            let written = read.encode(format).unwrap();
            assert_eq!(InclusionProof::decode(format, &written).unwrap(), read);
        }
    }
    if let Ok(read) = Binding::decode(bytes) {
        assert_eq!(read.encode(), bytes, "a binding is written in one way");
        assert_eq!(ReportData::of_encoded(bytes).unwrap(), read.report_data());
    }
    if let Ok(read) = bounded_by_serde(bytes, TIMES, || Vtpm::decode(bytes)) {
        assert_eq!(Vtpm::decode(&read.encode().unwrap()).unwrap(), read);
    }
    assert!(
        Receipt::verify(bytes, &key(9)).is_err(),
        "nobody has this key"
    );
    assert!(
        Statement::verify(bytes, &key(9)).is_err(),
        "nobody has this key"
    );
    if manifest::check(bytes).is_ok() {
        let _ = manifest::program(bytes);
    }
    let _ = VerifierNonce::new(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<VerifierNonce>();
        let _ = Policy::parse(text);
    }
}

static KNOWN: LazyLock<(Evidence, Policy, Expected)> = LazyLock::new(|| {
    (
        simulated::evidence(),
        simulated::policy(),
        simulated::expected(),
    )
});

/// The whole verdict: no evidence passes that has another quote, another binding or another log than the one that is good.
pub(crate) fn verification(bytes: &[u8]) {
    for format in BOTH {
        let Ok(evidence) = Evidence::decode(format, bytes) else {
            continue;
        };
        let (good, policy, expected) = &*KNOWN;
        let verdict = verify(&evidence, policy, expected, NOW);
        let _ = (verdict.to_ear(), verdict.to_string());
        if verdict.passed() {
            assert_eq!(evidence.quote, good.quote);
            assert_eq!(evidence.binding, good.binding);
            assert_eq!(evidence.manifest, good.manifest);
        }
        // The seed itself does, or nothing is held here.
        assert!(verdict.passed() || evidence != *good);
    }
}
