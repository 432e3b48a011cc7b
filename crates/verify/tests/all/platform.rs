//! What the hardware, its firmware and the TD must be like, on simulated platforms that no public sample has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support::*;
use ciborium::cbor;
use hypervisor_simulated::{
    ComponentTcb, PlatformTcb, QuoteBody, Simulator, SimulatorBuilder, XFAM, attribute,
};
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Assurance, Backend, Binding, CheckId, Evidence, Policy, RawQuote, Status, Verdict,
};

/// Evidence of a simulated platform, under the policy of an ordinary one with more rules.
fn judge_with(builder: SimulatorBuilder, rules: &str) -> Verdict {
    let simulator = simulator_of(builder, &log_of(entries()));
    let evidence = evidence_of(&simulator, &binding());
    hypervisor_verify::verify(&evidence, &policy_with(rules), &expected_session(), NOW)
}

fn judge(builder: SimulatorBuilder) -> Verdict {
    judge_with(builder, "")
}

#[test]
fn every_form_of_quote_passes() {
    for body in [
        QuoteBody::V4,
        QuoteBody::V5Td10,
        QuoteBody::V5Td15,
        QuoteBody::V5Td15Ex,
    ] {
        let verdict = judge(builder().body(body));
        assert!(verdict.passed(), "{body:?}: {verdict}");
        assert_eq!(verdict.assurance(), Assurance::Simulated);
    }
}

#[test]
fn a_td_that_can_be_looked_into_is_refused_even_if_a_reference_says_so() {
    for (name, builder) in [
        ("debug", builder().debug()),
        ("profiling", builder().profiling()),
        (
            "perfmon",
            builder().attributes(attribute::SEPT_VE_DISABLE | attribute::PERFMON),
        ),
    ] {
        let verdict = judge(builder.clone());
        let failures = failed(&verdict);
        assert_eq!(
            failures,
            [
                CheckId::GuestProtection,
                CheckId::Measurements,
                CheckId::Register
            ],
            "{name}: {verdict}"
        );

        // With its attributes as the reference it is refused all the same.
        let simulator = simulator_of(builder, &log_of(entries()));
        let evidence = evidence_of(&simulator, &binding());
        let RawQuote::Tdx(quote) = &evidence.quote else {
            unreachable!("the simulator makes TDX quotes")
        };
        let text = format!(
            "{}{}{}",
            simulated_roots(),
            tdx_reference(quote, &[0; 48]),
            software()
        );
        let policy = Policy::parse(&text).unwrap();
        let verdict = hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW);
        assert_eq!(
            failed(&verdict),
            [CheckId::GuestProtection],
            "{name}: {verdict}"
        );
    }
}

#[test]
fn a_td_that_can_be_migrated_or_survives_stolen_pages_is_refused() {
    for builder in [builder().migratable(), builder().without_sept_ve_disable()] {
        let verdict = judge(builder);
        let failures = failed(&verdict);
        assert!(failures.contains(&CheckId::GuestProtection), "{verdict}");
        assert!(failures.contains(&CheckId::Collateral), "{verdict}");
    }
}

#[test]
fn icssd_is_required_where_the_policy_says_so() {
    let verdict = judge_with(builder(), "require_icssd = true");
    assert_eq!(failed(&verdict), [CheckId::GuestProtection]);
    assert!(advice(&verdict, CheckId::GuestProtection).contains("tdx.require_icssd"));
}

#[test]
fn measurements_must_match_together() {
    for (builder, field) in [
        (builder().mrtd([1; 48]), "mrtd"),
        (builder().xfam(XFAM ^ 1 << 17), "xfam"),
        (builder().mr_config_id([1; 48]), "mrconfigid"),
        (builder().mr_owner_config([1; 48]), "mrownerconfig"),
    ] {
        let verdict = judge(builder);
        assert_eq!(
            failed(&verdict),
            [CheckId::Measurements, CheckId::Register],
            "{verdict}"
        );
        let reason = advice(&verdict, CheckId::Measurements);
        assert!(
            reason.contains(&format!("`the image`, which differs in {field}")),
            "{reason}"
        );
    }
}

