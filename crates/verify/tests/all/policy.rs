//! Policy files: what they may say, and what is refused by name.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_verify::Policy;
use hypervisor_verify::policy::*;

fn refusal(text: &str) -> String {
    Policy::parse(text).unwrap_err().to_string()
}

#[test]
fn a_policy_of_roots_alone_has_the_strict_defaults() {
    let policy = Policy::parse("version = 1\nroots.vendors = [\"intel\"]").unwrap();
    assert_eq!(
        policy.trust,
        Trust::Hardware {
            intel: true,
            amd: false
        }
    );
    assert_eq!(policy.rules, Rules::default());
    assert!(policy.rules.freshness.nonce_required);
    assert!(policy.rules.tdx.reference.is_empty());
    assert!(!policy.rules.components.any && !policy.rules.manifest.any);
    assert_eq!(policy.rules.snp.generations.len(), 0);
}

#[test]
fn agents_are_accepted_unless_the_policy_says_otherwise() {
    let roots = "version = 1\nroots.vendors = [\"intel\"]\n";
    for (text, accepted) in [("", true), ("components.agents = false", false)] {
        let policy = Policy::parse(&format!("{roots}{text}")).unwrap();
        assert_eq!(policy.rules.components.agents, accepted, "{text:?}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let roots = "version = 1\nroots.vendors = [\"intel\"]\n";
    for (text, unknown, near) in [
        ("fresness.max_age = \"1m\"", "fresness", "freshness"),
        (
            "[freshness]\nmaxage = \"1m\"",
            "freshness.maxage",
            "freshness.max_age",
        ),
        ("[tdx]\nallow_debug = true", "tdx.allow_debug", "tdx.allow_"),
        (
            "[[tdx.reference]]\nmrdt = \"00\"",
            "tdx.reference.mrdt",
            "tdx.reference.mrtd",
        ),
        (
            "snp.generations.genua.tee = 1",
            "snp.generations.genua",
            "snp.generations.genoa",
        ),
    ] {
        let message = refusal(&format!("{roots}{text}"));
        assert!(
            message.contains(&format!("unknown key `{unknown}")),
            "{message}"
        );
        assert!(
            message.contains("did you mean") && message.contains(near),
            "{message}"
        );
    }
    assert!(refusal(&format!("{roots}xyzzy = 1")).contains("policy/reference.toml"));
}

#[test]
fn a_policy_without_version_or_root_says_what_to_write() {
    assert!(refusal("").contains("`version = 1`"));
    assert!(refusal("version = 2").contains("version 2"));
    assert!(refusal("version = 1").contains("roots"));
    assert!(refusal("version = 1\n[roots]").contains("vendors = "));
    assert!(refusal("version = 1\nroots.vendors = [\"arm\"]").contains("\"amd\""));
}

#[test]
fn hardware_and_simulator_do_not_go_together() {
    let fingerprint = "ab".repeat(32);
    let simulated = format!("version = 1\nroots.simulated = \"{fingerprint}\"\n");
    assert_eq!(
        Policy::parse(&simulated).unwrap().trust,
        Trust::Simulated {
            fingerprint: [0xab; 32]
        }
    );
    assert!(refusal(&format!("{simulated}roots.vendors = [\"intel\"]")).contains("never both"));
}

#[test]
fn values_out_of_range_are_named() {
    let with = |text: &str| refusal(&format!("version = 1\nroots.vendors = [\"amd\"]\n{text}"));
    assert!(with("tdx.tcb_status = [\"UptoDate\"]").contains("did you mean `UpToDate`"));
    assert!(with("tdx.tcb_status = [\"Revoked\"]").contains("no status that can be accepted"));
    assert!(with("freshness.max_age = \"soon\"").contains("\"5m\""));
    assert!(with("snp.report_versions = [1]").contains("2 to 5"));
    assert!(with("manifest.allowed = [\"00\"]").contains("48"));
    assert!(with("version = 1").contains("duplicate"));
    let digest = "00".repeat(48);
    assert!(
        with(&format!(
            "manifest = {{ any = true, allowed = [\"{digest}\"] }}"
        ))
        .contains("remove one")
    );
}

#[test]
fn a_flag_that_no_platform_has_is_refused_with_the_nearest() {
    let text =
        "version = 1\nroots.vendors = [\"amd\"]\nsnp.required_flags = [\"alias-chek-complete\"]";
    let reason = refusal(text);
    assert!(reason.contains("`snp.required_flags`"), "{reason}");
    assert!(
        reason.contains("did you mean `alias-check-complete`?"),
        "{reason}"
    );
}
