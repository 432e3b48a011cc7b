//! A guest above a simulator: what it booted and measured, its evidence, and the policy for it.

use std::sync::Arc;

use const_hex::encode;
use hypervisor_attestation::{Attestation, Collateral, Identity, Measured};
use hypervisor_evidence::vtpm::report_data;
use hypervisor_evidence::{
    Attester, AttesterError, Backend, Capabilities, Evidence, Quote, REGISTER, REPORT_DATA, Subject,
};
use hypervisor_simulated::Simulator;
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::{
    Challenge, Expected, ExpectedSubject, Policy, Verdict, VerifierNonce, verify,
};
use hypervisor_vtpm::{Paths, VtpmAttester};
use sha2::{Digest, Sha256};

use super::Swtpm;

/// 2026-01-01T00:00:00Z, within the simulator's collateral.
pub(crate) const NOW: u64 = 1_767_225_600;
const MANIFEST: &[u8] = b"\xa1\x64host\x68test 1.0";
const HCL_REPORT: u32 = 0x0140_0001;
const HCL_KEY: u32 = 0x8100_0003;

/// What the firmware put into PCRs: register, type, and what it is.
const EVENTS: [(u32, u32, &[u8]); 3] = [
    (4, 0x8000_0003, b"the kernel"),
    (4, 0x4, &[0; 4]),
    (7, 0x4, &[0; 4]),
];

pub(crate) fn simulator() -> Arc<Simulator> {
    Arc::new(Simulator::builder(b"tests of TPMs").build().unwrap())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn le(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// A guest that has booted.
pub(crate) struct Guest {
    pub(crate) swtpm: Swtpm,
    pub(crate) simulator: Arc<Simulator>,
}

impl Guest {
    /// One whose firmware and kernel have measured, and logged it.
    pub(crate) fn booted() -> Self {
        let swtpm = Swtpm::start();
        let spec = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0b\0\x20\0\0";
        let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &le(spec)].concat();
        for (pcr, kind, data) in EVENTS {
            swtpm.extend(pcr, &sha256(data));
            log.extend(pcr.to_le_bytes());
            log.extend(kind.to_le_bytes());
            log.extend([1, 0, 0, 0, 0x0b, 0]);
            log.extend(sha256(data));
            log.extend(le(data));
        }
        std::fs::write(swtpm.path("boot"), log).unwrap();
        std::fs::write(swtpm.path("ima"), []).unwrap();
        let guest = Self {
            swtpm,
            simulator: simulator(),
        };
        guest.measure("/init", b"the host");
        guest
    }

    /// What the kernel does before it runs a file.
    pub(crate) fn measure(&self, path: &str, content: &[u8]) {
        let digest = [&b"sha256:\0"[..], &sha256(content)].concat();
        let data = [le(&digest), le(&[path.as_bytes(), &[0]].concat())].concat();
        let entry = [
            &10_u32.to_le_bytes()[..],
            &[0x11; 20],
            &le(b"ima-ng"),
            &le(&data),
        ]
        .concat();
        let mut list = std::fs::read(self.swtpm.path("ima")).unwrap();
        list.extend(entry);
        std::fs::write(self.swtpm.path("ima"), list).unwrap();
        self.swtpm.extend(10, &sha256(&data));
    }

    /// What Azure's paravisor does: a key, and a report that names it, of a TD.
    pub(crate) fn with_paravisor(self) -> Self {
        self.swtpm.keep_key(HCL_KEY, true);
        let key = self.swtpm.tpm().quoting_key(HCL_KEY).unwrap();
        self.with_report(&key.runtime_data())
    }

    pub(crate) fn with_report(self, runtime_data: &[u8]) -> Self {
        let mut report = [0; 1184];
        report[128..192].copy_from_slice(&report_data(runtime_data));
        let block = [
            &b"HCLA\x02\0\0\0"[..],
            &[0; 24],
            &report,
            &(20 + runtime_data.len() as u32).to_le_bytes(),
            &[1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0],
            &le(runtime_data),
            &[0; 16],
        ]
        .concat();
        self.swtpm.write(HCL_REPORT, &block);
        self
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths {
            boot_log: self.swtpm.path("boot"),
            ima: Some(self.swtpm.path("ima")),
        }
    }

    /// Evidence of a host's identity, as a host makes it.
    pub(crate) fn evidence(&self, attester: VtpmAttester, nonce: &VerifierNonce) -> Evidence {
        let attester: Arc<dyn Attester> = Arc::new(OnSimulator(attester));
        let log = Arc::new(Measured::on(&attester, None).unwrap());
        let collateral = self.simulator.collateral_json().unwrap().into_bytes();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let attestation = Attestation::start(
                attester,
                Arc::new(Identity::generate().unwrap()),
                log,
                Some(Collateral::new(collateral)),
                MANIFEST.to_vec(),
                None,
            )
            .unwrap();
            let of_identity = attestation.evidence(None, Subject::Identity, Some(nonce.clone()));
            let cbor = hypervisor_protocol::ContentFormat::Cbor;
            let encoded = of_identity.await.unwrap().encode(cbor).unwrap();
            Evidence::decode(cbor, &encoded).unwrap()
        })
    }

    pub(crate) fn verdict(&self, attester: VtpmAttester, policy: &Policy) -> Verdict {
        let nonce = VerifierNonce::new((7..39).collect::<Vec<u8>>()).unwrap();
        let evidence = self.evidence(attester, &nonce);
        let challenge = Challenge {
            nonce,
            made_at: NOW,
        };
        let expected = Expected::new(ExpectedSubject::Identity, Some(challenge));
        verify(&evidence, policy, &expected, NOW)
    }
}

