//! The firmware's log of what it booted: TCG's crypto-agile event log. On TDX it is the ACPI table CCEL and leads to RTMRs in SHA-384
//! ([`BootLog`]); a TPM's leads to PCRs, of which the bank SHA-256 counts ([`PcrLog`]).
//!
//! Each event was put into a register by its digest, register′ = hash(register ‖ digest), so the log explains registers that a
//! quote shows: [`BootLog::registers`] is what the events lead to. Nothing else about it is signed. What an event says in its data is
//! proved only where the digest is that of the data ([`Event::is_bound`]); else it is a label that whoever handed out the log chose.

use std::borrow::Cow;

use sha2::{Digest, Sha256, Sha384};

use crate::evidence::MAX_BOOT_LOG;
use crate::vtpm::{PCR, PCRS};

/// Registers that the log can speak of: RTMR0 to RTMR3.
pub const REGISTERS: usize = 4;
/// Length of an RTMR, bytes.
const RTMR: usize = 48;
/// The most events of a log.
pub const MAX_EVENTS: usize = 4096;

/// `EV_NO_ACTION`: said, and not put into a register.
const NO_ACTION: u32 = 0x3;
const EVENT_TAG: u32 = 0x6;
/// TCG's numbers of SHA-256 and SHA-384.
const SHA256: u16 = 0xb;
const SHA384: u16 = 0xc;
/// What begins the event that says where PCR0 started from.
const LOCALITY: &[u8; 16] = b"StartupLocality\0";
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// Digests of one event, of different hashes.
const MAX_DIGESTS: u32 = 8;
/// The shortest text worth showing, characters.
const SHORTEST: usize = 4;
/// Of `UEFI_VARIABLE_DATA`: what is before the variable's name.
const BEFORE_NAME: usize = 32;

/// Event types with a name (TCG PC Client Platform Firmware Profile).
const TYPES: [(u32, &str); 33] = [
    (0x0, "EV_PREBOOT_CERT"),
    (0x1, "EV_POST_CODE"),
    (0x2, "EV_UNUSED"),
    (NO_ACTION, "EV_NO_ACTION"),
    (0x4, "EV_SEPARATOR"),
    (0x5, "EV_ACTION"),
    (EVENT_TAG, "EV_EVENT_TAG"),
    (0x7, "EV_S_CRTM_CONTENTS"),
    (0x8, "EV_S_CRTM_VERSION"),
    (0x9, "EV_CPU_MICROCODE"),
    (0xa, "EV_PLATFORM_CONFIG_FLAGS"),
    (0xb, "EV_TABLE_OF_DEVICES"),
    (0xc, "EV_COMPACT_HASH"),
    (0xd, "EV_IPL"),
    (0xe, "EV_IPL_PARTITION_DATA"),
    (0xf, "EV_NONHOST_CODE"),
    (0x10, "EV_NONHOST_CONFIG"),
    (0x11, "EV_NONHOST_INFO"),
    (0x12, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
    (0x8000_0002, "EV_EFI_VARIABLE_BOOT"),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION"),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER"),
    (0x8000_0006, "EV_EFI_GPT_EVENT"),
    (0x8000_0007, "EV_EFI_ACTION"),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000b, "EV_EFI_HANDOFF_TABLES2"),
    (0x8000_000c, "EV_EFI_VARIABLE_BOOT2"),
    (0x8000_0010, "EV_EFI_HCRTM_EVENT"),
    (0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY"),
];

/// Types whose data is a variable: its name is in UTF-16 behind two sizes and a GUID.
const VARIABLES: [u32; 4] = [0x8000_0001, 0x8000_0002, 0x8000_000c, 0x8000_00e0];

/// Types whose data ends in the path of a program.
const PROGRAMS: [u32; 3] = [0x8000_0003, 0x8000_0004, 0x8000_0005];

/// The name of an event type; its number in hex where it has none.
pub fn type_name(kind: u32) -> Cow<'static, str> {
    match TYPES.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("{kind:#010x}")),
    }
}

/// The names that there are.
pub(crate) fn type_names() -> Vec<&'static str> {
    TYPES.iter().map(|(_, name)| *name).collect()
}

/// Why a boot log can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the boot log can not be read: {reason}")]
pub struct BootLogError {
    reason: String,
}

/// One event of a boot, with a digest of `N` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<const N: usize = RTMR> {
    /// The register that it went into; none where it went into no register.
    pub register: Option<usize>,
    /// Its type.
    pub kind: u32,
    /// What the register was extended with.
    pub digest: [u8; N],
    /// What it says of itself.
    pub data: Vec<u8>,
}

/// A log of a boot, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog<const N: usize = RTMR> {
    events: Vec<Event<N>>,
}

