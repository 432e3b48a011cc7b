//! A TPM beside the guest's own attester.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hypervisor_verify::{CheckId, Status};
use hypervisor_vtpm::{Error, VtpmAttester};

use crate::support::{Guest, policy};

const TEMPLATE: u32 = 0x01c1_0001;

#[test]
fn a_guest_vouches_for_a_tpm_whose_key_the_policy_names() {
    let guest = Guest::booted();
    guest.swtpm.write_template(TEMPLATE);
    let open = || {
        VtpmAttester::beside(guest.swtpm.tpm(), guest.simulator.as_ref(), guest.paths()).unwrap()
    };
    let root = const_hex::encode(guest.simulator.fingerprint());
    let roots = format!("simulated = \"{root}\"");
    let verdict = |vtpm: &str| guest.verdict(open(), &policy(&roots, &guest.simulator, vtpm));
    // The verdict says which key it is, and refuses it until the policy names it.
    let unnamed = verdict("");
    let check = unnamed.check(CheckId::VtpmKey).unwrap();
    assert_eq!(check.status, Status::Fail);
    let (_, key) = check
        .inputs
        .iter()
        .find(|(name, _)| *name == "sha256")
        .unwrap();
    let named = verdict(&format!("keys = [\"{key}\"]"));
    assert!(named.passed(), "{named}");
    let other = verdict(&format!("keys = [\"{}\"]", "00".repeat(32)));
    assert_eq!(other.check(CheckId::VtpmKey).unwrap().status, Status::Fail);
}

#[test]
fn a_tpm_without_a_template_of_a_key_is_refused() {
    let guest = Guest::booted();
    let refused = VtpmAttester::beside(guest.swtpm.tpm(), guest.simulator.as_ref(), guest.paths());
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}
