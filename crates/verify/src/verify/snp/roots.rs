//! AMD's chain of trust: root (ARK), intermediate (ASK or ASVK), endorsement key (VCEK or VLEK), and the revocation list.

use der::{Decode, Encode};
use rsa::pss;
use rsa::signature::Verifier;
use sev::certs::snp::{Certificate as Signed, Verifiable, builtin};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;

use crate::policy::{FirmwareFloor, Generation, Trust};
use crate::verdict::{CheckId, Recorder};
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

pub(super) fn verify<'a>(
    context: &Context<'_>,
    certificates: &'a Result<Vec<Certificate>, String>,
    recorder: &mut Recorder,
) -> Option<Endorsed<'a>> {
    const IDS: [CheckId; 1] = [CheckId::Revocation];
    let check = recorder.check(CheckId::CertificateChain);
    let (vek, others) = match certificates.as_ref().map(|chain| chain.split_first()) {
        Ok(Some(split)) => split,
        Ok(None) => {
            check.fail("there is no certificate; ask the host for evidence again");
            recorder.blocked(CheckId::CertificateChain, &IDS);
            return None;
        }
        Err(reason) => {
            check.fail(format!("{reason}; ask the host for evidence again"));
            recorder.blocked(CheckId::CertificateChain, &IDS);
            return None;
        }
    };
    if !matches!(context.policy.trust, Trust::Hardware { amd: true, .. }) {
        check.fail("the policy names no root for SEV-SNP; add \"amd\" to `roots.vendors` if this host may run on it");
        recorder.blocked(CheckId::CertificateChain, &IDS);
        return None;
    }
    let found = context
        .policy
        .rules
        .snp
        .generations
        .accepted()
        .find_map(|(generation, floor)| Some((generation, floor, path(generation, vek, others)?)));
    let Some((generation, floor, (root, intermediate))) = found else {
        check.fail("the endorsement key is not under AMD's root of any generation that the policy names; add the generation to `snp.generations`, or do not rely on this host");
        recorder.blocked(CheckId::CertificateChain, &IDS);
        return None;
    };
    let chain = [&root, &intermediate, vek];
    let check = check
        .input("generation", generation)
        .hex("root", chain::fingerprint(&root).unwrap_or_default());
    let valid = check.require(
        chain
            .iter()
            .all(|certificate| chain::is_valid_at(certificate, context.now)),
        || {
            "a certificate is not valid now; fetch the endorsement key's from AMD anew, and set the verifier's clock right".to_owned()
        },
    );
    revocation(context, &root, [&intermediate, vek], recorder);
    valid.then_some(Endorsed {
        generation,
        floor,
        vek,
    })
}

fn revocation(
    context: &Context<'_>,
    root: &Certificate,
    certificates: [&Certificate; 2],
    recorder: &mut Recorder,
) {
    let check = recorder.check(CheckId::Revocation);
    let Some(crl) = &context.evidence.crl else {
        if context.policy.rules.snp.require_crl {
            check.fail("the evidence holds no revocation list and `snp.require_crl` is true; fetch it from AMD and add it to the evidence");
        } else {
            check.skip("`snp.require_crl` is false and the evidence holds no revocation list");
        }
        return;
    };
    let Ok(list) = CertificateList::from_der(crl) else {
        check.fail("the revocation list is not DER; fetch it from AMD anew");
        return;
    };
    let tbs = &list.tbs_cert_list;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    let issued = seconds(tbs.this_update);
    let check = check.input("issued", issued);
    if tbs.issuer != root.tbs_certificate.subject || !signed_by(root, &list) {
        check.fail("the revocation list is not signed by AMD's root of this generation; fetch it from AMD anew");
    } else if issued > context.now
        || tbs
            .next_update
            .is_none_or(|next| seconds(next) < context.now)
    {
        check.fail("the revocation list is not of now; fetch it from AMD anew, and set the verifier's clock right");
    } else {
        let revoked = tbs.revoked_certificates.iter().flatten().any(|revoked| {
            certificates.iter().any(|certificate| {
                certificate.tbs_certificate.serial_number == revoked.serial_number
            })
        });
        check.require(!revoked, || {
            "AMD has revoked a certificate of this machine; do not rely on this host".to_owned()
        });
    }
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
    pss::VerifyingKey::<rsa::sha2::Sha384>::new(key)
        .verify(&message, &signature)
        .is_ok()
}
