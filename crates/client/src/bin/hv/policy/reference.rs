//! The guest image's part of a policy, from evidence.

use hypervisor_client::attest::policy::PLATFORM_FLAGS;
use hypervisor_client::attest::snp::{SnpReport, Tcb};
use hypervisor_client::attest::tdx::TdxQuote;
use hypervisor_client::attest::{Binding, ComponentLog, Evidence, RawQuote};
use hypervisor_client::protocol::{ContentFormat, HexArray};
use serde_json::Value;

use crate::boot;

pub(super) const FIRST_USE: &str = "\
# TRUST ON FIRST USE: these values are those that one host showed, not those of an image that somebody built and checked.
# They make sure that the next host runs the same image, whatever that image is. Compare them with your own build's.
";

/// `[[tdx.reference]]`, or `[[snp.reference]]` with the processor's generation.
pub(super) fn image(evidence: &Evidence, name: &str) -> Result<String, String> {
    match &evidence.quote {
        RawQuote::Tdx(quote) => tdx(quote, evidence, name),
        RawQuote::SevSnp { report, .. } => snp(report, name),
    }
}

/// What the evidence shows that need not become less: `[log]`, and the tables of the platform without its image.
pub(super) fn floors(evidence: &Evidence) -> String {
    let bound = Binding::decode(&evidence.binding).is_ok_and(|binding| binding.register_bound);
    let log = if bound {
        "# The host extends the log into a register of the hardware too.\n[log]\nregister_required = true\n\n"
    } else {
        "# This host extends its log into no register (that needs TDX and Linux 6.16): the report data binds it alone.\n[log]\nregister_required = false\n\n"
    };
    let platform = match &evidence.quote {
        RawQuote::Tdx(quote) => {
            let floor = tcb_evaluation(evidence).map(|number| {
                format!("# Older collateral does not count: it may be of before a recovery.\nminimum_tcb_evaluation_data_number = {number}\n")
            });
            let attributes = TdxQuote::parse(quote).map(|quote| quote.report.td_attributes);
            // SEPT_VE_DISABLE is bit 28. Without a paravisor nothing takes its place.
            let off = attributes.is_ok_and(|[.., bits, _, _, _, _]| bits >> 4 & 1 == 0);
            let paravisor = (off && evidence.vtpm.is_some())
                .then_some("# A paravisor handles exceptions on private memory.\nallow_sept_ve = true\n");
            let lines = format!("{}{}", floor.unwrap_or_default(), paravisor.unwrap_or_default());
            (!lines.is_empty()).then(|| format!("[tdx]\n{lines}\n"))
        }
        RawQuote::SevSnp { report, .. } => SnpReport::parse(report).ok().map(|report| {
            let flags = PLATFORM_FLAGS.into_iter();
            let flags = flags.filter(|(_, bit)| report.platform_info >> bit & 1 == 1);
            let flags: Vec<String> = flags.map(|(name, _)| format!("\"{name}\"")).collect();
            format!(
                "[snp]\n# What this platform has.\nrequired_flags = [{}]\nallow_cxl = {}\nrequire_crl = {}\n\n",
                flags.join(", "),
                report.policy >> 21 & 1 == 1,
                evidence.crl.is_some()
            )
        }),
    };
    format!("{log}{}", platform.unwrap_or_default())
}

/// `tcbEvaluationDataNumber` of the collateral.
fn tcb_evaluation(evidence: &Evidence) -> Option<u64> {
    let collateral = evidence.collateral.as_ref()?;
    let collateral: Value = serde_json::from_slice(collateral).ok()?;
    let info: Value = serde_json::from_str(collateral.get("tcb_info")?.as_str()?).ok()?;
    info.get("tcbEvaluationDataNumber")?.as_u64()
}

fn tdx(quote: &[u8], evidence: &Evidence, name: &str) -> Result<String, String> {
    let report = TdxQuote::parse(quote)
        .map_err(|error| error.to_string())?
        .report;
    let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmr.map(HexArray);
    let events = match evidence.vtpm {
        Some(_) => String::new(),
        None => boot::policy(evidence),
    };
    // Where the host extends RTMR3, the log says from which value on; the verifier holds the two against one another.
    let start = evidence
        .log
        .as_ref()
        .and_then(|log| ComponentLog::decode(ContentFormat::Cbor, log).ok())
        .and_then(|log| log.register_start())
        .map_or(rtmr3, HexArray);
    Ok(format!(
        "[[tdx.reference]]
name = \"{name}\"
mrtd = \"{}\"
rtmr0 = \"{rtmr0}\"
rtmr1 = \"{rtmr1}\"
rtmr2 = \"{rtmr2}\"
# RTMR3 before the host extended it with the component log.
rtmr3 = \"{start}\"
xfam = \"{}\"
td_attributes = \"{}\"
mrconfigid = \"{}\"
mrowner = \"{}\"
mrownerconfig = \"{}\"
{events}",
        HexArray(report.mrtd),
        HexArray(report.xfam),
        HexArray(report.td_attributes),
        HexArray(report.mrconfigid),
        HexArray(report.mrowner),
        HexArray(report.mrownerconfig),
    ))
}

