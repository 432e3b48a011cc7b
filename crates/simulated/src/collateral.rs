//! TCB Info and QE identity, as Intel's provisioning service gives them (API version 4), signed by the simulated vendor.

use dcap_qvl::QuoteCollateralV3;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::keys::sign;
use crate::pki::{MARK, Pki};
use crate::platform::{CollateralOptions, ComponentTcb, Platform, PlatformTcb};

/// SVNs of `TEE_TCB_SVN` that the module's own identity does not judge: index 2 is the late microcode.
pub(crate) const TDX_MICROCODE: u8 = 3;
/// Major version of the simulated TDX module.
pub(crate) const TDX_MODULE_VERSION: u8 = 1;
/// Product id of a TD quoting enclave.
pub(crate) const QE_PRODUCT: u16 = 2;
/// Attributes of the quoting enclave: INIT and PROVISIONKEY, not debug.
pub(crate) const QE_ATTRIBUTES: [u8; 16] = [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Signer of the simulated quoting enclave, not Intel's.
pub(crate) fn qe_signer() -> [u8; 32] {
    Sha256::digest(MARK).into()
}

pub(crate) fn collateral(pki: &Pki, platform: &Platform) -> Result<QuoteCollateralV3, Error> {
    let tcb_info = serde_json::to_string(&tcb_info(platform))?;
    let qe_identity = serde_json::to_string(&qe_identity(&platform.collateral))?;
    Ok(QuoteCollateralV3 {
        pck_crl_issuer_chain: pki.chain(&[&pki.pck_ca])?,
        root_ca_crl: pki.root_crl.clone(),
        pck_crl: pki.pck_crl.clone(),
        tcb_info_issuer_chain: pki.chain(&[&pki.tcb_signer])?,
        tcb_info_signature: sign(&pki.tcb_signer.key, tcb_info.as_bytes())?.to_vec(),
        tcb_info,
        qe_identity_issuer_chain: pki.chain(&[&pki.qe_signer])?,
        qe_identity_signature: sign(&pki.qe_signer.key, qe_identity.as_bytes())?.to_vec(),
        qe_identity,
        pck_certificate_chain: None,
    })
}

fn tcb_info(platform: &Platform) -> TcbInfo {
    let options = &platform.collateral;
    let module = Module::simulated();
    TcbInfo {
        id: "TDX",
        version: 3,
        issue_date: date(options.issued),
        next_update: date(options.next_update),
        fmspc: upper(&options.fmspc.unwrap_or(platform.fmspc)),
        pce_id: "0000",
        tcb_type: 0,
        tcb_evaluation_data_number: options.evaluation,
        tdx_module: module.clone(),
        tdx_module_identities: vec![ModuleIdentity {
            id: format!("TDX_{TDX_MODULE_VERSION:02X}"),
            module,
            tcb_levels: component_levels(),
        }],
        tcb_levels: PlatformTcb::LISTED
            .iter()
            .map(|level| platform_level(platform, *level))
            .collect(),
    }
}

fn platform_level(platform: &Platform, level: PlatformTcb) -> Level<PlatformSvns> {
    let mut tdx = [0; 16];
    if let Some(microcode) = tdx.get_mut(2) {
        *microcode = TDX_MICROCODE;
    }
    Level {
        tcb: PlatformSvns {
            sgx: platform.cpu_svn.map(|svn| Component { svn }),
            pcesvn: level.pce_svn(),
            tdx: tdx.map(|svn| Component { svn }),
        },
        tcb_date: "2024-03-13T00:00:00Z",
        tcb_status: level.status(),
        advisories: match level {
            PlatformTcb::UpToDate => platform.collateral.advisories.clone(),
            _ => vec!["SIMULATED-SA-00001".to_owned()],
        },
    }
}

fn qe_identity(options: &CollateralOptions) -> QeIdentity {
    QeIdentity {
        id: "TD_QE",
        version: 2,
        issue_date: date(options.issued),
        next_update: date(options.next_update),
        tcb_evaluation_data_number: options.evaluation,
        miscselect: "00000000",
        miscselect_mask: "FFFFFFFF",
        attributes: upper(&QE_ATTRIBUTES),
        attributes_mask: "FBFFFFFFFFFFFFFF0000000000000000",
        mrsigner: upper(&qe_signer()),
        isvprodid: QE_PRODUCT,
        tcb_levels: component_levels(),
    }
}

fn component_levels() -> Vec<Level<ComponentSvn>> {
    ComponentTcb::LISTED
        .iter()
        .map(|level| Level {
            tcb: ComponentSvn {
                isvsvn: level.svn(),
            },
            tcb_date: "2024-03-13T00:00:00Z",
            tcb_status: level.status(),
            advisories: match level {
                ComponentTcb::UpToDate => Vec::new(),
                _ => vec!["SIMULATED-SA-00002".to_owned()],
            },
        })
        .collect()
}

/// RFC 3339, whole seconds, UTC.
fn date(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn upper(bytes: &[u8]) -> String {
    const_hex::encode_upper(bytes)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: &'static str,
    tcb_type: u32,
    tcb_evaluation_data_number: u32,
    tdx_module: Module,
    tdx_module_identities: Vec<ModuleIdentity>,
    tcb_levels: Vec<Level<PlatformSvns>>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    mrsigner: String,
    attributes: &'static str,
    attributes_mask: &'static str,
}

impl Module {
    /// Intel's module has a signer of zeros in quotes, and so has this one.
    fn simulated() -> Self {
        Self {
            mrsigner: upper(&[0; 48]),
            attributes: "0000000000000000",
            attributes_mask: "FFFFFFFFFFFFFFFF",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModuleIdentity {
    id: String,
    #[serde(flatten)]
    module: Module,
    tcb_levels: Vec<Level<ComponentSvn>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Level<T> {
    tcb: T,
    tcb_date: &'static str,
    tcb_status: &'static str,
    #[serde(rename = "advisoryIDs", skip_serializing_if = "Vec::is_empty")]
    advisories: Vec<String>,
}

#[derive(Serialize)]
struct PlatformSvns {
    #[serde(rename = "sgxtcbcomponents")]
    sgx: [Component; 16],
    pcesvn: u16,
    #[serde(rename = "tdxtcbcomponents")]
    tdx: [Component; 16],
}

#[derive(Serialize)]
struct Component {
    svn: u8,
}

#[derive(Serialize)]
struct ComponentSvn {
    isvsvn: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentity {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: &'static str,
    miscselect_mask: &'static str,
    attributes: String,
    attributes_mask: &'static str,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<Level<ComponentSvn>>,
}