#[test]
fn values_of_two_references_do_not_add_up_to_one() {
    let other = simulator_of(
        builder().mrtd([1; 48]).xfam(XFAM ^ 1 << 17),
        &log_of(entries()),
    );
    let evidence = evidence_of(&other, &binding());
    let reference = |evidence: &Evidence| {
        let RawQuote::Tdx(quote) = &evidence.quote else {
            unreachable!("the simulator makes TDX quotes")
        };
        tdx_reference(quote, &[0; 48])
    };
    let both = format!(
        "{}{}{}{}",
        simulated_roots(),
        reference(&crate::support::evidence()),
        reference(&evidence),
        software()
    );
    let policy = Policy::parse(&both).unwrap();
    let judge = |builder: SimulatorBuilder| {
        let evidence = evidence_of(&simulator_of(builder, &log_of(entries())), &binding());
        hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW)
    };
    assert!(judge(builder()).passed());
    assert!(judge(builder().mrtd([1; 48]).xfam(XFAM ^ 1 << 17)).passed());
    let mixed = judge(builder().mrtd([1; 48]));
    assert!(failed(&mixed).contains(&CheckId::Measurements), "{mixed}");
}

#[test]
fn a_policy_without_reference_values_refuses_everything() {
    let text = format!("{}{}", simulated_roots(), software());
    let policy = Policy::parse(&text).unwrap();
    let verdict = hypervisor_verify::verify(&evidence(), &policy, &expected_session(), NOW);
    assert_eq!(failed(&verdict), [CheckId::Measurements, CheckId::Register]);
    assert!(advice(&verdict, CheckId::Measurements).contains("[[tdx.reference]]"));
}

#[test]
fn a_policy_without_components_or_manifests_refuses_everything() {
    let mut policy = policy();
    policy.rules.components.allowed.clear();
    policy.rules.manifest.allowed.clear();
    let verdict = hypervisor_verify::verify(&evidence(), &policy, &expected_session(), NOW);
    assert_eq!(
        failed(&verdict),
        [CheckId::Components, CheckId::ManifestAllowed]
    );
    policy.rules.components.any = true;
    policy.rules.manifest.any = true;
    let verdict = hypervisor_verify::verify(&evidence(), &policy, &expected_session(), NOW);
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::Components),
        Some(Status::SkippedByPolicy)
    );
    assert_eq!(
        status(&verdict, CheckId::ManifestAllowed),
        Some(Status::SkippedByPolicy)
    );
}

#[test]
fn a_tcb_status_passes_only_if_the_policy_names_it() {
    for (level, name) in [
        (PlatformTcb::SwHardeningNeeded, "SWHardeningNeeded"),
        (PlatformTcb::ConfigurationNeeded, "ConfigurationNeeded"),
        (
            PlatformTcb::ConfigurationAndSwHardeningNeeded,
            "ConfigurationAndSWHardeningNeeded",
        ),
        (PlatformTcb::OutOfDate, "OutOfDate"),
        (
            PlatformTcb::OutOfDateConfigurationNeeded,
            "OutOfDateConfigurationNeeded",
        ),
    ] {
        let verdict = judge(builder().platform_tcb(level));
        assert_eq!(failed(&verdict), [CheckId::TcbStatus], "{verdict}");
        assert!(advice(&verdict, CheckId::TcbStatus).contains(name));
        let rules = format!("tcb_status = [\"UpToDate\", \"{name}\"]");
        let verdict = judge_with(builder().platform_tcb(level), &rules);
        assert!(verdict.passed(), "{verdict}");
    }
}

#[test]
fn a_revoked_or_unlisted_platform_is_always_refused() {
    for level in [PlatformTcb::Revoked, PlatformTcb::Unlisted] {
        let all = "tcb_status = [\"UpToDate\", \"OutOfDate\", \"OutOfDateConfigurationNeeded\"]\nout_of_date_grace = \"100years\"";
        let verdict = judge_with(builder().platform_tcb(level), all);
        assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
        assert!(
            advice(&verdict, CheckId::Collateral).contains("update BIOS"),
            "{verdict}"
        );
    }
}

