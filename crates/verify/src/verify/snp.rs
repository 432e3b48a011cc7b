//! Checks of a SEV-SNP report: the chain of trust up to AMD's root, the firmware, the guest and its image.

mod chip;
mod roots;

use const_hex::encode;
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};

use super::{Context, Facts, chain};
use crate::policy::{FirmwareFloor, Generation, PLATFORM_FLAGS, SnpReference, SnpRules};
use crate::report_data::ReportData;
use crate::snp::{SnpReport, Tcb};
use crate::verdict::{CheckId, Recorder};

use roots::Endorsed;

/// What needs a report that can be read.
const OF_THE_REPORT: [CheckId; 10] = [
    CheckId::CertificateChain,
    CheckId::Revocation,
    CheckId::QuoteSignature,
    CheckId::Generation,
    CheckId::Endorsement,
    CheckId::TcbStatus,
    CheckId::Platform,
    CheckId::GuestProtection,
    CheckId::Vmpl,
    CheckId::Measurements,
];

pub(super) fn verify(
    context: &Context<'_>,
    bytes: &[u8],
    certs: &[u8],
    recorder: &mut Recorder,
) -> Option<Facts> {
    recorder.not_applicable(
        &[
            CheckId::QuoteLength,
            CheckId::QeBinding,
            CheckId::QeSignature,
            CheckId::Collateral,
            CheckId::TcbEvaluation,
            CheckId::Advisories,
            CheckId::ServiceTd,
        ],
        "on SEV-SNP other checks cover it",
    );
    if context.evidence.vtpm.is_none() {
        recorder.not_applicable(&[CheckId::BootLog], "on SEV-SNP other checks cover it");
    }
    let rules = &context.policy.rules.snp;
    let report = match SnpReport::parse(bytes) {
        Ok(report) => report,
        Err(error) => {
            recorder.check(CheckId::QuoteForm).fail(format!(
                "{error}; ask the host for evidence again, and do not rely on this one"
            ));
            recorder.blocked(CheckId::QuoteForm, &OF_THE_REPORT);
            return None;
        }
    };
    recorder
        .check(CheckId::QuoteForm)
        .input("version", report.version)
        .require(rules.report_versions.contains(&report.version), || {
            format!(
                "the report has version {}, which the policy does not name; update the platform's firmware, or add it to `snp.report_versions`",
                report.version
            )
        });
    let certificates = chain::from_der(certs);
    let endorsed = roots::verify(context, &certificates, recorder);
    match &endorsed {
        Some(endorsed) => {
            signature(endorsed, &report, recorder);
            chip::generation(endorsed.generation, &report, recorder);
            chip::endorsement(endorsed, &report, recorder);
            firmware(endorsed.generation, endorsed.floor, &report, recorder);
        }
        None => recorder.blocked(
            CheckId::CertificateChain,
            &[
                CheckId::QuoteSignature,
                CheckId::Generation,
                CheckId::Endorsement,
                CheckId::TcbStatus,
            ],
        ),
    }
    platform(rules, &report, recorder);
    // What names a TPM's key is the paravisor's to ask for, and that runs at the highest level; the guest below could make up a TPM.
    let vmpl = match context.evidence.vtpm {
        Some(_) => 0,
        None => rules.vmpl,
    };
    guest(rules, vmpl, &report, recorder);
    measurements(rules, &report, recorder);
    Some(Facts {
        report_data: ReportData::from_bytes(report.report_data),
        register: None,
        register_start: None,
        tcb_evaluation_data_number: None,
    })
}

/// r ‖ s big-endian from two 72-byte little-endian numbers; none when one is above 384 bits.
fn r_s(report: &SnpReport<'_>) -> Option<[u8; 96]> {
    let mut bytes = [0; 96];
    let (r, s) = bytes.split_at_mut(48);
    for (to, from) in [(r, &report.signature.0), (s, &report.signature.1)] {
        let (low, high) = from.split_at(48);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        for (to, from) in to.iter_mut().zip(low.iter().rev()) {
            *to = *from;
        }
    }
    Some(bytes)
}

/// Over the bytes as they came, where AMD's library verifies what it encodes anew.
fn signature(endorsed: &Endorsed<'_>, report: &SnpReport<'_>, recorder: &mut Recorder) {
    let verified = VerifyingKey::from_sec1_bytes(chain::public_key(endorsed.vek))
        .ok()
        .zip(r_s(report).and_then(|bytes| Signature::from_slice(&bytes).ok()))
        .is_some_and(|(key, signature)| key.verify(report.signed, &signature).is_ok());
    recorder
        .check(CheckId::QuoteSignature)
        .require(verified, || {
            "the endorsement key does not sign this report: one of them was exchanged or altered; ask the host for evidence again".to_owned()
        });
}

/// Where a TCB version's parts stand in the eight bytes.
fn parts(generation: Generation, tcb: Tcb) -> FirmwareFloor {
    let [b0, b1, b2, b3, _, _, b6, b7] = tcb.0;
    match generation {
        Generation::Milan | Generation::Genoa => FirmwareFloor {
            fmc: None,
            bootloader: b0,
            tee: b1,
            snp: b6,
            microcode: b7,
        },
        Generation::Turin => FirmwareFloor {
            fmc: Some(b0),
            bootloader: b1,
            tee: b2,
            snp: b3,
            microcode: b7,
        },
    }
}

