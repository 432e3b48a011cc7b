//! A TPM of this test's own: what it signs can be wrong in every way.

use crate::support::*;
use const_hex::encode;
use hypervisor_verify::vtpm::{PCRS, RsaKey, Vtpm, report_data};
use hypervisor_verify::{
    Binding, CheckId, ComponentLog, Evidence, Policy, RawQuote, Status, Verdict,
};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, sha2::Sha256};
use sha2::Digest;

pub(super) const ALL: [u8; 10] = [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff];

pub(super) fn key(name: &str) -> RsaPrivateKey {
    let path = format!("{}/vectors/made/{name}.der", env!("CARGO_MANIFEST_DIR"));
    RsaPrivateKey::from_pkcs8_der(&std::fs::read(path).unwrap()).unwrap()
}

pub(super) fn public(key: &RsaPrivateKey) -> RsaKey {
    RsaKey {
        n: key.n().to_bytes_be(),
        e: key.e().to_bytes_be(),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

pub(super) fn extend(value: [u8; 32], digest: [u8; 32]) -> [u8; 32] {
    sha256(&[value, digest].concat())
}

fn le(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// A firmware's log with SHA-1 and SHA-256.
pub(super) fn boot_log(events: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let spec = [
        &b"Spec ID Event03\0"[..],
        &[0, 0, 0, 0, 0, 2, 0, 2],
        &[2, 0, 0, 0, 4, 0, 20, 0, 0x0b, 0, 32, 0, 0],
    ]
    .concat();
    let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &le(&spec)].concat();
    for (pcr, kind, data) in events {
        log.extend(pcr.to_le_bytes());
        log.extend(kind.to_le_bytes());
        log.extend([2, 0, 0, 0, 4, 0]);
        log.extend([0xaa; 20]);
        log.extend([0x0b, 0]);
        log.extend(sha256(data));
        log.extend(le(data));
    }
    log
}

pub(super) const EVENTS: [(u32, u32, &[u8]); 4] = [
    (4, 0x8000_0003, b"the kernel"),
    (4, 0x4, &[0; 4]),
    (7, 0x8000_0001, b"SecureBoot"),
    (7, 0x4, &[0; 4]),
];

/// An entry of a list of measured files (ima-ng), and what it puts into PCR10.
pub(super) fn file(path: &str, content: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let digest = [&b"sha256:\0"[..], &sha256(content)].concat();
    let data = [le(&digest), le(&[path.as_bytes(), &[0]].concat())].concat();
    let entry = [
        &10_u32.to_le_bytes()[..],
        &[0x11; 20],
        &le(b"ima-ng"),
        &le(&data),
    ]
    .concat();
    (entry, sha256(&data))
}

pub(super) fn binding() -> Binding {
    Binding {
        register_bound: false,
        log: ComponentLog::new().head(),
        ..crate::support::binding()
    }
}

/// What a TPM says, each part by itself.
#[derive(Clone)]
pub(super) struct Made {
    /// What the hardware is asked for.
    pub(super) hardware: [u8; 64],
    pub(super) runtime_data: Vec<u8>,
    pub(super) signer: RsaPrivateKey,
    pub(super) magic: u32,
    pub(super) kind: u16,
    pub(super) extra_data: Vec<u8>,
    pub(super) selection: Vec<u8>,
    pub(super) quoted_pcrs: [[u8; 32]; PCRS],
    pub(super) pcrs: [[u8; 32]; PCRS],
    pub(super) after: Vec<u8>,
    pub(super) boot_log: Option<Vec<u8>>,
    pub(super) ima: Option<Vec<u8>>,
}

impl Made {
    pub(super) fn new() -> Self {
        let signer = key("tpm_key");
        let runtime_data = public(&signer).runtime_data();
        let mut pcrs = [[0; 32]; PCRS];
        for (pcr, _, data) in EVENTS {
            let pcr = &mut pcrs[pcr as usize];
            *pcr = extend(*pcr, sha256(data));
        }
        let mut ima = Vec::new();
        for (path, content) in [("boot_aggregate", &b"pcrs"[..]), ("/init", b"the host")] {
            let (entry, digest) = file(path, content);
            ima.extend(entry);
            pcrs[10] = extend(pcrs[10], digest);
        }
        Self {
            hardware: report_data(&runtime_data),
            runtime_data,
            signer,
            magic: 0xff54_4347,
            kind: 0x8018,
            extra_data: binding().report_data().as_bytes().to_vec(),
            selection: ALL.to_vec(),
            quoted_pcrs: pcrs,
            pcrs,
            after: Vec::new(),
            boot_log: Some(boot_log(&EVENTS)),
            ima: Some(ima),
        }
    }

    fn attest(&self) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        [
            &self.magic.to_be_bytes()[..],
            &self.kind.to_be_bytes(),
            &sized(&[0, 0x0b, 7, 7]),
            &sized(&self.extra_data),
            &[0; 8],
            &[0, 0, 0, 2, 0, 0, 0, 1],
            &[1],
            &[0x20; 8],
            &self.selection,
            &sized(&sha256(self.quoted_pcrs.as_flattened())),
            &self.after,
        ]
        .concat()
    }

    pub(super) fn vtpm(&self) -> Vtpm {
        let attest = self.attest();
        let signature = SigningKey::<Sha256>::new(self.signer.clone()).sign(&attest);
        Vtpm::new(
            self.runtime_data.clone(),
            attest,
            signature.to_vec(),
            self.pcrs,
        )
    }

    pub(super) fn evidence(&self) -> Evidence {
        let simulator = builder().build().unwrap();
        let quote = simulator.raw_quote(&self.hardware).unwrap();
        Evidence {
            log: Some(cbor(&ComponentLog::new())),
            manifest: Some(MANIFEST.to_vec()),
            collateral: Some(simulator.collateral_json().unwrap().into_bytes()),
            vtpm: Some(self.vtpm().encode().unwrap()),
            boot_log: self.boot_log.clone(),
            ima: self.ima.clone(),
            ..Evidence::new(RawQuote::Tdx(quote), &binding())
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        verify(&self.evidence(), &policy(REFERENCE_FILES))
    }

    /// The checks that fail.
    pub(super) fn failed(&self) -> Vec<CheckId> {
        failed(&self.verdict())
    }
}

pub(super) const REFERENCE_FILES: &str = "files = [{ path = \"/init\", sha256 = \"<host>\" }]";

/// Events of [`EVENTS`] as a policy names them, without those of a register.
pub(super) fn events() -> String {
    let named = EVENTS.map(|(pcr, kind, data)| {
        let kind = hypervisor_verify::boot_log::type_name(kind);
        format!(
            "{{ pcr = {pcr}, type = \"{kind}\", digest = \"{}\" }}",
            encode(sha256(data))
        )
    });
    format!("events = [{}]\n", named.join(", "))
}

/// The policy that evidence of [`Made::new`] passes, by its events, with more of `[[vtpm.reference]]`.
pub(super) fn policy(more: &str) -> Policy {
    let reference = format!(
        "[[vtpm.reference]]\nname = \"the image\"\n{}{more}\n",
        events()
    );
    policy_of(&reference)
}

/// A policy with this `[vtpm]`.
pub(super) fn policy_of(vtpm: &str) -> Policy {
    let quote = builder().build().unwrap().raw_quote(&[0; 64]).unwrap();
    let vtpm = vtpm.replace("<host>", &encode(sha256(b"the host")));
    let vtpm = match vtpm.contains("[vtpm]") {
        true => vtpm,
        false => format!("[vtpm]\nparavisor = true\n{vtpm}"),
    };
    let text = format!(
        "{}[tdx]\n{}{}{vtpm}",
        simulated_roots(),
        tdx_reference(&quote, &[0; 48]),
        software()
    );
    Policy::parse(&text).unwrap()
}

pub(super) fn verify(evidence: &Evidence, policy: &Policy) -> Verdict {
    hypervisor_verify::verify(evidence, policy, &expected_session(), NOW)
}

#[test]
fn hardware_then_tpm_then_host_verify_together() {
    let verdict = Made::new().verdict();
    assert!(verdict.passed(), "{verdict}");
    for id in [
        CheckId::RuntimeData,
        CheckId::VtpmKey,
        CheckId::VtpmQuote,
        CheckId::Pcrs,
        CheckId::BootLog,
        CheckId::Files,
        CheckId::ReportData,
    ] {
        assert_eq!(status(&verdict, id), Some(Status::Pass), "{verdict}");
    }
    // No check stands there twice.
    let mut ids: Vec<&str> = verdict.checks().iter().map(|it| it.id.name()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "{verdict}");
}

#[test]
fn a_simulator_below_a_tpm_is_refused_where_the_policy_wants_hardware() {
    let reference = format!("[[vtpm.reference]]\nname = \"it\"\n{}", events());
    let text = format!(
        "version = 1\nvtpm.paravisor = true\nroots.vendors = [\"intel\", \"amd\"]\n{reference}{}",
        software()
    );
    let verdict = verify(&Made::new().evidence(), &Policy::parse(&text).unwrap());
    for id in [CheckId::TrustDomain, CheckId::CertificateChain] {
        assert_eq!(status(&verdict, id), Some(Status::Fail), "{verdict}");
    }
}