fn snp(report: &[u8], name: &str) -> Result<String, String> {
    let report = SnpReport::parse(report).map_err(|error| error.to_string())?;
    Ok(format!(
        "{}[[snp.reference]]
name = \"{name}\"
measurement = \"{}\"
guest_policy = {:#x}
host_data = \"{}\"
id_key_digest = \"{}\"
author_key_digest = \"{}\"
family_id = \"{}\"
image_id = \"{}\"
",
        generation(&report),
        HexArray(report.measurement),
        report.policy,
        HexArray(report.host_data),
        HexArray(report.id_key_digest),
        HexArray(report.author_key_digest),
        HexArray(report.family_id),
        HexArray(report.image_id),
    ))
}

/// `[snp.generations.…]` with the reported firmware as its floor (AMD 56860, "TCB_VERSION"); empty where the report does not
/// name the processor, and then the policy refuses until one is added.
fn generation(report: &SnpReport<'_>) -> String {
    let Tcb([b0, b1, b2, b3, _, _, b6, b7]) = report.reported_tcb;
    let old = |name: &str| {
        format!(
            "[snp.generations.{name}]\nbootloader = {b0}\ntee = {b1}\nsnp = {b6}\nmicrocode = {b7}\n\n"
        )
    };
    match report.cpuid {
        Some([0x19, 0x00..=0x0f, _]) => old("milan"),
        Some([0x19, 0x10..=0x1f | 0xa0..=0xaf, _]) => old("genoa"),
        Some([0x1a, 0x00..=0x11, _]) => format!(
            "[snp.generations.turin]\nfmc = {b0}\nbootloader = {b1}\ntee = {b2}\nsnp = {b3}\nmicrocode = {b7}\n\n"
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use hypervisor_client::attest::{
        Backend, Binding, CheckId, Expected, ExpectedSubject, LogHead, Policy, Status, Subject,
        verify,
    };
    use hypervisor_client::protocol::PrivateKey;

    use super::*;

    /// What real hardware said: see the note beside the files.
    fn real(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../verify/vectors/real/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    fn snp(report: Vec<u8>, certs: &[&str]) -> RawQuote {
        let certs = certs.iter().flat_map(|name| real(name)).collect();
        RawQuote::SevSnp { report, certs }
    }

    fn binding(backend: Backend) -> Binding {
        Binding {
            subject: Subject::Identity,
            nonce: None,
            identity_public_key: PrivateKey::generate().public_key().clone(),
            tls_key: None,
            manifest_digest: [0; 48],
            log: LogHead::EMPTY,
            register_bound: false,
            backend,
            boot_id: [0; 16],
        }
    }

    /// How the checks come out for evidence under the policy that was made from it.
    fn checked(quote: RawQuote, head: &str, now: u64, ids: &[CheckId]) -> Vec<Option<Status>> {
        let backend = match quote {
            RawQuote::Tdx(_) => Backend::Tdx,
            RawQuote::SevSnp { .. } => Backend::SevSnp,
        };
        let evidence = Evidence::new(quote, &binding(backend));
        let text = format!(
            "version = 1\n{head}\n{}",
            image(&evidence, "image").unwrap()
        );
        let policy = Policy::parse(&text).unwrap();
        let expected = Expected::new(ExpectedSubject::Identity, None);
        let verdict = verify(&evidence, &policy, &expected, now);
        let status = |id: &CheckId| verdict.check(*id).map(|check| check.status);
        ids.iter().map(status).collect()
    }

    #[test]
    fn real_tdx_quotes_match_the_policy_made_from_them() {
        for name in ["tdx_quote", "tdx_quote_td15ex"] {
            let ids = [CheckId::Measurements, CheckId::Register];
            let head = "roots.vendors = [\"intel\"]";
            let found = checked(RawQuote::Tdx(real(name)), head, 1_751_000_000, &ids);
            assert_eq!(found, [Some(Status::Pass); 2], "{name}");
        }
    }

    #[test]
    fn a_boot_log_that_leads_to_the_registers_gives_the_events_of_the_boot() {
        let quote = RawQuote::Tdx(real("boot_ubuntu_quote"));
        let mut evidence = Evidence::new(quote, &binding(Backend::Tdx));
        for (log, events) in [("boot_ubuntu_ccel", 20), ("boot_ubuntu_other_ccel", 0)] {
            evidence.boot_log = Some(real(log));
            let image = image(&evidence, "image").unwrap();
            let text = format!("version = 1\nroots.vendors = [\"intel\"]\n{image}");
            let policy = Policy::parse(&text).unwrap();
            let reference = policy.rules.tdx.reference.first().unwrap();
            assert_eq!(reference.events.len(), events);
            assert!(!reference.is_by_events());
            let expected = Expected::new(ExpectedSubject::Identity, None);
            let verdict = verify(&evidence, &policy, &expected, 1_780_000_000);
            let found = verdict.check(CheckId::Measurements).unwrap().status;
            assert_eq!(found, Status::Pass);
        }
    }

    #[test]
    fn a_real_snp_report_gives_image_generation_and_firmware() {
        let certs = ["vlek_milan.der", "asvk_milan.der"];
        let quote = snp(real("report_milan_vlek.bin"), &certs);
        let ids = [
            CheckId::Measurements,
            CheckId::Generation,
            CheckId::TcbStatus,
        ];
        let head = "roots.vendors = [\"amd\"]";
        let found = checked(quote, head, 1_740_000_000, &ids);
        assert_eq!(found, [Some(Status::Pass); 3]);
    }

    #[test]
    fn an_snp_report_without_its_processor_gives_no_generation_and_so_is_refused() {
        let hex = String::from_utf8(real("report_milan.hex")).unwrap();
        let quote = snp(const_hex::decode(hex.trim()).unwrap(), &["vcek_milan.der"]);
        let ids = [CheckId::Measurements, CheckId::CertificateChain];
        let head = "roots.vendors = [\"amd\"]\nsnp.report_versions = [2]";
        let found = checked(quote, head, 1_751_000_000, &ids);
        assert_eq!(found, [Some(Status::Pass), Some(Status::Fail)]);
    }
}