/// The log of a TPM's firmware.
pub type PcrLog = BootLog<PCR>;

impl BootLog {
    /// Reads a log of RTMRs; what follows it is padding of zeros or of 0xff.
    ///
    /// # Errors
    /// [`BootLogError`] for bytes of another format, an event that is cut off or has no SHA-384 digest, and more than
    /// [`MAX_EVENTS`] events or [`MAX_BOOT_LOG`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootLogError> {
        Self::read(bytes, (SHA384, "SHA-384"), |index| {
            // 1 to 4 are RTMR0 to RTMR3; 0 is MRTD, which nothing extends at run time (UEFI 2.11, 38.4.1).
            index
                .checked_sub(1)
                .filter(|register| *register < REGISTERS)
        })
    }

    /// RTMR0 to RTMR3 as these events leave them.
    pub fn registers(&self) -> [[u8; RTMR]; REGISTERS] {
        std::array::from_fn(|register| {
            self.of(register).fold([0; RTMR], |value, event| {
                crate::log::extend(&value, &event.digest)
            })
        })
    }
}

impl PcrLog {
    /// Reads a TPM's log, as [`BootLog::parse`] those of RTMRs.
    ///
    /// # Errors
    /// As [`BootLog::parse`], of SHA-256.
    pub fn parse_pcrs(bytes: &[u8]) -> Result<Self, BootLogError> {
        Self::read(bytes, (SHA256, "SHA-256"), |index| {
            Some(index).filter(|register| *register < PCRS)
        })
    }

    /// PCR0 to PCR23 as these events leave them.
    pub fn pcrs(&self) -> [[u8; PCR]; PCRS] {
        std::array::from_fn(|register| {
            let first = self.start(register);
            self.of(register)
                .fold(first, |value, event| extend(&value, &event.digest))
        })
    }

    /// A register before the first event: PCR17 to PCR22 start with ones, and PCR0 from where the TPM was started.
    fn start(&self, register: usize) -> [u8; PCR] {
        match register {
            17..=22 => [0xff; PCR],
            0 => {
                let locality = self.events.iter().find_map(|event| {
                    let said = event.data.strip_prefix(LOCALITY)?;
                    said.first().filter(|_| event.kind == NO_ACTION)
                });
                let mut value = [0; PCR];
                if let (Some(last), Some(locality)) = (value.last_mut(), locality) {
                    *last = *locality;
                }
                value
            }
            _ => [0; PCR],
        }
    }
}

/// A PCR after an event.
pub(crate) fn extend(value: &[u8; PCR], digest: &[u8; PCR]) -> [u8; PCR] {
    Sha256::new()
        .chain_update(value)
        .chain_update(digest)
        .finalize()
        .into()
}

impl<const N: usize> BootLog<N> {
    fn read(
        bytes: &[u8],
        (hash, name): (u16, &str),
        register: impl Fn(usize) -> Option<usize>,
    ) -> Result<Self, BootLogError> {
        if bytes.len() > MAX_BOOT_LOG {
            return refuse(format!("it has {} bytes, over {MAX_BOOT_LOG}", bytes.len()));
        }
        let mut reader = Reader(bytes);
        let digests = reader.header()?;
        let mut events = Vec::new();
        while !reader.is_at_padding() {
            if events.len() >= MAX_EVENTS {
                return refuse(format!("it has over {MAX_EVENTS} events"));
            }
            let event = reader.event(&digests, hash).and_then(|event| {
                let (index, kind, digest, data) = event;
                let index = usize::try_from(index).ok();
                let register = index.and_then(&register).filter(|_| kind != NO_ACTION);
                let digest = match (digest.and_then(|digest| digest.try_into().ok()), register) {
                    (Some(digest), _) => digest,
                    (None, None) => [0; N],
                    (None, Some(_)) => return refuse(format!("it has no {name} digest")),
                };
                Ok(Event {
                    register,
                    kind,
                    digest,
                    data: data.to_vec(),
                })
            });
            events.push(event.map_err(|BootLogError { reason }| BootLogError {
                reason: format!("event {}: {reason}", events.len().saturating_add(1)),
            })?);
        }
        Ok(Self { events })
    }

    /// Every event.
    pub fn events(&self) -> &[Event<N>] {
        &self.events
    }

    /// The events that went into a register.
    pub fn of(&self, register: usize) -> impl Iterator<Item = &Event<N>> {
        self.events
            .iter()
            .filter(move |event| event.register == Some(register))
    }
}