/// The events as a policy names them.
pub(crate) fn events() -> String {
    let named = EVENTS.map(|(pcr, kind, data)| {
        let kind = hypervisor_verify::boot_log::type_name(kind);
        let digest = encode(sha256(data));
        format!("{{ pcr = {pcr}, type = \"{kind}\", digest = \"{digest}\" }}")
    });
    format!("events = [{}]\n", named.join(", "))
}

/// The policy that evidence passes under these roots, with these keys of `[vtpm]`.
pub(crate) fn policy(roots: &str, simulator: &Simulator, vtpm: &str) -> Policy {
    let quote = simulator.raw_quote(&[0; 64]).unwrap();
    let report = TdxQuote::parse(&quote).unwrap().report;
    let [rtmr0, rtmr1, rtmr2, _] = report.rtmr.map(encode);
    let text = format!(
        "version = 1\nmanifest.any = true\ncomponents.any = true\nroots.{roots}\n[[tdx.reference]]\nname = \"paravisor\"\nmrtd = \"{}\"\n\
         rtmr0 = \"{rtmr0}\"\nrtmr1 = \"{rtmr1}\"\nrtmr2 = \"{rtmr2}\"\nxfam = \"{}\"\ntd_attributes = \"{}\"\nmrconfigid = \"{}\"\n\
         mrowner = \"{}\"\nmrownerconfig = \"{}\"\n[vtpm]\n{vtpm}\n[[vtpm.reference]]\nname = \"image\"\n{}\
         files = [{{ path = \"/init\", sha256 = \"{}\" }}]\n",
        encode(report.mrtd),
        encode(report.xfam),
        encode(report.td_attributes),
        encode(report.mrconfigid),
        encode(report.mrowner),
        encode(report.mrownerconfig),
        events(),
        encode(sha256(b"the host")),
    );
    Policy::parse(&text).unwrap()
}

/// The attester, which takes the hardware for what its quote says, where the hardware is simulated.
pub(crate) struct OnSimulator(VtpmAttester);

impl Attester for OnSimulator {
    fn backend(&self) -> Backend {
        Backend::Simulated
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, AttesterError> {
        self.0.quote(report_data)
    }

    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), AttesterError> {
        self.0.extend(digest)
    }

    fn read_register(&self) -> Result<[u8; REGISTER], AttesterError> {
        self.0.read_register()
    }

    fn boot_log(&self) -> Result<Option<Vec<u8>>, AttesterError> {
        self.0.boot_log()
    }
}
