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

/// An event as a policy names it, of whatever register.
pub(super) struct Named<'a, const N: usize> {
    pub(super) kind: &'a str,
    pub(super) digest: Option<HexArray<N>>,
    pub(super) any: bool,
    pub(super) about: &'a str,
}

impl<const N: usize> Named<'_, N> {
    fn accepts(&self, event: &Event<N>) -> bool {
        let by_digest = self.digest.is_some_and(|digest| digest.0 == event.digest);
        event.type_name() == self.kind && (self.any || by_digest)
    }

    fn in_words(&self) -> String {
        let digest = match self.digest {
            Some(digest) => digest.to_string(),
            None => "with any digest".to_owned(),
        };
        format!("{} {digest}{}", self.kind, about(self.about))
    }

    /// Refuses an event that can not be meant. `reference` is whose it is, `key` where it stands.
    pub(super) fn check(&self, reference: &str, key: &str) -> Result<(), PolicyError> {
        let is_number = self
            .kind
            .strip_prefix("0x")
            .is_some_and(|digits| digits.len() == 8 && u32::from_str_radix(digits, 16).is_ok());
        if !is_number {
            let kind = [self.kind.to_owned()];
            keys::known(key, &kind, "type of event", &type_names())?;
        }
        if self.any == self.digest.is_some() {
            return refuse(format!(
                "an event {} of `{reference}` needs either `digest` or `any = true`",
                self.kind
            ));
        }
        Ok(())
    }
}

/// The first event of a register that is not as an image's is; none where the policy names no events of the register.
pub(super) fn difference<'w, 'e, const N: usize>(
    register: &str,
    image: &str,
    wanted: impl Iterator<Item = Named<'w, N>>,
    found: impl Iterator<Item = &'e Event<N>>,
) -> Option<String> {
    let mut wanted = wanted.peekable();
    wanted.peek()?;
    let mut found = found.fuse();
    for place in 1_usize.. {
        let which = format!("event {place} of {register}");
        return Some(match (found.next(), wanted.next()) {
            (None, None) => return None,
            (Some(event), Some(named)) if named.accepts(event) => continue,
            (Some(event), Some(named)) => format!(
                "{which} is {}, and of `{image}` it is {}",
                in_words(event),
                named.in_words()
            ),
            (Some(event), None) => {
                format!("{which} is one that `{image}` has not: {}", in_words(event))
            }
            (None, Some(named)) => format!("{which} is missing: {}", named.in_words()),
        });
    }
    None
}

impl BootEvent {
    fn named(&self) -> Named<'_, 48> {
        Named {
            kind: &self.kind,
            digest: self.digest,
            any: self.any,
            about: &self.about,
        }
    }
}

fn about(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" (`{}`)", text.escape_debug()),
    }
}

fn in_words<const N: usize>(event: &Event<N>) -> String {
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
        let wanted = self.events_of(register).map(BootEvent::named);
        difference(&format!("RTMR{register}"), &self.name, wanted, found)
    }

    /// Refuses events that can not be meant, and registers that nothing is said of.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        for event in &self.events {
            event
                .named()
                .check(&self.name, "tdx.reference.events.type")?;
            if event.rtmr >= BOOT_REGISTERS {
                return refuse(format!(
                    "`tdx.reference.events.rtmr` is {}; the boot fills 0, 1 and 2",
                    event.rtmr
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
