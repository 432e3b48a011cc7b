//! AMD's chain of trust: root (ARK), intermediate (ASK or ASVK), endorsement key (VCEK or VLEK), and the revocation list.

use der::{Decode, Encode};
use rsa::pss;
use rsa::signature::Verifier;
use sev::certs::snp::{Certificate as Signed, Verifiable, builtin};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;

use crate::policy::{FirmwareFloor, Generation, Trust};
use crate::verdict::{CheckId, Open, Recorder};
use crate::verify::{Context, chain};

/// An endorsement key that stands under AMD's root of a generation.
pub(super) struct Endorsed<'a> {
    pub(super) generation: Generation,
    pub(super) floor: FirmwareFloor,
    pub(super) vek: &'a Certificate,
}

/// The built-in root and intermediate of a generation.
fn built_in(generation: Generation) -> Option<(Certificate, Certificate)> {
    let (root, intermediate) = match generation {
        Generation::Milan => (builtin::milan::ark(), builtin::milan::ask()),
        Generation::Genoa => (builtin::genoa::ark(), builtin::genoa::ask()),
        Generation::Turin => (builtin::turin::ark(), builtin::turin::ask()),
    };
    Some((root.ok()?.into(), intermediate.ok()?.into()))
}

/// Whether `issuer` signs `subject` and is named by it.
fn issues(issuer: &Certificate, subject: &Certificate) -> bool {
    issuer.tbs_certificate.subject == subject.tbs_certificate.issuer
        && chain::is_plain(subject)
        && (
            &Signed::from(issuer.clone()),
            &Signed::from(subject.clone()),
        )
            .verify()
            .is_ok()
}

/// The root and the intermediate under which a key stands: the built-in intermediate, or one that came along (VLEK).
fn path(
    generation: Generation,
    vek: &Certificate,
    others: &[Certificate],
) -> Option<(Certificate, Certificate)> {
    let (root, intermediate) = built_in(generation)?;
    std::iter::once(&intermediate)
        .chain(others)
        .find(|candidate| issues(candidate, vek) && issues(&root, candidate))
        .cloned()
        .map(|intermediate| (root, intermediate))
}

/// The endorsement key, its path to the root of a generation that the policy accepts, and that generation.
type Found<'a> = (Endorsed<'a>, Certificate, Certificate);

fn find<'a>(
    context: &Context<'_>,
    certificates: &'a Result<Vec<Certificate>, String>,
) -> Result<Found<'a>, String> {
    let certificates = certificates
        .as_deref()
        .map_err(|reason| format!("{reason}; ask the host for evidence again"))?;
    let Some((vek, others)) = certificates.split_first() else {
        return Err("there is no certificate; ask the host for evidence again".to_owned());
    };
    if !matches!(context.policy.trust, Trust::Hardware { amd: true, .. }) {
        return Err("the policy names no root for SEV-SNP; add \"amd\" to `roots.vendors` if this host may run on it".to_owned());
    }
    let mut accepted = context.policy.rules.snp.generations.iter();
    accepted
        .find_map(|(&generation, &floor)| {
            let (root, intermediate) = path(generation, vek, others)?;
            let endorsed = Endorsed {
                generation,
                floor,
                vek,
            };
            Some((endorsed, root, intermediate))
        })
        .ok_or_else(|| "the endorsement key is not under AMD's root of any generation that the policy names; add the generation to `snp.generations`, or do not rely on this host".to_owned())
}

pub(super) fn verify<'a>(
    context: &Context<'_>,
    certificates: &'a Result<Vec<Certificate>, String>,
    recorder: &mut Recorder,
) -> Option<Endorsed<'a>> {
    let check = recorder.check(CheckId::CertificateChain);
    let (endorsed, root, intermediate) = match find(context, certificates) {
        Ok(found) => found,
        Err(reason) => {
            check.fail(reason);
            recorder.blocked(CheckId::CertificateChain, &[CheckId::Revocation]);
            return None;
        }
    };
    let vek = endorsed.vek;
    let mut chain = [&root, &intermediate, vek].into_iter();
    let untimely = chain.find(|certificate| !chain::is_valid_at(certificate, context.now));
    let valid = check
        .input("generation", endorsed.generation)
        .hex("root", chain::fingerprint(&root).unwrap_or_default())
        .require(untimely.is_none(), || {
            let which = untimely.map_or_else(String::new, chain::validity_in_words);
            format!("{which}; fetch the endorsement key's certificate from AMD again, and check the verifier's clock")
        });
    let links = [(&root, &intermediate), (&intermediate, vek)];
    let check = recorder.check(CheckId::Revocation);
    match &context.evidence.crl {
        Some(crl) => revocation(crl, &links, context.now, check),
        None if context.policy.rules.snp.require_crl => check.fail("the evidence holds no revocation list and `snp.require_crl` is true; fetch it from AMD and add it to the evidence"),
        None => check.skip("`snp.require_crl` is false and the evidence holds no revocation list"),
    }
    valid.then_some(endorsed)
}

