//! What a boot of an image measures, event by event.
//!
//! Predicted are the events that follow from the image alone: what the firmware measures of the program that it starts (TCG PC Client
//! Platform Firmware Profile), what systemd-stub measures of the image's sections, and what the kernel's EFI stub measures of its
//! command line and initial file system. A TPM counts them in its PCRs; on TDX the firmware extends RTMRs with the same events in
//! SHA-384 (UEFI 2.11, 38.4.1).

use serde::Serialize;

use crate::digest::{Digests, Register};
use crate::error::Error;
use crate::image::Image;
use crate::pe::Program;

/// How the firmware comes by the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// From a disk's boot option, such as `EFI/BOOT/BOOTX64.EFI`.
    #[default]
    Disk,
    /// From the hypervisor (QEMU's `-kernel`): the program is measured before the firmware says that it is ready to boot.
    Direct,
}

/// Something that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The TPM's register.
    pub pcr: u8,
    /// TDX's register for the same event.
    pub rtmr: u8,
    /// What it is.
    pub what: String,
    /// Its digests.
    #[serde(flatten)]
    pub digests: Digests,
}

const LOADER: u8 = 4;
const EXIT: u8 = 5;
const KERNEL_STUB: u8 = 9;
const SECTIONS: u8 = 11;

const CALLING: &str = "Calling EFI Application from Boot Option";
const LEAVING: [&str; 2] = [
    "Exit Boot Services Invocation",
    "Exit Boot Services Returned with Success",
];

/// Sections that systemd-stub measures, in the order in which it does (systemd-stub(7), `unified_sections` of version 257).
const MEASURED: [&str; 13] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey", ".profile", ".dtbauto", ".hwids",
];

/// The events of a boot, in order.
///
/// # Errors
/// Where the image or the kernel in it cannot be read.
pub fn events(image: &Image<'_>, boot: Boot) -> Result<Vec<Event>, Error> {
    let event = |pcr: u8, what: &str, digests: Digests| Event {
        pcr,
        rtmr: if pcr < 8 { 1 } else { 2 },
        what: what.to_owned(),
        digests,
    };
    let started = event(LOADER, "the image", image.program.authenticode()?);
    let ready = [
        event(LOADER, CALLING, Digests::of(CALLING.as_bytes())),
        event(LOADER, "separator", Digests::of(&[0; 4])),
    ];
    let mut events = Vec::new();
    match boot {
        Boot::Disk => {
            events.extend(ready);
            events.push(started);
        }
        Boot::Direct => {
            events.push(started);
            events.extend(ready);
        }
    }
    for name in MEASURED {
        let mut named = image.sections.iter();
        if let Some(section) = named.find(|section| section.name == name.as_bytes()) {
            let called = format!("the name {name}");
            let ended = Digests::of_parts([name.as_bytes(), &[0]]);
            events.push(event(SECTIONS, &called, ended));
            events.push(event(SECTIONS, name, Digests::of(section.bytes)));
        }
    }
    let kernel = Program::parse(image.kernel()?, "the kernel")?;
    events.push(event(LOADER, "the kernel", kernel.authenticode()?));
    let options: Vec<u8> = image
        .command_line()?
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    events.push(event(
        KERNEL_STUB,
        "the command line",
        Digests::of(&options),
    ));
    let initrd = Digests::of(image.initrd()?);
    events.push(event(KERNEL_STUB, "the initial file system", initrd));
    for action in LEAVING {
        events.push(event(EXIT, action, Digests::of(action.as_bytes())));
    }
    Ok(events)
}

/// The registers after a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Registers {
    /// The programs that were started.
    pub pcr4: Register,
    /// What the kernel was given.
    pub pcr9: Register,
    /// The sections of the image.
    pub pcr11: Register,
    /// The programs that were started, and the end of the firmware's time.
    pub rtmr1: Register,
    /// The sections of the image, and what the kernel was given.
    pub rtmr2: Register,
}

/// Replays events.
pub fn replay(events: &[Event]) -> Registers {
    let mut registers = Registers::default();
    for event in events {
        match event.pcr {
            LOADER => registers.pcr4.extend(&event.digests),
            KERNEL_STUB => registers.pcr9.extend(&event.digests),
            SECTIONS => registers.pcr11.extend(&event.digests),
            _ => {}
        }
        match event.rtmr {
            1 => registers.rtmr1.extend(&event.digests),
            _ => registers.rtmr2.extend(&event.digests),
        }
    }
    registers
}