#[test]
fn an_out_of_date_part_has_the_grace_of_the_policy_and_no_more() {
    for builder in [
        builder().platform_tcb(PlatformTcb::OutOfDate),
        builder().module_tcb(ComponentTcb::OutOfDate),
        builder().qe_tcb(ComponentTcb::OutOfDate),
    ] {
        assert_eq!(failed(&judge(builder.clone())), [CheckId::TcbStatus]);
        let verdict = judge_with(builder.clone(), "out_of_date_grace = \"1day\"");
        assert_eq!(failed(&verdict), [CheckId::TcbStatus], "{verdict}");
        let verdict = judge_with(builder, "out_of_date_grace = \"20years\"");
        assert!(verdict.passed(), "{verdict}");
        let inputs = &verdict.check(CheckId::TcbStatus).unwrap().inputs;
        assert!(inputs.iter().any(|(name, _)| *name == "grace_until"));
    }
}

#[test]
fn a_td_started_under_older_firmware_is_told_to_restart() {
    let verdict = judge(
        builder()
            .body(QuoteBody::V5Td15)
            .module_tcb(ComponentTcb::OutOfDate)
            .current_module_tcb(ComponentTcb::UpToDate),
    );
    assert_eq!(failed(&verdict), [CheckId::TcbStatus]);
    assert!(advice(&verdict, CheckId::TcbStatus).contains("restart it"));
}

#[test]
fn revoked_certificates_and_a_foreign_quoting_enclave_are_refused() {
    for builder in [
        builder().revoked_pck(),
        builder().revoked_pck_ca(),
        builder().wrong_qe(),
        builder().wrong_fmspc(),
    ] {
        let verdict = judge(builder);
        assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
        assert_eq!(
            status(&verdict, CheckId::QuoteSignature),
            Some(Status::Pass)
        );
    }
}

#[test]
fn a_revoked_key_is_not_explained_as_old_firmware() {
    for builder in [builder().revoked_pck(), builder().revoked_pck_ca()] {
        let verdict = judge(builder);
        let reason = advice(&verdict, CheckId::Collateral);
        assert!(reason.contains("was revoked at 20"), "{reason}");
        assert!(reason.contains("do not rely on this machine"), "{reason}");
    }
}

#[test]
fn collateral_of_another_time_names_the_part_and_the_date() {
    const DAY: u64 = 86_400;
    let early = judge(builder().collateral_window(NOW + DAY, NOW + 2 * DAY));
    let reason = advice(&early, CheckId::Collateral);
    assert!(
        reason.contains("the TCB info is of the future: it was made at 2026-01-02T00:00:00Z"),
        "{reason}"
    );
    let late = judge(builder().collateral_window(NOW - 2 * DAY, NOW - DAY));
    let reason = advice(&late, CheckId::Collateral);
    assert!(
        reason.contains("the TCB info expired at 2025-12-31T00:00:00Z"),
        "{reason}"
    );
}

/// Evidence whose collateral has one field of another simulator's.
fn with_foreign(field: &str) -> Evidence {
    let other = Simulator::builder(b"another seed").build().unwrap();
    let foreign: serde_json::Value =
        serde_json::from_str(&other.collateral_json().unwrap()).unwrap();
    let mut evidence = evidence();
    let mut collateral: serde_json::Value =
        serde_json::from_slice(evidence.collateral.as_ref().unwrap()).unwrap();
    collateral[field] = foreign[field].clone();
    evidence.collateral = Some(serde_json::to_vec(&collateral).unwrap());
    evidence
}

#[test]
fn no_part_of_the_collateral_may_be_of_another_root() {
    for field in [
        "pck_crl_issuer_chain",
        "tcb_info_issuer_chain",
        "qe_identity_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_signature",
    ] {
        let verdict = verify(&with_foreign(field));
        assert!(failed(&verdict).contains(&CheckId::Collateral), "{field}");
    }
}

/// Evidence whose collateral was changed.
fn with_collateral(change: impl FnOnce(&mut serde_json::Value)) -> Evidence {
    let mut evidence = evidence();
    let mut collateral = serde_json::from_slice(evidence.collateral.as_ref().unwrap()).unwrap();
    change(&mut collateral);
    evidence.collateral = Some(serde_json::to_vec(&collateral).unwrap());
    evidence
}

