//! The certificates: a root of its own per seed, and what DCAP hangs under it.

use p256::ecdsa::{DerSignature, SigningKey};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, CrlBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::der::asn1::OctetString;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Encode, EncodePem, flagset::FlagSet};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlNumber, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use crate::error::Error;
use crate::keys::{derive, failed};
use crate::platform::Platform;
use crate::sgx_extension;

/// In the subject of every certificate.
pub const MARK: &str = "SIMULATED — NOT A TEE";

/// 2020-01-01T00:00:00Z, when every simulated certificate begins.
const CERTIFICATE_FROM: u64 = 1_577_836_800;
/// 2049-12-31T00:00:00Z, when they end.
const CERTIFICATE_UNTIL: u64 = crate::platform::COLLATERAL_UNTIL;

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) key: SigningKey,
    pub(crate) certificate: Certificate,
}

/// Every certificate and CRL of one simulated vendor.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    pub(crate) root: Issued,
    pub(crate) pck_ca: Issued,
    pub(crate) pck: Issued,
    pub(crate) tcb_signer: Issued,
    pub(crate) qe_signer: Issued,
    pub(crate) root_crl: Vec<u8>,
    pub(crate) pck_crl: Vec<u8>,
}

impl Pki {
    pub(crate) fn new(seed: &[u8], platform: &Platform) -> Result<Self, Error> {
        let root = issue(seed, "Root CA", Kind::Authority(1), None, None)?;
        let pck_ca = issue(
            seed,
            "PCK Platform CA",
            Kind::Authority(0),
            Some(&root),
            None,
        )?;
        let sgx = sgx_extension::extension(
            platform,
            &identifier(seed, "ppid"),
            &identifier(seed, "platform instance"),
        )?;
        let pck = issue(
            seed,
            "PCK Certificate",
            Kind::Leaf,
            Some(&pck_ca),
            Some(sgx),
        )?;
        let tcb_signer = issue(seed, "TCB Info Signing", Kind::Leaf, Some(&root), None)?;
        let qe_signer = issue(seed, "QE Identity Signing", Kind::Leaf, Some(&root), None)?;
        let root_crl = crl(
            &root,
            platform,
            platform.pck_ca_revoked.then_some(&pck_ca.certificate),
        )?;
        let pck_crl = crl(
            &pck_ca,
            platform,
            platform.pck_revoked.then_some(&pck.certificate),
        )?;
        Ok(Self {
            root,
            pck_ca,
            pck,
            tcb_signer,
            qe_signer,
            root_crl,
            pck_crl,
        })
    }

    /// The root certificate in DER.
    pub(crate) fn root_der(&self) -> Result<Vec<u8>, Error> {
        self.root
            .certificate
            .to_der()
            .map_err(|error| failed("root certificate", error))
    }

    /// `certificates`, leaf first, as one PEM text, ended by the root.
    pub(crate) fn chain(&self, certificates: &[&Issued]) -> Result<String, Error> {
        let mut text = String::new();
        for issued in certificates.iter().copied().chain([&self.root]) {
            let pem = issued
                .certificate
                .to_pem(LineEnding::LF)
                .map_err(|error| failed("certificate chain", error))?;
            text.push_str(&pem);
        }
        Ok(text)
    }
}

/// What a certificate may do; an authority has its path length.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Authority(u8),
    Leaf,
}

/// Extensions as in Intel's own certificates, without the distribution points: nothing is ever fetched.
struct Profile<'a> {
    subject: Name,
    issuer: Option<&'a Name>,
    kind: Kind,
    sgx: Option<Extension>,
}

impl BuilderProfile for Profile<'_> {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.unwrap_or(subject).clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let (usage, constraints): (FlagSet<KeyUsages>, _) = match self.kind {
            Kind::Authority(path) => (
                KeyUsages::KeyCertSign | KeyUsages::CRLSign,
                BasicConstraints {
                    ca: true,
                    path_len_constraint: Some(path),
                },
            ),
            Kind::Leaf => (
                KeyUsages::DigitalSignature | KeyUsages::NonRepudiation,
                BasicConstraints {
                    ca: false,
                    path_len_constraint: None,
                },
            ),
        };
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(&issuer_key)?),
            ..Default::default()
        };
        let subject = tbs.subject();
        let mut extensions = vec![
            authority.to_extension(subject, &[])?,
            SubjectKeyIdentifier(key_identifier(&key)?).to_extension(subject, &[])?,
            KeyUsage(usage).to_extension(subject, &[])?,
            constraints.to_extension(subject, &[])?,
        ];
        extensions.extend(self.sgx.clone());
        Ok(extensions)
    }
}

