//! Reference values by event: what a guest image must have booted, one event after the other.

use hypervisor_protocol::HexArray;
use serde::{Deserialize, Serialize};

use super::{TdxReference, keys, refuse};
use crate::boot_log::{Event, type_names};
use crate::error::PolicyError;

/// Registers that the boot fills: RTMR0, RTMR1 and RTMR2.
pub const BOOT_REGISTERS: usize = 3;

/// An event that the boot of an image must log. All of a register's are named, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootEvent {
    /// The register, 0 to 2.
    pub rtmr: usize,
    /// TCG's name of its type, or its number as `0x` and eight digits.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the register must have been extended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<HexArray<48>>,
    /// Whether it may be any event of its type.
    #[serde(default)]
    pub any: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

impl BootEvent {
    fn accepts(&self, event: &Event) -> bool {
        let by_digest = self.digest.is_some_and(|digest| digest.0 == event.digest);
        event.type_name() == self.kind && (self.any || by_digest)
    }

    fn in_words(&self) -> String {
        let digest = match self.digest {
            Some(digest) => digest.to_string(),
            None => "with any digest".to_owned(),
        };
        format!("{} {digest}{}", self.kind, about(&self.about))
    }
}

fn about(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" (`{}`)", text.escape_debug()),
    }
}

fn in_words(event: &Event) -> String {
    let digest = HexArray(event.digest);
    format!("{} {digest}{}", event.type_name(), about(&event.words()))
}

impl TdxReference {
    /// RTMR0 to RTMR2; none where the events of one decide.
    pub fn boot_registers(&self) -> [Option<HexArray<48>>; BOOT_REGISTERS] {
        [self.rtmr0, self.rtmr1, self.rtmr2]
    }

    /// Whether evidence must hold a boot log to match.
    pub fn is_by_events(&self) -> bool {
        self.boot_registers().contains(&None)
    }

    fn events_of(&self, register: usize) -> impl Iterator<Item = &BootEvent> {
        self.events
            .iter()
            .filter(move |event| event.rtmr == register)
    }

    /// The first event of a register that is not as this image's is; none where the policy names no events of the register.
    pub(crate) fn difference<'e>(
        &self,
        register: usize,
        found: impl Iterator<Item = &'e Event>,
    ) -> Option<String> {
        let mut wanted = self.events_of(register).peekable();
        wanted.peek()?;
        let mut found = found.fuse();
        for place in 1_usize.. {
            let which = format!("event {place} of RTMR{register}");
            return Some(match (found.next(), wanted.next()) {
                (None, None) => return None,
                (Some(event), Some(named)) if named.accepts(event) => continue,
                (Some(event), Some(named)) => format!(
                    "{which} is {}, and of `{}` it is {}",
                    in_words(event),
                    self.name,
                    named.in_words()
                ),
                (Some(event), None) => {
                    format!(
                        "{which} is one that `{}` has not: {}",
                        self.name,
                        in_words(event)
                    )
                }
                (None, Some(named)) => {
                    format!("{which} is missing: {}", named.in_words())
                }
            });
        }
        None
    }

    /// Refuses events that can not be meant, and registers that nothing is said of.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        for event in &self.events {
            let is_number = event
                .kind
                .strip_prefix("0x")
                .is_some_and(|digits| digits.len() == 8 && u32::from_str_radix(digits, 16).is_ok());
            if !is_number {
                let kind = std::slice::from_ref(&event.kind);
                keys::known(
                    "tdx.reference.events.type",
                    kind,
                    "type of event",
                    &type_names(),
                )?;
            }
            if event.rtmr >= BOOT_REGISTERS {
                return refuse(format!(
                    "`tdx.reference.events.rtmr` is {}; the boot fills 0, 1 and 2",
                    event.rtmr
                ));
            }
            if event.any == event.digest.is_some() {
                return refuse(format!(
                    "an event {} of `{}` needs either `digest` or `any = true`",
                    event.kind, self.name
                ));
            }
        }
        let unnamed = (0..BOOT_REGISTERS).zip(self.boot_registers());
        for (register, value) in unnamed {
            if value.is_none() && self.events_of(register).next().is_none() {
                return refuse(format!(
                    "`{}` says nothing of RTMR{register}: add `rtmr{register}`, or every event of it to `events`",
                    self.name
                ));
            }
        }
        Ok(())
    }
}
