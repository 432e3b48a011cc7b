//! The launch measurement of an SEV-SNP guest whose hypervisor hands kernel, initial file system and command line to the firmware
//! directly, with their hashes in a page that is measured (QEMU's `kernel-hashes=on`, and an OVMF that checks them).
//!
//! AMD 56860, "SNP_LAUNCH_UPDATE": each page extends a chain of SHA-384 by what it is, where it is and what is in it. `sev` gives what
//! processors start with and reads OVMF's tables; it makes measurements of files alone, and this makes them of digests as well, which is
//! what can be held against a report that AMD's hardware signed.

use std::path::Path;

use sev::measurement::ovmf::{OVMF, SectionType};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType, VMSA};
use sha2::{Digest, Sha256, Sha384};

use crate::error::Error;

const PAGE: usize = 4096;
/// Where processors' pages are said to be (AMD 56860, 8.17.3).
const PROCESSORS_AT: u64 = 0xffff_ffff_f000;
/// Bytes that are hashed for a page.
const PAGE_INFO: u16 = 0x70;
/// The features of guests that QEMU starts, where nothing else is asked for: SNP itself.
pub const PLAIN_FEATURES: u64 = 1;

/// Kinds of pages.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Kind {
    Normal = 1,
    Processor = 2,
    Zero = 3,
    Secrets = 5,
    Cpuid = 6,
}

/// What a launch measurement needs of a firmware.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// The measurement when all of its pages were added.
    pub loaded: [u8; 48],
    /// Pages that it wants beside itself: where, how many bytes, and what (as in its table).
    pub sections: Vec<(u32, u32, u8)>,
    /// Where it expects the hashes of what it is to start.
    pub hashes_at: u32,
    /// Where processors beside the first start.
    pub reset_at: u32,
}

impl Firmware {
    /// Reads a file of OVMF, variables and all or code alone.
    ///
    /// # Errors
    /// Where it cannot be read or was not built for SEV-SNP.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refused = |error: &dyn std::fmt::Display| Error::Firmware(error.to_string());
        // Its reader takes the file for whole.
        let size = std::fs::metadata(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        if size.len() < 1 << 16 || size.len() % 4096 != 0 || size.len() > 1 << 30 {
            return Err(refused(&"it is not whole pages of a firmware"));
        }
        let ovmf = OVMF::new(path.to_owned()).map_err(|error| refused(&error))?;
        let mut chain = Chain([0; 48]);
        chain.pages(ovmf.gpa(), ovmf.data());
        let kind = |kind: SectionType| match kind {
            SectionType::SnpSecMemory => 1,
            SectionType::SnpSecrets => 2,
            SectionType::Cpuid => 3,
            SectionType::SvsmCaa => 4,
            SectionType::SnpKernelHashes => 0x10,
        };
        let sections = ovmf.metadata_items().iter();
        Ok(Self {
            loaded: chain.0,
            sections: sections
                .map(|section| (section.gpa, section.size, kind(section.section_type)))
                .collect(),
            hashes_at: ovmf
                .sev_hashes_table_gpa()
                .ok()
                .and_then(|at| u32::try_from(at).ok())
                .unwrap_or_default(),
            reset_at: ovmf.sev_es_reset_eip().map_err(|error| refused(&error))?,
        })
    }
}

/// Hashes of what the firmware starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Of the kernel, or of a unified kernel image.
    pub kernel: [u8; 32],
    /// Of the initial file system; of nothing, for a unified kernel image.
    pub initrd: [u8; 32],
    /// Of the command line with the zero after it; of a zero alone, for a unified kernel image.
    pub command_line: [u8; 32],
}

impl Started {
    /// A unified kernel image, which has everything in it.
    pub fn image(image: &[u8]) -> Self {
        Self {
            kernel: Sha256::digest(image).into(),
            initrd: Sha256::digest([]).into(),
            command_line: Sha256::digest([0]).into(),
        }
    }