#[test]
fn revocation_lists_that_are_empty_swapped_or_altered_are_refused() {
    let swapped = with_collateral(|collateral| {
        let list = collateral["pck_crl"].take();
        collateral["pck_crl"] = collateral["root_ca_crl"].take();
        collateral["root_ca_crl"] = list;
    });
    let mut changed = vec![swapped];
    for list in ["pck_crl", "root_ca_crl"] {
        changed.push(with_collateral(|collateral| {
            collateral[list] = "".into();
        }));
        changed.push(with_collateral(|collateral| {
            let mut hex = collateral[list].as_str().unwrap().to_owned();
            let last = hex.pop().unwrap();
            hex.push(if last == '0' { '1' } else { '0' });
            collateral[list] = hex.into();
        }));
    }
    for evidence in changed {
        let verdict = verify(&evidence);
        assert!(failed(&verdict).contains(&CheckId::Collateral), "{verdict}");
    }
}

#[test]
fn a_tdx_module_that_intel_does_not_know_is_refused_in_words_of_our_own() {
    for (at, bytes, words) in [
        // MRSIGNERSEAM, SEAMATTRIBUTES, the module's version in TEE_TCB_SVN: places in a version 4 quote.
        (
            112,
            &[1; 48][..],
            "another key than Intel's signed the TDX module",
        ),
        (160, &[1], "attributes that Intel refuses"),
        (49, &[0x7f], ""),
    ] {
        let verdict = judge(builder().altered(at, bytes));
        assert_eq!(
            status(&verdict, CheckId::QuoteSignature),
            Some(Status::Pass),
            "the simulator signs what it altered"
        );
        let reason = advice(&verdict, CheckId::Collateral);
        assert!(reason.contains(words), "{reason}");
        assert!(!reason.contains("mismatch"), "{reason}");
    }
}

#[test]
fn a_quote_of_another_kind_is_refused_though_its_signature_holds() {
    // Version, type of the attestation key, TEE, vendor of the quoting enclave.
    for (at, bytes) in [(0, 3), (2, 3), (4, 0), (12, 0)] {
        let verdict = judge(builder().altered(at, &[bytes]));
        assert!(!verdict.passed(), "offset {at}: {verdict}");
    }
}

#[test]
fn a_certificate_of_another_time_is_named_with_its_dates() {
    const CENTURY: u64 = 3_155_760_000;
    let verdict =
        hypervisor_verify::verify(&evidence(), &policy(), &expected_session(), NOW + CENTURY);
    let reason = advice(&verdict, CheckId::CertificateChain);
    assert!(reason.contains("` is valid from 20"), "{reason}");
}

/// A session's evidence, of a host whose script plugin runs from machine code.
fn compiled(policy: &Policy) -> Verdict {
    let code = "aa".repeat(48);
    let document = cbor!({
        "version" => 2,
        "components" => [
            {"name" => "policy", "sha384" => "00", "compiled_sha384" => null},
            {"name" => "script", "sha384" => "00", "compiled_sha384" => code},
        ],
    });
    let mut manifest = Vec::new();
    ciborium::into_writer(&document.unwrap(), &mut manifest).unwrap();
    let binding = Binding {
        manifest_digest: hypervisor_verify::manifest::digest(&manifest),
        ..binding()
    };
    let evidence = Evidence {
        manifest: Some(manifest),
        ..evidence_of(&simulator(), &binding)
    };
    let mut policy = policy.clone();
    policy.rules.manifest.any = true;
    policy.rules.manifest.allowed.clear();
    hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW)
}

#[test]
fn machine_code_that_was_compiled_outside_the_guest_shows_in_the_verdict() {
    let mut policy = policy();
    let verdict = compiled(&policy);
    assert!(verdict.passed(), "{verdict}");
    let check = verdict.check(CheckId::CompiledCode).unwrap();
    assert_eq!(check.status, Status::SkippedByPolicy);
    let reason = check.reason.as_deref().unwrap();
    assert!(
        reason.contains("`script` runs from machine code"),
        "{reason}"
    );
    assert_eq!(check.inputs[0].1, format!("script {}", "aa".repeat(48)));

    policy.rules.components.compiled = Some(vec![hypervisor_protocol::HexArray([0xaa; 48])]);
    let verdict = compiled(&policy);
    assert_eq!(status(&verdict, CheckId::CompiledCode), Some(Status::Pass));

    policy.rules.components.compiled = Some(Vec::new());
    let verdict = compiled(&policy);
    assert_eq!(failed(&verdict), [CheckId::CompiledCode]);
    assert!(advice(&verdict, CheckId::CompiledCode).contains("components.compiled"));
}