/// The parts of `found` that are below the floor.
fn below(found: FirmwareFloor, floor: FirmwareFloor) -> Vec<String> {
    [
        ("fmc", found.fmc.unwrap_or(0), floor.fmc.unwrap_or(0)),
        ("bootloader", found.bootloader, floor.bootloader),
        ("tee", found.tee, floor.tee),
        ("snp", found.snp, floor.snp),
        ("microcode", found.microcode, floor.microcode),
    ]
    .into_iter()
    .filter(|(_, found, floor)| found < floor)
    .map(|(name, found, floor)| format!("{name} {found} < {floor}"))
    .collect()
}

/// All four TCBs of the report must reach the floor: what the key stands for, what runs, what can not be undone, and what
/// the guest was launched under.
fn firmware(
    generation: Generation,
    floor: FirmwareFloor,
    report: &SnpReport<'_>,
    recorder: &mut Recorder,
) {
    let mut check = recorder.check(CheckId::TcbStatus);
    let mut faults = Vec::new();
    for (name, tcb) in [
        ("reported", report.reported_tcb),
        ("current", report.current_tcb),
        ("committed", report.committed_tcb),
        ("launch", report.launch_tcb),
    ] {
        check = check.hex(name, tcb.0);
        let low = below(parts(generation, tcb), floor);
        if !low.is_empty() {
            faults.push(format!("{name}: {}", low.join(", ")));
        }
    }
    check.require(faults.is_empty(), || {
        format!(
            "the firmware is below the policy's floor ({}); update the platform's firmware and restart the guest",
            faults.join("; ")
        )
    });
}

fn platform(rules: &SnpRules, report: &SnpReport<'_>, recorder: &mut Recorder) {
    let has = |bit: u32| report.platform_info >> bit & 1 == 1;
    let mut check = recorder.check(CheckId::PlatformFlags).input("smt", has(0));
    let mut faults = Vec::new();
    if has(0) && !rules.allow_smt {
        faults.push("simultaneous multithreading");
    }
    for (name, bit) in PLATFORM_FLAGS {
        check = check.input(name, has(bit));
        if !has(bit) && rules.required_flags.iter().any(|required| required == name) {
            faults.push(name);
        }
    }
    if rules.allow_smt && rules.required_flags.is_empty() {
        check.skip("`snp.allow_smt` is true, and `snp.required_flags` names none");
    } else {
        check.require(faults.is_empty(), || {
            format!(
                "the platform is not as the policy wants it: {}; change its BIOS and firmware, or use another",
                faults.join(", ")
            )
        });
    }
    let check = recorder
        .check(CheckId::Platform)
        .hex("chip_id", report.chip_id);
    match &rules.chips {
        None => check
            .skip("`snp.chips` names no machines: any genuine one is accepted, wherever it stands"),
        Some(chips) => {
            check.require(chips.iter().any(|chip| chip.0 == report.chip_id), || {
                "the machine is not one that the policy names; add its chip id to `snp.chips` if it is yours".to_owned()
            });
        }
    }
}

fn guest(rules: &SnpRules, vmpl: u32, report: &SnpReport<'_>, recorder: &mut Recorder) {
    let bit = |bit: u32| report.policy >> bit & 1 == 1;
    let faults: Vec<&str> = [
        (bit(19), "it can be debugged"),
        (bit(18), "it can be migrated"),
        (
            bit(16) && !rules.allow_smt,
            "it may run with simultaneous multithreading",
        ),
        (bit(21) && !rules.allow_cxl, "its memory may be on CXL"),
    ]
    .into_iter()
    .filter_map(|(present, name)| present.then_some(name))
    .collect();
    recorder
        .check(CheckId::GuestProtection)
        .input("guest_policy", format_args!("{:#x}", report.policy))
        .require(faults.is_empty(), || {
            format!(
                "the guest is not protected as it must be: {}; start it with another guest policy",
                faults.join(", ")
            )
        });
    recorder
        .check(CheckId::Vmpl)
        .input("vmpl", report.vmpl)
        .input("expected", vmpl)
        .require(report.vmpl == vmpl, || {
            format!(
                "the report was asked for at VMPL {}, not {vmpl}; run the host at that level, or set `snp.vmpl`",
                report.vmpl
            )
        });
}

fn measurements(rules: &SnpRules, report: &SnpReport<'_>, recorder: &mut Recorder) {
    let found = [
        ("measurement", encode(report.measurement)),
        ("guest_policy", format!("{:#x}", report.policy)),
        ("host_data", encode(report.host_data)),
        ("id_key_digest", encode(report.id_key_digest)),
        ("author_key_digest", encode(report.author_key_digest)),
        ("family_id", encode(report.family_id)),
        ("image_id", encode(report.image_id)),
    ];
    let check = recorder.check(CheckId::Measurements);
    let _ = check.image("snp", &found, &rules.reference, |r: &SnpReference| {
        let wanted = [
            encode(r.measurement),
            format!("{:#x}", r.guest_policy),
            encode(r.host_data),
            encode(r.id_key_digest),
            encode(r.author_key_digest),
            encode(r.family_id),
            encode(r.image_id),
        ];
        (r.name.as_str(), wanted)
    });
}
