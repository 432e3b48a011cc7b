//! Checks of what Intel says about the platform's firmware, and of which platform it is.

use std::time::Duration;

use dcap_qvl::{PckCertFlag, QuoteClaims, TcbStatus};

use crate::policy::TdxRules;
use crate::verdict::{CheckId, Recorder};
use crate::verify::Context;

pub(super) fn verify(
    rules: &TdxRules,
    context: &Context<'_>,
    claims: &QuoteClaims,
    recorder: &mut Recorder,
) {
    status(rules, context.now, claims, recorder);
    let floor = rules.minimum_tcb_evaluation_data_number.max(
        context
            .expected
            .last_tcb_evaluation_data_number
            .unwrap_or(0),
    );
    let number = claims.tcb.eval_data_number;
    recorder
        .check(CheckId::TcbEvaluation)
        .input("number", number)
        .input("floor", floor)
        .require(number >= floor, || {
            format!("the collateral is of TCB evaluation {number} and {floor} is known; fetch newer collateral from Intel")
        });
    advisories(rules, claims, recorder);
    flags(rules, claims, recorder);
    platform(rules, claims, recorder);
}

const fn is_out_of_date(status: TcbStatus) -> bool {
    matches!(
        status,
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded
    )
}

fn status(rules: &TdxRules, now: u64, claims: &QuoteClaims, recorder: &mut Recorder) {
    let status = claims.tcb.status;
    let name = status.to_string();
    let date = level_date(claims);
    let mut check = recorder
        .check(CheckId::TcbStatus)
        .input("status", &name)
        .input(
            "tcb_date",
            humantime::format_rfc3339_seconds(
                std::time::UNIX_EPOCH + Duration::from_secs(date.min(u32::MAX.into())),
            ),
        );
    if rules.tcb_status.contains(&name) {
        check.pass();
        return;
    }
    let grace = rules.out_of_date_grace.as_secs();
    if is_out_of_date(status) && grace > 0 {
        let until = date.saturating_add(grace);
        check = check.input("grace_until", until);
        if now <= until {
            check.pass();
            return;
        }
    }
    check.fail(match status {
        TcbStatus::TDRelaunchAdvised | TcbStatus::TDRelaunchAdvisedConfigurationNeeded => format!(
            "the TCB status is {name}: the TD was started under older firmware; restart it, or add the status to `tdx.tcb_status`"
        ),
        status if is_out_of_date(status) => format!(
            "the TCB status is {name}: update BIOS, microcode and the TDX module of the platform, or accept it for a time with `tdx.out_of_date_grace`"
        ),
        _ => format!(
            "the TCB status is {name}: apply what Intel's advisories say, then add the status to `tdx.tcb_status`"
        ),
    });
}

/// The date of the platform's TCB level, or of the quoting enclave's where that is out of date and older.
fn level_date(claims: &QuoteClaims) -> u64 {
    let platform = claims.platform.tcb_date_tag;
    if !is_out_of_date(claims.qe.tcb_level.tcb_status) {
        return platform;
    }
    humantime::parse_rfc3339(&claims.qe.tcb_level.tcb_date)
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        // A date that can not be read has no grace.
        .map_or(0, |since| since.as_secs())
        .min(platform)
}

fn advisories(rules: &TdxRules, claims: &QuoteClaims, recorder: &mut Recorder) {
    let found = &claims.tcb.advisory_ids;
    let check = recorder
        .check(CheckId::Advisories)
        .input("advisories", found.join(" "));
    let refused: Vec<&str> = found
        .iter()
        .filter(|id| rules.refused_advisories.contains(id))
        .map(String::as_str)
        .collect();
    check.require(refused.is_empty(), || {
        format!(
            "{} apply to the platform and the policy refuses them; update the platform",
            refused.join(", ")
        )
    });
}

fn flags(rules: &TdxRules, claims: &QuoteClaims, recorder: &mut Recorder) {
    let pck = &claims.platform.pck;
    let flags = [
        ("smt", pck.smt_enabled, rules.refuse_smt),
        (
            "dynamic_platform",
            pck.dynamic_platform,
            rules.refuse_dynamic_platform,
        ),
        ("cached_keys", pck.cached_keys, rules.refuse_cached_keys),
    ];
    let mut check = recorder.check(CheckId::PlatformFlags);
    for (name, flag, _) in flags {
        check = check.input(
            name,
            match flag {
                PckCertFlag::True => "true",
                PckCertFlag::False => "false",
                PckCertFlag::Undefined => "not stated",
            },
        );
    }
    let refused: Vec<&str> = flags
        .into_iter()
        // What is refused must be stated to be absent.
        .filter(|(_, flag, refuse)| *refuse && *flag != PckCertFlag::False)
        .map(|(name, ..)| name)
        .collect();
    if !flags.into_iter().any(|(_, _, refuse)| refuse) {
        check.skip("the policy refuses none of these flags (`tdx.refuse_…`)");
        return;
    }
    check.require(refused.is_empty(), || {
        format!(
            "the platform has {} and the policy refuses that; use another platform",
            refused.join(", ")
        )
    });
}

fn platform(rules: &TdxRules, claims: &QuoteClaims, recorder: &mut Recorder) {
    let ppid = &claims.platform.pck.ppid;
    let check = recorder.check(CheckId::Platform).hex("ppid", ppid);
    let Some(accepted) = &rules.platforms else {
        check.skip(
            "`tdx.platforms` names no machines: any genuine one is accepted, wherever it stands",
        );
        return;
    };
    check.require(
        accepted.iter().any(|platform| platform.as_ref() == ppid),
        || {
            "the machine is not one that the policy names; add its PPID to `tdx.platforms` if it is yours".to_owned()
        },
    );
}