#[test]
fn a_host_that_compiled_its_plugins_itself_passes_a_policy_that_wants_it() {
    let mut policy = policy();
    policy.rules.components.compiled = Some(Vec::new());
    let verdict = hypervisor_verify::verify(&evidence(), &policy, &expected_session(), NOW);
    assert!(verdict.passed(), "{verdict}");
    // Without the manifest nobody knows.
    let evidence = Evidence {
        manifest: None,
        ..evidence()
    };
    let verdict = hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW);
    assert_eq!(failed(&verdict), [CheckId::CompiledCode]);
}

#[test]
fn collateral_does_not_go_back() {
    let verdict = judge_with(builder(), "minimum_tcb_evaluation_data_number = 21");
    assert_eq!(failed(&verdict), [CheckId::TcbEvaluation]);
    let mut expected = expected_session();
    expected.last_tcb_evaluation_data_number = Some(21);
    let verdict = hypervisor_verify::verify(&evidence(), &policy(), &expected, NOW);
    assert_eq!(failed(&verdict), [CheckId::TcbEvaluation]);
    let verdict = judge_with(
        builder().evaluation_number(21),
        "minimum_tcb_evaluation_data_number = 21",
    );
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(verdict.tcb_evaluation_data_number(), Some(21));
}

#[test]
fn advisories_are_refused_by_name_only() {
    let with = |rules| judge_with(builder().advisories(["INTEL-SA-01234".to_owned()]), rules);
    let verdict = with("refused_advisories = [\"INTEL-SA-01234\"]");
    assert_eq!(failed(&verdict), [CheckId::Advisories]);
    // An up-to-date platform may carry advisories.
    let verdict = with("refused_advisories = [\"INTEL-SA-04321\"]");
    assert!(verdict.passed(), "{verdict}");
}

#[test]
fn a_bound_service_td_is_refused_unless_the_policy_allows_it() {
    let bound = || builder().body(QuoteBody::V5Td15).service_td([1; 48]);
    assert_eq!(failed(&judge(bound())), [CheckId::ServiceTd]);
    let verdict = judge_with(bound(), "allow_service_td = true");
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::ServiceTd),
        Some(Status::SkippedByPolicy)
    );
}

#[test]
fn bytes_after_the_quote_are_refused() {
    for byte in [0, 0xaa] {
        let verdict = judge(builder().tail(39, byte));
        assert_eq!(failed(&verdict), [CheckId::QuoteLength]);
        assert!(advice(&verdict, CheckId::QuoteLength).contains("39 bytes"));
    }
}

#[test]
fn bytes_after_the_certificates_inside_the_quote_are_refused() {
    let verdict = judge(builder().filler(64));
    assert!(
        failed(&verdict).contains(&CheckId::CertificateChain),
        "{verdict}"
    );
    assert!(advice(&verdict, CheckId::CertificateChain).contains("after the certificates"));
}

#[test]
fn a_chain_of_no_or_broken_certificates_is_refused() {
    let RawQuote::Tdx(quote) = evidence().quote else {
        unreachable!("the simulator makes TDX quotes")
    };
    let chain = TdxQuote::parse(&quote).unwrap().certification.to_vec();
    let other = |with: &[u8]| {
        // The chain is the quote's last part, under three lengths.
        let mut bytes = quote[..quote.len() - chain.len()].to_vec();
        bytes.extend_from_slice(with);
        let signed = TdxQuote::parse(&quote).unwrap().signed.len();
        let shrink = |bytes: &mut Vec<u8>, at: usize| {
            let old = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let new = old as usize - chain.len() + with.len();
            bytes[at..at + 4].copy_from_slice(&(new as u32).to_le_bytes());
        };
        shrink(&mut bytes, signed);
        shrink(&mut bytes, signed + 4 + 128 + 2);
        shrink(&mut bytes, quote.len() - chain.len() - 4);
        verify(&Evidence {
            quote: RawQuote::Tdx(bytes),
            ..evidence()
        })
    };
    assert!(other(&chain).passed());
    for with in [
        &b""[..],
        b"\0",
        b"\n\n\n",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        &chain[..chain.len() / 2],
        &[&b"text before\n"[..], &chain].concat(),
        &[&chain[..], b"\0\0"].concat(),
    ] {
        let verdict = other(with);
        let failures = failed(&verdict);
        assert!(failures.contains(&CheckId::CertificateChain), "{verdict}");
        assert_eq!(status(&verdict, CheckId::QuoteForm), Some(Status::Pass));
    }
}