/// RFC 7093 section 2, method 1: the first 20 bytes of SHA-256 over the key's bits.
fn key_identifier(key: &SubjectPublicKeyInfoRef<'_>) -> x509_cert::der::Result<OctetString> {
    let digest = Sha256::digest(key.subject_public_key.raw_bytes());
    OctetString::new(digest.get(..20).unwrap_or_default())
}

fn issue(
    seed: &[u8],
    role: &'static str,
    kind: Kind,
    issuer: Option<&Issued>,
    sgx: Option<Extension>,
) -> Result<Issued, Error> {
    let key = derive(seed, role)?;
    let build = || -> x509_cert::builder::Result<Certificate> {
        let subject: Name = format!("CN={MARK}: {role},O={MARK},C=ZZ").parse()?;
        let spki: SubjectPublicKeyInfoOwned = SubjectPublicKeyInfo::from_key(key.verifying_key())?;
        let validity = Validity::new(
            plain_time(CERTIFICATE_FROM)?,
            plain_time(CERTIFICATE_UNTIL)?,
        );
        let profile = Profile {
            subject,
            issuer: issuer.map(|issuer| issuer.certificate.tbs_certificate().subject()),
            kind,
            sgx,
        };
        let builder = CertificateBuilder::new(profile, serial(&key)?, validity, spki)?;
        let signer = issuer.map_or(&key, |issuer| &issuer.key);
        builder.build::<_, DerSignature>(signer)
    };
    let certificate = build().map_err(|error| failed(role, error))?;
    Ok(Issued { key, certificate })
}

/// Serial number from the key, so that no two certificates share one: 16 bytes, the first bit clear and the next set.
fn serial(key: &SigningKey) -> x509_cert::der::Result<SerialNumber> {
    let digest = Sha256::digest(key.verifying_key().to_sec1_point(true).as_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    SerialNumber::new(&bytes)
}

/// The CRL of `issuer`, valid as long as the rest of the collateral.
fn crl(
    issuer: &Issued,
    platform: &Platform,
    revoked: Option<&Certificate>,
) -> Result<Vec<u8>, Error> {
    let issued = time(platform.collateral.issued)?;
    let next_update = time(platform.collateral.next_update)?;
    let build = || -> x509_cert::builder::Result<CertificateList> {
        let mut builder = CrlBuilder::new_with_this_update(
            &issuer.certificate,
            CrlNumber::try_from(platform.collateral.evaluation)?,
            issued,
        )?
        .with_next_update(Some(next_update));
        if let Some(certificate) = revoked {
            builder = builder.with_certificates(std::iter::once(RevokedCert {
                serial_number: certificate.tbs_certificate().serial_number().clone(),
                revocation_date: issued,
                crl_entry_extensions: None,
            }));
        }
        builder.build::<_, DerSignature>(&issuer.key)
    };
    build()
        .and_then(|list| Ok(list.to_der()?))
        .map_err(|error| failed("CRL", error))
}

/// Unix seconds as X.509 says them.
fn time(seconds: u64) -> Result<Time, Error> {
    if seconds > CERTIFICATE_UNTIL {
        return Err(Error::Time { seconds });
    }
    plain_time(seconds).map_err(|_| Error::Time { seconds })
}

fn plain_time(seconds: u64) -> x509_cert::der::Result<Time> {
    Time::try_from(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

/// Sixteen bytes that stand for this simulated machine.
fn identifier(seed: &[u8], label: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(MARK);
    hash.update(label);
    hash.update(seed);
    let digest: [u8; 32] = hash.finalize().into();
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = from;
    }
    out
}
