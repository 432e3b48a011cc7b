//! A TDX quote, byte by byte.
//!
//! Intel TDX DCAP Quoting Library API, "Quote Format". All integers little-endian:
//!
//! ```text
//! header     0  version u16, key type u16 = 2, TEE type u32 = 0x81, QE SVN u16, PCE SVN u16, vendor id 16, user data 20
//! v5 only   48  body type u16 (2, 3, 4), body size u32
//! body       +  584, 648 or 885 bytes
//! auth       +  u32 length: signature 64, key 64, u16 = 6, u32 length:
//!                 QE report 384, its signature 64, u16 length and auth data, u16 = 5, u32 length and PEM chain
//! ```

use sha2::{Digest, Sha256};

use crate::collateral::{QE_ATTRIBUTES, QE_PRODUCT, TDX_MICROCODE, TDX_MODULE_VERSION, qe_signer};
use crate::error::Error;
use crate::keys::{public, sign};
use crate::pki::Pki;
use crate::platform::{ComponentTcb, Platform};
use crate::td::{QuoteBody, Td};

/// `user_data` of the header, where a real quoting enclave puts its id.
pub const USER_DATA: [u8; 20] = *b"SIMULATED NOT A TEE\0";
/// What MROWNER begins with; zeros follow.
pub const MR_OWNER: &[u8; 19] = b"SIMULATED NOT A TEE";
/// Intel's id for its quoting enclaves: verifiers read no other format.
const QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// Auth data of the quoting enclave: 32 bytes, bound with the key by the QE report.
const AUTH_DATA: [u8; 32] = *b"SIMULATED NOT A TEE             ";

/// Makes the quote of `td` over `report_data`, with `registers` as RTMR0 to RTMR3.
pub(crate) fn quote(
    pki: &Pki,
    platform: &Platform,
    td: &Td,
    attestation_key: &p256::ecdsa::SigningKey,
    registers: &[[u8; 48]; 4],
    report_data: &[u8; 64],
) -> Result<Vec<u8>, Error> {
    let mut quote = header(td.body);
    let body = body(platform, td, registers, report_data);
    if let Some(kind) = td.body.kind() {
        quote.extend_from_slice(&kind.to_le_bytes());
        prefixed_u32(&mut quote, &body);
    } else {
        quote.extend_from_slice(&body);
    }
    if let Some((at, bytes)) = &td.altered {
        let place = quote.iter_mut().skip(*at);
        place.zip(bytes).for_each(|(to, from)| *to = *from);
    }

    let mut auth = sign(attestation_key, &quote)?.to_vec();
    auth.extend_from_slice(&public(attestation_key)?);
    auth.extend_from_slice(&6_u16.to_le_bytes());
    prefixed_u32(
        &mut auth,
        &certification(pki, platform, td, attestation_key)?,
    );

    prefixed_u32(&mut quote, &auth);
    quote.extend(std::iter::repeat_n(td.tail.1, td.tail.0));
    Ok(quote)
}

fn header(body: QuoteBody) -> Vec<u8> {
    let mut out = Vec::with_capacity(8192);
    let version: u16 = if body == QuoteBody::V4 { 4 } else { 5 };
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&0x81_u32.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&QE_VENDOR);
    out.extend_from_slice(&USER_DATA);
    out
}

/// `TEE_TCB_SVN`: the module's SVN and version, and the late microcode's SVN.
fn tee_tcb_svn(module: ComponentTcb) -> [u8; 16] {
    let mut out = [0; 16];
    let known = [module.svn(), TDX_MODULE_VERSION, TDX_MICROCODE];
    for (to, from) in out.iter_mut().zip(known) {
        *to = from;
    }
    out
}

/// MROWNER of every simulated TD.
pub(crate) fn mr_owner() -> [u8; 48] {
    let mut out = [0; 48];
    for (to, from) in out.iter_mut().zip(MR_OWNER) {
        *to = *from;
    }
    out
}