#[test]
fn a_register_is_required_where_the_policy_says_so() {
    let binding = Binding {
        register_bound: false,
        ..binding()
    };
    let simulator = builder().build().unwrap();
    let evidence = evidence_of(&simulator, &binding);
    let verdict = verify(&evidence);
    assert!(verdict.passed(), "{verdict}");
    let mut policy = policy();
    policy.rules.log.register_required = true;
    let verdict = hypervisor_verify::verify(&evidence, &policy, &expected_session(), NOW);
    assert_eq!(failed(&verdict), [CheckId::Register]);
    assert!(advice(&verdict, CheckId::Register).contains("Linux 6.16"));
}

#[test]
fn evidence_without_collateral_is_refused_and_the_rest_is_judged() {
    let evidence = Evidence {
        collateral: None,
        ..evidence()
    };
    let verdict = verify(&evidence);
    let failures = failed(&verdict);
    assert!(failures.contains(&CheckId::Collateral), "{verdict}");
    assert!(!failures.contains(&CheckId::QuoteSignature), "{verdict}");
    assert!(!failures.contains(&CheckId::Measurements), "{verdict}");
    assert_eq!(status(&verdict, CheckId::Nonce), Some(Status::Pass));
}

#[test]
fn collateral_with_a_key_twice_is_refused() {
    let text = String::from_utf8(evidence().collateral.unwrap()).unwrap();
    let twice = text.replacen('{', "{\"tcb_info\":\"\",", 1);
    let evidence = Evidence {
        collateral: Some(twice.into_bytes()),
        ..evidence()
    };
    let verdict = verify(&evidence);
    assert!(
        advice(&verdict, CheckId::Collateral).contains("duplicate field"),
        "{verdict}"
    );
}

#[test]
fn the_verdict_lists_each_check_once() {
    let bad = Evidence {
        binding: vec![0; 3],
        ..evidence()
    };
    let claims_snp = evidence_of(
        &simulator(),
        &Binding {
            backend: Backend::SevSnp,
            ..binding()
        },
    );
    for evidence in [evidence(), bad, claims_snp] {
        let verdict = verify(&evidence);
        let mut names: Vec<&str> = verdict
            .checks()
            .iter()
            .map(|check| check.id.name())
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{verdict}");
        for check in verdict.checks() {
            assert_eq!(
                check.reason.is_none(),
                check.status == Status::Pass,
                "{check:?}"
            );
        }
    }
}

#[test]
fn the_ear_has_the_vector_on_top_and_every_check_below() {
    let verdict = judge(builder().mrtd([1; 48]));
    let ear = verdict.to_ear();
    let host = &ear["submods"]["hypervisor"];
    assert_eq!(ear["eat_profile"], "tag:github.com,2023:veraison/ear");
    assert_eq!(ear["iat"], NOW);
    assert_eq!(host["ear.status"], "contraindicated");
    let vector = &host["ear.trustworthiness-vector"];
    assert_eq!(vector["executables"], 96);
    assert_eq!(vector["instance-identity"], 2);
    let checks = host["hypervisor.checks"].as_array().unwrap();
    assert_eq!(checks.len(), verdict.checks().len());
    let failed = checks
        .iter()
        .find(|check| check["check"] == "measurements")
        .unwrap();
    assert_eq!(failed["status"], "fail");
    assert_eq!(failed["inputs"]["mrtd"], "01".repeat(48));
    assert!(failed["reason"].as_str().unwrap().contains("mrtd"));
}
