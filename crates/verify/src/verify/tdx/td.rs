//! Checks of the TD itself: how it is protected, and which image it runs.

use crate::policy::{TdxReference, TdxRules};
use crate::tdx::TdReport;
use crate::verdict::{CheckId, Recorder};

/// The reference that matches, where one does.
pub(super) fn verify<'a>(
    rules: &'a TdxRules,
    report: &TdReport,
    recorder: &mut Recorder,
) -> Option<&'a TdxReference> {
    guest_protection(rules, report, recorder);
    service_td(rules, report, recorder);
    measurements(rules, report, recorder)
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
        (!bit(attributes, 28), "SEPT_VE_DISABLE is off"),
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

/// The reference that matches, all values together.
fn measurements<'a>(
    rules: &'a TdxRules,
    report: &TdReport,
    recorder: &mut Recorder,
) -> Option<&'a TdxReference> {
    let [rtmr0, rtmr1, rtmr2, _] = report.rtmr;
    let mut check = recorder
        .check(CheckId::Measurements)
        .hex("mrtd", report.mrtd)
        .hex("rtmr0", rtmr0)
        .hex("rtmr1", rtmr1)
        .hex("rtmr2", rtmr2)
        .hex("xfam", report.xfam)
        .hex("td_attributes", report.td_attributes)
        .hex("mrconfigid", report.mrconfigid)
        .hex("mrowner", report.mrowner)
        .hex("mrownerconfig", report.mrownerconfig);
    if rules.reference.is_empty() {
        check.fail("the policy has no reference values for TDX, so nothing matches; add the image's values as `[[tdx.reference]]`");
        return None;
    }
    // Of each reference, what differs; the closest one is named.
    let differences = rules.reference.iter().map(|reference| {
        let fields: [(&'static str, &[u8], &[u8]); 9] = [
            ("mrtd", &report.mrtd, &reference.mrtd.0),
            ("rtmr0", &rtmr0, &reference.rtmr0.0),
            ("rtmr1", &rtmr1, &reference.rtmr1.0),
            ("rtmr2", &rtmr2, &reference.rtmr2.0),
            ("xfam", &report.xfam, &reference.xfam.0),
            (
                "td_attributes",
                &report.td_attributes,
                &reference.td_attributes.0,
            ),
            ("mrconfigid", &report.mrconfigid, &reference.mrconfigid.0),
            ("mrowner", &report.mrowner, &reference.mrowner.0),
            (
                "mrownerconfig",
                &report.mrownerconfig,
                &reference.mrownerconfig.0,
            ),
        ];
        let differing: Vec<&'static str> = fields
            .into_iter()
            .filter_map(|(name, found, wanted)| (found != wanted).then_some(name))
            .collect();
        (reference, differing)
    });
    let (closest, differing) = differences.min_by_key(|(_, differing)| differing.len())?;
    check = check.input("reference", &closest.name);
    let matched = check.require(differing.is_empty(), || {
        format!(
            "this is no image that the policy names (nearest is `{}`, which differs in {}); do not rely on this host, or add its values as `[[tdx.reference]]` once you know the image",
            closest.name,
            differing.join(", ")
        )
    });
    matched.then_some(closest)
}
