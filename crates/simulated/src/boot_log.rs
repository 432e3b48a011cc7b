//! The boot log of a TD that never booted: one event for each register of the boot, whose words say so.

use hypervisor_evidence::log;
use sha2::{Digest, Sha384};

/// TCG's `EV_NO_ACTION` and `EV_IPL`, and the number of SHA-384 among digests.
const NO_ACTION: u32 = 0x3;
const IPL: u32 = 0xd;
const SHA384: u16 = 0xc;

/// What the events say.
const EVENTS: [&str; 3] = [
    "SIMULATED firmware configuration",
    "SIMULATED kernel",
    "SIMULATED command line",
];

/// The log, in TCG's crypto-agile format, and RTMR0 to RTMR3 as its events leave them.
pub fn boot() -> (Vec<u8>, [[u8; 48]; 4]) {
    let mut registers = [[0; 48]; 4];
    // Its header is an event of the old format: the name of the format, of version 2.0 with one digest.
    let header = [
        &b"Spec ID Event03\0"[..],
        &[0, 0, 0, 0, 0, 2, 0, 2],
        &1_u32.to_le_bytes(),
        &SHA384.to_le_bytes(),
        &48_u16.to_le_bytes(),
        &[0],
    ]
    .concat();
    let mut bytes = [&[0; 4][..], &NO_ACTION.to_le_bytes(), &[0; 20]].concat();
    put(&mut bytes, &header);
    for ((index, words), register) in (1_u32..).zip(EVENTS).zip(&mut registers) {
        let digest: [u8; 48] = Sha384::digest(words).into();
        *register = log::extend(register, &digest);
        for number in [index, IPL, 1] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(SHA384.to_le_bytes());
        bytes.extend(digest);
        put(&mut bytes, words.as_bytes());
    }
    (bytes, registers)
}

/// Data with its length in front.
fn put(bytes: &mut Vec<u8>, data: &[u8]) {
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend_from_slice(data);
}