    /// The page with the table of hashes (OVMF, `AmdSev/BlobVerifierLibSevHashes`).
    fn page(&self, offset: usize) -> [u8; PAGE] {
        const TABLE: u128 = 0x9438d606_4f22_4cc9_b479_a793d411fd21;
        const COMMAND_LINE: u128 = 0x97d02dd8_bd20_4c94_aa78_e7714d36ab2a;
        const INITRD: u128 = 0x44baf731_3a2f_4bd7_9af1_41e29169781d;
        const KERNEL: u128 = 0x4de79437_abd2_427f_b835_d5b172d2045b;
        const ENTRY: u16 = 50;
        const LENGTH: u16 = 18 + 3 * ENTRY;

        let mut table = [guid(TABLE).as_slice(), &LENGTH.to_le_bytes()].concat();
        for (name, hash) in [
            (COMMAND_LINE, &self.command_line),
            (INITRD, &self.initrd),
            (KERNEL, &self.kernel),
        ] {
            table.extend_from_slice(&guid(name));
            table.extend_from_slice(&ENTRY.to_le_bytes());
            table.extend_from_slice(hash);
        }
        let mut page = [0; PAGE];
        for (to, from) in page.iter_mut().skip(offset).zip(table) {
            *to = from;
        }
        page
    }
}

/// A GUID as it stands in memory: its first three parts are little-endian.
fn guid(number: u128) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = number.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// The processors of a guest.
#[derive(Debug, Clone)]
pub struct Processors {
    /// How many.
    pub count: usize,
    /// QEMU's name of their model, such as `EPYC-v4`.
    pub model: String,
    /// SEV features of the guest (AMD 24593, appendix B, `SEV_FEATURES`).
    pub features: u64,
}

/// The launch measurement.
///
/// # Errors
/// Where the model of the processors is not known, or the firmware has no place for hashes.
pub fn measurement(
    firmware: &Firmware,
    started: &Started,
    processors: &Processors,
) -> Result<[u8; 48], Error> {
    let refused = |error: &dyn std::fmt::Display| Error::Firmware(error.to_string());
    if !firmware.sections.iter().any(|(.., kind)| *kind == 0x10) || firmware.hashes_at == 0 {
        return Err(refused(
            &"it has no place for the hashes of what it starts; an OVMF built as AmdSevX64 has",
        ));
    }
    let mut chain = Chain(firmware.loaded);
    for (at, size, kind) in &firmware.sections {
        let (at, size) = (u64::from(*at), usize::try_from(*size).unwrap_or_default());
        match kind {
            2 => chain.page(Kind::Secrets, at, [0; 48]),
            3 => chain.page(Kind::Cpuid, at, [0; 48]),
            0x10 => {
                let offset = usize::try_from(firmware.hashes_at).unwrap_or_default() % PAGE;
                chain.pages(at, &started.page(offset));
            }
            _ => chain.zeros(at, size),
        }
    }
    let model = CpuType::try_from(processors.model.as_str()).map_err(|error| refused(&error))?;
    let states = VMSA::new(
        firmware.reset_at.into(),
        model,
        VMMType::QEMU,
        u64::try_from(processors.count).ok(),
        GuestFeatures(processors.features),
    );
    for state in states
        .pages(processors.count)
        .map_err(|error| refused(&error))?
    {
        chain.page(Kind::Processor, PROCESSORS_AT, Sha384::digest(state).into());
    }
    Ok(chain.0)
}

/// The measurement so far.
struct Chain([u8; 48]);

impl Chain {
    fn page(&mut self, kind: Kind, at: u64, contents: [u8; 48]) {
        let [low, high] = PAGE_INFO.to_le_bytes();
        // Length, kind, not part of a migration agent's image, no permissions of lower levels.
        let head = [low, high, kind as u8, 0, 0, 0, 0, 0];
        self.0 = Sha384::new()
            .chain_update(self.0)
            .chain_update(contents)
            .chain_update(head)
            .chain_update(at.to_le_bytes())
            .finalize()
            .into();
    }

    fn pages(&mut self, at: u64, bytes: &[u8]) {
        for (at, page) in (at..).step_by(PAGE).zip(bytes.chunks(PAGE)) {
            self.page(Kind::Normal, at, Sha384::digest(page).into());
        }
    }

    fn zeros(&mut self, at: u64, size: usize) {
        for at in (at..).step_by(PAGE).take(size / PAGE) {
            self.page(Kind::Zero, at, [0; 48]);
        }
    }
}
