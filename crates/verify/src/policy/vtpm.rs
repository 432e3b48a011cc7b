//! `[vtpm]`: what a TPM must show whose key the hardware vouches for.

use hypervisor_protocol::HexArray;
use serde::{Deserialize, Serialize};

use super::boot::{Named, difference};
use super::refuse;
use crate::boot_log::Event;
use crate::error::PolicyError;
use crate::vtpm::{PCR, PCRS};

/// What the firmware started: without it a reference says nothing about what runs.
const PROGRAMS: usize = 4;

/// `[vtpm]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VtpmRules {
    /// Whether the images of `[tdx]` and `[snp]` are paravisors that run the TPM themselves: then every key counts that one of them names.
    pub paravisor: bool,
    /// Accepted keys, by the SHA-256 of the public key (SubjectPublicKeyInfo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<HexArray<32>>>,
    /// What is accepted. With none, evidence through a TPM is refused; with one, evidence without a TPM is.
    pub reference: Vec<VtpmReference>,
}

/// What a TPM must show. All must match together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VtpmReference {
    /// A name for verdicts.
    pub name: String,
    /// Registers by their value.
    #[serde(default)]
    pub pcrs: Vec<PcrValue>,
    /// Registers by the events that were put into them.
    #[serde(default)]
    pub events: Vec<PcrEvent>,
    /// Files that may have been measured; PCR10 counts by its value only where none.
    #[serde(default)]
    pub files: Vec<MeasuredFile>,
}

/// A register's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcrValue {
    /// The register, 0 to 23.
    pub pcr: usize,
    /// Its value in the bank SHA-256.
    pub value: HexArray<PCR>,
}

/// An event that a boot must log. All of a register's are named, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PcrEvent {
    /// The register, 0 to 23.
    pub pcr: usize,
    /// TCG's name of its type, or its number as `0x` and eight digits.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the register must have been extended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<HexArray<PCR>>,
    /// Whether it may be any event of its type.
    #[serde(default)]
    pub any: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// A file that may have been measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredFile {
    /// Its path; any where none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// SHA-256 of its content.
    pub sha256: HexArray<32>,
}

impl PcrEvent {
    fn named(&self) -> Named<'_, PCR> {
        Named {
            kind: &self.kind,
            digest: self.digest,
            any: self.any,
            about: &self.about,
        }
    }
}

impl VtpmReference {
    fn events_of(&self, register: usize) -> impl Iterator<Item = &PcrEvent> {
        self.events
            .iter()
            .filter(move |event| event.pcr == register)
    }

    /// The value of a register that this reference names.
    pub(crate) fn value(&self, register: usize) -> Option<HexArray<PCR>> {
        let named = self.pcrs.iter().find(|named| named.pcr == register);
        named.map(|named| named.value)
    }

    /// Whether events are all that it says of a register.
    pub(crate) fn is_by_events(&self, register: usize) -> bool {
        self.value(register).is_none() && self.events_of(register).next().is_some()
    }

    /// Whether evidence must hold a boot log to match.
    pub fn needs_boot_log(&self) -> bool {
        (0..PCRS).any(|register| self.is_by_events(register))
    }

    /// As [`super::TdxReference::difference`].
    pub(crate) fn difference<'e>(
        &self,
        register: usize,
        found: impl Iterator<Item = &'e Event<PCR>>,
    ) -> Option<String> {
        let wanted = self.events_of(register).map(PcrEvent::named);
        difference(&format!("PCR{register}"), &self.name, wanted, found)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let named = self.pcrs.iter().map(|named| named.pcr);
        let mut seen = [false; PCRS];
        for register in named.clone() {
            match seen.get_mut(register) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return refuse(format!("`{}` names PCR{register} twice", self.name)),
                None => {}
            }
        }
        let with_events = self.events.iter().map(|event| event.pcr);
        let mut all = named.chain(with_events);
        if let Some(register) = all.clone().find(|register| *register >= PCRS) {
            return refuse(format!(
                "`{}` names PCR{register}; a TPM has 0 to 23",
                self.name
            ));
        }
        for event in &self.events {
            event
                .named()
                .check(&self.name, "vtpm.reference.events.type")?;
        }
        if !all.any(|register| register == PROGRAMS) {
            return refuse(format!(
                "`{}` says nothing of PCR{PROGRAMS}, which is what was booted: add its value to `pcrs`, or every event of it to `events`",
                self.name
            ));
        }
        Ok(())
    }
}