fn body(
    platform: &Platform,
    td: &Td,
    registers: &[[u8; 48]; 4],
    report_data: &[u8; 64],
) -> Vec<u8> {
    let launch = tee_tcb_svn(platform.module);
    let mut out = Vec::with_capacity(885);
    out.extend_from_slice(&launch);
    out.extend_from_slice(&Sha256::digest(b"SIMULATED TDX MODULE"));
    // MRSEAM is 48 bytes, then MRSIGNERSEAM (48) and SEAMATTRIBUTES (8), which are zero for Intel's module.
    out.extend_from_slice(&[0; 16 + 48 + 8]);
    out.extend_from_slice(&td.attributes.to_le_bytes());
    out.extend_from_slice(&td.xfam.to_le_bytes());
    out.extend_from_slice(&td.mrtd);
    out.extend_from_slice(&td.mr_config_id);
    out.extend_from_slice(&mr_owner());
    out.extend_from_slice(&td.mr_owner_config);
    out.extend_from_slice(registers.as_flattened());
    out.extend_from_slice(report_data);
    if matches!(td.body, QuoteBody::V5Td15 | QuoteBody::V5Td15Ex) {
        let current = platform.current_module.unwrap_or(platform.module);
        out.extend_from_slice(&tee_tcb_svn(current));
        out.extend_from_slice(&td.mr_service_td);
    }
    if td.body == QuoteBody::V5Td15Ex {
        // VM index, TD id (32), device information (48), service TD at creation (48 + 8).
        out.push(0);
        out.extend_from_slice(&Sha256::digest(td.mrtd));
        out.extend_from_slice(&[0; 48]);
        out.extend_from_slice(&td.mr_service_td);
        out.extend_from_slice(&[0; 8]);
        // TCB at creation: CPU SVN (16), TEE TCB SVN (16), model (12); then the present service TD (48 + 8).
        out.extend_from_slice(&platform.cpu_svn);
        out.extend_from_slice(&launch);
        out.extend_from_slice(&platform.fmspc);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&td.mr_service_td);
        out.extend_from_slice(&[0; 8]);
    }
    out
}

/// QE report certification data: the QE report binds the attestation key, the PCK key signs the QE report.
fn certification(
    pki: &Pki,
    platform: &Platform,
    td: &Td,
    attestation_key: &p256::ecdsa::SigningKey,
) -> Result<Vec<u8>, Error> {
    let report = qe_report(platform, &public(attestation_key)?);
    let mut out = report.clone();
    out.extend_from_slice(&sign(&pki.pck.key, &report)?);
    let [low, high, ..] = AUTH_DATA.len().to_le_bytes();
    out.extend_from_slice(&[low, high]);
    out.extend_from_slice(&AUTH_DATA);
    out.extend_from_slice(&5_u16.to_le_bytes());
    let mut chain = pki.chain(&[&pki.pck, &pki.pck_ca])?.into_bytes();
    // Readers of PEM skip what is between certificates and after them.
    chain.extend(std::iter::repeat_n(b'\n', td.filler));
    prefixed_u32(&mut out, &chain);
    Ok(out)
}

/// SGX REPORT body, 384 bytes.
fn qe_report(platform: &Platform, key: &[u8; 64]) -> Vec<u8> {
    let mut signer = qe_signer();
    if platform.wrong_qe {
        signer = Sha256::digest(signer).into();
    }
    let mut bound = Sha256::new();
    bound.update(key);
    bound.update(AUTH_DATA);

    let mut out = Vec::with_capacity(384);
    out.extend_from_slice(&platform.cpu_svn);
    out.extend_from_slice(&[0; 4 + 28]);
    out.extend_from_slice(&QE_ATTRIBUTES);
    out.extend_from_slice(&Sha256::digest(b"SIMULATED QUOTING ENCLAVE"));
    out.extend_from_slice(&[0; 32]);
    out.extend_from_slice(&signer);
    out.extend_from_slice(&[0; 96]);
    out.extend_from_slice(&QE_PRODUCT.to_le_bytes());
    out.extend_from_slice(&u16::from(platform.qe.svn()).to_le_bytes());
    out.extend_from_slice(&[0; 60]);
    out.extend_from_slice(&bound.finalize());
    out.extend_from_slice(&[0; 32]);
    out
}

/// Appends the length in four bytes, then the bytes. Nothing here comes near 4 GiB: the filler is bounded by the builder.
fn prefixed_u32(out: &mut Vec<u8>, bytes: &[u8]) {
    let [a, b, c, d, ..] = bytes.len().to_le_bytes();
    out.extend_from_slice(&[a, b, c, d]);
    out.extend_from_slice(bytes);
}
