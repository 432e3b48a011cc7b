//! Checks of the TD itself: how it is protected, and which image it runs.

use const_hex::encode;

use super::boot::Boot;
use crate::evidence::Evidence;
use crate::policy::{TdxReference, TdxRules};
use crate::tdx::TdReport;
use crate::verdict::{CheckId, Recorder};

/// The reference that matches, where one does.
pub(super) fn verify<'a>(
    rules: &'a TdxRules,
    evidence: &Evidence,
    report: &TdReport,
    recorder: &mut Recorder,
) -> Option<&'a TdxReference> {
    guest_protection(rules, report, recorder);
    service_td(rules, report, recorder);
    let boot = Boot::of(evidence, report);
    let found = measurements(rules, report, &boot, recorder);
    let (Ok(nearest) | Err(nearest)) = found.map(Some);
    // A TPM's log leads to its own registers.
    if evidence.vtpm.is_none() {
        boot.check(nearest, recorder);
    }
    found.ok()
}

fn attributes(report: &TdReport) -> u64 {
    u64::from_le_bytes(report.td_attributes)
}

const fn bit(attributes: u64, bit: u32) -> bool {
    attributes >> bit & 1 == 1
}

/// What may never be, whatever a reference says: these let the hypervisor look in.
fn guest_protection(rules: &TdxRules, report: &TdReport, recorder: &mut Recorder) {
    let attributes = attributes(report);
    let check = recorder
        .check(CheckId::GuestProtection)
        .hex("td_attributes", report.td_attributes);
    let faults = [
        (attributes & 0xff != 0, "it is under debug or profiling"),
        (bit(attributes, 29), "it can be migrated"),
        (
            bit(attributes, 62),
            "it is a provisioning agent of TDX Connect",
        ),
        (
            !bit(attributes, 28) && !rules.allow_sept_ve,
            "SEPT_VE_DISABLE is off (`tdx.allow_sept_ve`)",
        ),
        (
            bit(attributes, 63) && !rules.allow_perfmon,
            "the hypervisor can read its performance counters (`tdx.allow_perfmon`)",
        ),
        (
            rules.require_icssd && !bit(attributes, 16),
            "ICSSD is off (`tdx.require_icssd`)",
        ),
    ];
    let found: Vec<&str> = faults
        .into_iter()
        .filter_map(|(present, name)| present.then_some(name))
        .collect();
    if found.is_empty() && !bit(attributes, 28) {
        return check.skip("`tdx.allow_sept_ve` is true: the hypervisor can cause exceptions on private memory, and what runs first in the TD has to refuse them");
    }
    check.require(found.is_empty(), || {
        format!(
            "the TD is not protected as it must be: {}; start it with other attributes",
            found.join(", ")
        )
    });
}

fn service_td(rules: &TdxRules, report: &TdReport, recorder: &mut Recorder) {
    let launched = report.td15.map(|td15| td15.mr_service_td);
    let bound = bit(attributes(report), 17)
        || launched.is_some_and(|hash| hash != [0; 48])
        || report
            .current_service_td
            .is_some_and(|(hash, attributes)| hash != [0; 48] || attributes != [0; 8]);
    let mut check = recorder.check(CheckId::ServiceTd);
    if let Some(hash) = launched {
        check = check.hex("mr_service_td", hash);
    }
    if !bound {
        check.pass();
    } else if rules.allow_service_td {
        check.skip("`tdx.allow_service_td` is true: a service TD is bound and can act on this one");
    } else {
        check.fail("a service TD is bound to this one and could take it over; start the TD without, or set `tdx.allow_service_td`");
    }
}

/// The reference that matches, all values together; else the nearest.
fn measurements<'a>(
    rules: &'a TdxRules,
    report: &TdReport,
    boot: &Boot,
    recorder: &mut Recorder,
) -> Result<&'a TdxReference, Option<&'a TdxReference>> {
    let [rtmr0, rtmr1, rtmr2, _] = report.rtmr;
    let found = [
        ("mrtd", encode(report.mrtd)),
        ("rtmr0", encode(rtmr0)),
        ("rtmr1", encode(rtmr1)),
        ("rtmr2", encode(rtmr2)),
        ("xfam", encode(report.xfam)),
        ("td_attributes", encode(report.td_attributes)),
        ("mrconfigid", encode(report.mrconfigid)),
        ("mrowner", encode(report.mrowner)),
        ("mrownerconfig", encode(report.mrownerconfig)),
    ];
    let check = recorder.check(CheckId::Measurements);
    check.image("tdx", &found, &rules.reference, |r| {
        let register = |index, found| match r.boot_registers().into_iter().nth(index) {
            Some(Some(value)) => encode(value),
            _ if boot.matches(index, r) => encode(found),
            _ => String::from("what the policy's events lead to"),
        };
        let wanted = [
            encode(r.mrtd),
            register(0, rtmr0),
            register(1, rtmr1),
            register(2, rtmr2),
            encode(r.xfam),
            encode(r.td_attributes),
            encode(r.mrconfigid),
            encode(r.mrowner),
            encode(r.mrownerconfig),
        ];
        (r.name.as_str(), wanted)
    })
}