impl<const N: usize> Event<N> {
    /// The name of its type.
    pub fn type_name(&self) -> Cow<'static, str> {
        type_name(self.kind)
    }

    /// Whether the digest is that of the data, so that the register proves what the event says.
    pub fn is_bound(&self) -> bool {
        match N {
            PCR => Sha256::digest(&self.data)[..] == self.digest,
            _ => Sha384::digest(&self.data)[..] == self.digest,
        }
    }

    /// Text in its data: the name of a variable, the path of a program, a command line. Empty where there is none.
    pub fn words(&self) -> String {
        let data = match self.kind {
            kind if VARIABLES.contains(&kind) => {
                let name = self.data.get(16..24).and_then(|length| {
                    let length = u64::from_le_bytes(length.try_into().ok()?);
                    let length = usize::try_from(length).ok()?.checked_mul(2)?;
                    let end = BEFORE_NAME.checked_add(length)?;
                    self.data.get(BEFORE_NAME..end)
                });
                name.unwrap_or_default()
            }
            EVENT_TAG => self.data.get(8..).unwrap_or_default(),
            _ => &self.data,
        };
        let text = longest_text(data);
        match text.split_once('\\') {
            // The length in front of a path looks like a character.
            Some((_, path)) if PROGRAMS.contains(&self.kind) => format!("\\{path}"),
            _ => text,
        }
    }
}

/// The longest run of printable ASCII, one byte a character or two (UTF-16, little-endian).
fn longest_text(data: &[u8]) -> String {
    let printable = |byte: u8| matches!(byte, b' '..=b'~');
    let mut longest: &[u8] = &[];
    for run in data.split(|byte| !printable(*byte)) {
        if run.len() > longest.len() {
            longest = run;
        }
    }
    let mut text = String::from_utf8_lossy(longest).into_owned();
    for start in [0, 1] {
        let mut run = String::new();
        for pair in data.get(start..).unwrap_or_default().chunks_exact(2) {
            match pair {
                [low, 0] if printable(*low) => run.push(char::from(*low)),
                _ => run.clear(),
            }
            if run.len() > text.len() {
                text.clone_from(&run);
            }
        }
    }
    if text.len() < SHORTEST && text.len() < data.len() / 2 {
        text.clear();
    }
    text
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, BootLogError> {
    Err(BootLogError {
        reason: reason.into(),
    })
}

/// Index, type, the digest of one hash where there is one, and data.
type RawEvent<'a> = (u32, u32, Option<&'a [u8]>, &'a [u8]);

/// What is not read yet. Lengths in it are not trusted with allocations.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], BootLogError> {
        let Some((bytes, rest)) = self.0.split_at_checked(length) else {
            return refuse(format!(
                "cut off: {length} bytes should follow, {} do",
                self.0.len()
            ));
        };
        self.0 = rest;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, BootLogError> {
        let bytes = self.bytes(2)?;
        Ok(bytes.try_into().map_or(0, u16::from_le_bytes))
    }

    fn u32(&mut self) -> Result<u32, BootLogError> {
        let bytes = self.bytes(4)?;
        Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
    }

    /// Data with its length in front.
    fn data(&mut self) -> Result<&'a [u8], BootLogError> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn is_at_padding(&self) -> bool {
        [0x00, 0xff]
            .iter()
            .any(|padding| self.0.iter().all(|byte| byte == padding))
    }

    /// The first event, of the old format, which names the format and the sizes of the digests.
    fn header(&mut self) -> Result<Vec<(u16, usize)>, BootLogError> {
        let (_, kind) = (self.u32()?, self.u32()?);
        self.bytes(20)?;
        let mut spec = Self(self.data()?);
        if kind != NO_ACTION || spec.bytes(SIGNATURE.len()).ok() != Some(&SIGNATURE[..]) {
            return refuse("it does not begin as a crypto-agile event log (`Spec ID Event03`)");
        }
        // Class of platform, version, size of a word.
        spec.bytes(8)?;
        let count = spec.u32()?;
        if count > MAX_DIGESTS {
            return refuse(format!("it has digests of {count} hashes"));
        }
        (0..count)
            .map(|_| Ok((spec.u16()?, usize::from(spec.u16()?))))
            .collect()
    }

    /// One event, with its digest of the hash that is `wanted`.
    fn event(
        &mut self,
        digests: &[(u16, usize)],
        wanted: u16,
    ) -> Result<RawEvent<'a>, BootLogError> {
        let (index, kind, count) = (self.u32()?, self.u32()?, self.u32()?);
        if count > MAX_DIGESTS {
            return refuse(format!("{count} digests"));
        }
        let mut digest = None;
        for _ in 0..count {
            let hash = self.u16()?;
            let Some((_, length)) = digests.iter().find(|(known, _)| *known == hash) else {
                return refuse(format!(
                    "a digest of hash {hash:#x}, which the header does not name"
                ));
            };
            let bytes = self.bytes(*length)?;
            if hash == wanted {
                digest = Some(bytes);
            }
        }
        Ok((index, kind, digest, self.data()?))
    }
}
