//! The boot log of a TPM, held against its registers and against the events that the policy names.

use crate::boot_log::PcrLog;
use crate::evidence::Evidence;
use crate::policy::VtpmReference;
use crate::verdict::{CheckId, Recorder};
use crate::vtpm::{PCRS, Vtpm};

/// What the boot log that came with a TPM's quote is worth.
pub(super) struct Boot {
    /// None where there is none.
    log: Option<Result<PcrLog, String>>,
    /// Whether its events lead to the quoted register.
    leads: [bool; PCRS],
}

impl Boot {
    pub(super) fn of(evidence: &Evidence, vtpm: &Vtpm) -> Self {
        let log = evidence.boot_log.as_ref();
        let log = log.map(|log| PcrLog::parse_pcrs(log).map_err(|error| error.to_string()));
        let mut leads = [false; PCRS];
        if let Some(Ok(log)) = &log {
            let registers = log.pcrs().into_iter().zip(&vtpm.pcrs);
            for (leads, (replayed, quoted)) in leads.iter_mut().zip(registers) {
                *leads = replayed == quoted.0;
            }
        }
        Self { log, leads }
    }

    fn leads_to(&self, register: usize) -> bool {
        self.leads.get(register).is_some_and(|leads| *leads)
    }

    /// The first event of a register that is not the reference's; only a register that the log leads to has events.
    fn difference(&self, register: usize, reference: &VtpmReference) -> Option<String> {
        let log = self.log.as_ref()?.as_ref().ok()?;
        let found = log.of(register);
        self.leads_to(register)
            .then(|| reference.difference(register, found))?
    }

    /// Whether a register is filled by the events of the reference and by nothing else.
    pub(super) fn matches(&self, register: usize, reference: &VtpmReference) -> bool {
        self.leads_to(register) && self.difference(register, reference).is_none()
    }

    /// `reference` is the one that matched, or the nearest.
    pub(super) fn check(&self, reference: Option<&VtpmReference>, recorder: &mut Recorder) {
        let check = recorder.check(CheckId::BootLog);
        let by_events =
            |register: &usize| reference.is_some_and(|reference| reference.is_by_events(*register));
        let needed = (0..PCRS).any(|register| by_events(&register));
        let log = match (&self.log, needed) {
            (Some(Ok(log)), _) => log,
            (None, true) => {
                return check.fail("the policy knows PCRs by their events, and the evidence holds no boot log; give the host the right to read it, or add the PCRs' values to the policy");
            }
            (None, false) => {
                return check.not_applicable(
                    "the evidence holds no boot log; the PCRs are compared as they are",
                );
            }
            (Some(Err(reason)), true) => {
                return check.fail(format!("{reason}; do not rely on this host"));
            }
            (Some(Err(reason)), false) => {
                return check.skip(format!("{reason}; the PCRs are compared as they are"));
            }
        };
        let check = check.input("events", log.events().len());
        let spoken_of = |register: &usize| log.of(*register).next().is_some();
        let unexplained = || (0..PCRS).filter(|register| !self.leads_to(*register));
        if let Some(register) = unexplained().find(by_events) {
            return check.fail(format!(
                "the boot log does not lead to PCR{register} of the quote, so nobody knows what was booted; do not rely on this host"
            ));
        }
        let difference = reference.and_then(|reference| {
            (0..PCRS).find_map(|register| self.difference(register, reference))
        });
        if let Some(difference) = difference {
            return check.fail(format!(
                "{difference}; do not rely on this host, or change `vtpm.reference.events` once you know why"
            ));
        }
        // What the kernel and what runs on it put into a register is not in the firmware's log.
        let named: Vec<String> = unexplained()
            .filter(spoken_of)
            .map(|register| format!("PCR{register}"))
            .collect();
        if !named.is_empty() {
            return check.skip(format!(
                "the boot log does not lead to {}: what it says of that is its own word; the PCRs are compared as they are",
                named.join(", ")
            ));
        }
        let any = reference.map_or(0, |it| it.events.iter().filter(|event| event.any).count());
        match any {
            0 => check.pass(),
            any => check.skip(format!(
                "{any} events of the boot may have any digest (`any = true` in `vtpm.reference.events`)"
            )),
        }
    }
}