/// A list by one of the issuers, about what that issuer signed: serial numbers of different issuers have nothing to do with each
/// other, and every VCEK has the same.
fn revocation(crl: &[u8], links: &[(&Certificate, &Certificate)], now: u64, check: Open<'_>) {
    let Ok(list) = CertificateList::from_der(crl) else {
        check.fail("the revocation list is not DER; fetch it from AMD again");
        return;
    };
    let tbs = &list.tbs_cert_list;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    let issued = seconds(tbs.this_update);
    let until = tbs.next_update.map(seconds);
    let check = check.input("issued", issued);
    let link = links.iter().find(|(issuer, _)| {
        tbs.issuer == issuer.tbs_certificate.subject && signed_by(issuer, &list)
    });
    let Some((issuer, subject)) = link else {
        check.fail("the revocation list is not signed by AMD's root of this generation; fetch it from AMD again");
        return;
    };
    if issued > now || until.is_none_or(|until| until < now) {
        check.fail("the revocation list is not valid now; fetch it from AMD again, and check the verifier's clock");
        return;
    }
    let serial = &subject.tbs_certificate.serial_number;
    let mut revoked = tbs.revoked_certificates.iter().flatten();
    check
        .input("issuer", &issuer.tbs_certificate.subject)
        .require(!revoked.any(|entry| entry.serial_number == *serial), || {
            format!(
                "AMD has revoked `{}`; do not rely on this host",
                subject.tbs_certificate.subject
            )
        });
}

/// RSASSA-PSS with SHA-384, as all of AMD's signatures.
fn signed_by(root: &Certificate, list: &CertificateList) -> bool {
    use der::referenced::OwnedToRef;

    let key =
        rsa::RsaPublicKey::try_from(root.tbs_certificate.subject_public_key_info.owned_to_ref());
    let (Ok(key), Ok(message), Ok(signature)) = (
        key,
        list.tbs_cert_list.to_der(),
        pss::Signature::try_from(list.signature.raw_bytes()),
    ) else {
        return false;
    };
    list.signature_algorithm == list.tbs_cert_list.signature
        && list.signature.unused_bits() == 0
        && pss::VerifyingKey::<rsa::sha2::Sha384>::new(key)
            .verify(&message, &signature)
            .is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::verdict::Status;

    const NOW: u64 = 1_751_000_000;

    macro_rules! made {
        ($name:literal) => {
            &include_bytes!(concat!("../../../vectors/made/", $name))[..]
        };
    }

    /// How a list comes out, and the subject that is named where one is revoked.
    fn judged(list: &[u8], now: u64) -> (Status, String) {
        let chain = [
            made!("root.der"),
            made!("intermediate.der"),
            made!("key.der"),
        ];
        let [root, intermediate, key] = chain.map(|der| Certificate::from_der(der).unwrap());
        let links = [(&root, &intermediate), (&intermediate, &key)];
        let mut recorder = Recorder::default();
        revocation(list, &links, now, recorder.check(CheckId::Revocation));
        let check = recorder.finish().remove(0);
        (check.status, check.reason.unwrap_or_default())
    }

    #[test]
    fn a_list_revokes_what_its_issuer_signed_and_nothing_else() {
        for list in [made!("clean.crl"), made!("other.crl")] {
            assert_eq!(judged(list, NOW).0, Status::Pass);
        }
        for (list, subject) in [
            (made!("revokes-intermediate.crl"), "CN=intermediate of"),
            (made!("revokes-key.crl"), "CN=key of the tests"),
        ] {
            let (status, reason) = judged(list, NOW);
            assert_eq!(status, Status::Fail);
            assert!(reason.contains(subject), "{reason}");
        }
    }

    #[test]
    fn a_list_of_another_time_or_with_a_byte_altered_is_refused() {
        const YEAR: u64 = 31_536_000;
        for now in [NOW - YEAR, NOW + YEAR] {
            assert!(judged(made!("clean.crl"), now).1.contains("not valid now"));
        }
        let mut altered = made!("revokes-key.crl").to_vec();
        *altered.last_mut().unwrap() ^= 1;
        assert!(judged(&altered, NOW).1.contains("not signed by AMD"));
    }
}
