//! Checks of the chip: its generation, and that the endorsement key is its own, for the firmware that it reports.

use crate::policy::Generation;
use crate::snp::SnpReport;
use crate::verdict::{CheckId, Recorder};
use crate::verify::chain;

use super::{Endorsed, parts};

/// AMD's extensions (AMD 57230, "Versioned Chip Endorsement Key Certificate").
const BOOTLOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";

/// The generation whose root the key stands under must be that of the processor, where the report names it.
pub(super) fn generation(generation: Generation, report: &SnpReport<'_>, recorder: &mut Recorder) {
    let check = recorder
        .check(CheckId::Generation)
        .input("root", generation);
    let Some([family, model, stepping]) = report.cpuid else {
        check.not_applicable("the report's version does not name the processor; its root does");
        return;
    };
    let found = match (family, model) {
        (0x19, 0x00..=0x0f) => Some(Generation::Milan),
        (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Generation::Genoa),
        (0x1a, 0x00..=0x11) => Some(Generation::Turin),
        _ => None,
    };
    check
        .input(
            "processor",
            format_args!("family {family:#x} model {model:#x} stepping {stepping}"),
        )
        .require(found == Some(generation), || {
            "the processor in the report is not of the generation of its root; do not rely on this host".to_owned()
        });
}

/// A small DER INTEGER.
fn integer(value: &[u8]) -> Option<u8> {
    match value {
        [2, 1, value] if *value < 0x80 => Some(*value),
        [2, 2, 0, value] => Some(*value),
        _ => None,
    }
}

/// The chip's id in the certificate: raw, or as a DER OCTET STRING of up to 127 bytes.
fn hardware_id(value: &[u8]) -> &[u8] {
    match value {
        [4, length, id @ ..] if id.len() == usize::from(*length) => id,
        raw => raw,
    }
}

pub(super) fn endorsement(
    endorsed: &Endorsed<'_>,
    report: &SnpReport<'_>,
    recorder: &mut Recorder,
) {
    let vlek = report.is_vlek();
    let reported = parts(endorsed.generation, report.reported_tcb);
    let stated = |oid| chain::extension(endorsed.vek, oid).and_then(integer);
    let firmware = stated(BOOTLOADER) == Some(reported.bootloader)
        && stated(TEE) == Some(reported.tee)
        && stated(SNP) == Some(reported.snp)
        && stated(MICROCODE) == Some(reported.microcode)
        && (reported.fmc.is_none() || stated(FMC) == reported.fmc);
    let check = recorder
        .check(CheckId::Endorsement)
        .input("key", if vlek { "VLEK" } else { "VCEK" })
        .hex("reported_tcb", report.reported_tcb.0)
        .hex("chip_id", report.chip_id);
    if !firmware {
        check.fail("the endorsement key is not of the firmware that the report names; fetch the key's certificate for the reported TCB from AMD");
        return;
    }
    if vlek {
        // A provider's key is of no single chip, and must not pass for one.
        let none = chain::extension(endorsed.vek, HARDWARE_ID).is_none();
        check.require(none, || {
            "the report names a VLEK and the certificate is of a chip; send the VLEK's certificate"
                .to_owned()
        });
        return;
    }
    // Turin has an id of 8 bytes, which the report pads with zeros.
    let same = chain::extension(endorsed.vek, HARDWARE_ID)
        .map(hardware_id)
        .filter(|id| matches!(id.len(), 8 | 64))
        .and_then(|id| report.chip_id.strip_prefix(id))
        .is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    check.require(same, || {
        "the endorsement key is of another chip than the report; fetch this chip's certificate from AMD".to_owned()
    });
}
