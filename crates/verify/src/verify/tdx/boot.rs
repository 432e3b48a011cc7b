//! The boot log, held against the registers of the quote and against the events that the policy names.

use crate::boot_log::BootLog;
use crate::evidence::Evidence;
use crate::policy::{BOOT_REGISTERS, TdxReference};
use crate::tdx::TdReport;
use crate::verdict::{CheckId, Recorder};

/// What the boot log that came with a quote is worth.
pub(super) struct Boot {
    /// None where there is none.
    log: Option<Result<BootLog, String>>,
    /// Whether its events lead to the quote's RTMR0, RTMR1 and RTMR2.
    leads: [bool; BOOT_REGISTERS],
}

impl Boot {
    pub(super) fn of(evidence: &Evidence, report: &TdReport) -> Self {
        let log = evidence.boot_log.as_ref();
        let log = log.filter(|_| evidence.vtpm.is_none());
        let log = log.map(|log| BootLog::parse(log).map_err(|error| error.to_string()));
        let mut leads = [false; BOOT_REGISTERS];
        if let Some(Ok(log)) = &log {
            let registers = log.registers().into_iter().zip(report.rtmr);
            for (leads, (replayed, quoted)) in leads.iter_mut().zip(registers) {
                *leads = replayed == quoted;
            }
        }
        Self { log, leads }
    }

    fn leads_to(&self, register: usize) -> bool {
        self.leads.get(register).is_some_and(|leads| *leads)
    }

    /// The first event of a register that is not the reference's; only a register that the log leads to has events.
    fn difference(&self, register: usize, reference: &TdxReference) -> Option<String> {
        let log = self.log.as_ref()?.as_ref().ok()?;
        let found = log.of(register);
        self.leads_to(register)
            .then(|| reference.difference(register, found))?
    }

    /// Whether a register is filled by the events of the reference and by nothing else.
    pub(super) fn matches(&self, register: usize, reference: &TdxReference) -> bool {
        self.leads_to(register) && self.difference(register, reference).is_none()
    }

    /// `reference` is the one that matched, or the nearest.
    pub(super) fn check(&self, reference: Option<&TdxReference>, recorder: &mut Recorder) {
        let check = recorder.check(CheckId::BootLog);
        let by_events = reference.filter(|reference| reference.is_by_events());
        let log = match (&self.log, by_events) {
            (Some(Ok(log)), _) => log,
            (None, Some(reference)) => {
                return check.fail(format!(
                    "the policy knows `{}` by the events of its boot, and the evidence holds no boot log; update the host, or add its registers to the policy",
                    reference.name
                ));
            }
            (None, None) => {
                return check.not_applicable(
                    "the evidence holds no boot log; the registers are compared as they are",
                );
            }
            (Some(Err(reason)), Some(_)) => {
                return check.fail(format!("{reason}; do not rely on this host"));
            }
            (Some(Err(reason)), None) => {
                return check.skip(format!("{reason}; the registers are compared as they are"));
            }
        };
        let check = check.input("events", log.events().len());
        let unexplained = || (0..BOOT_REGISTERS).filter(|register| !self.leads_to(*register));
        let named: Vec<String> = unexplained().map(|it| format!("RTMR{it}")).collect();
        let named = named.join(", ");
        let needed = |register: usize| {
            let value = reference.and_then(|it| it.boot_registers().into_iter().nth(register));
            value == Some(None)
        };
        if unexplained().any(needed) {
            return check.fail(format!(
                "the boot log does not lead to {named} of the quote, so nobody knows what was booted; do not rely on this host"
            ));
        }
        let difference = reference.and_then(|reference| {
            (0..BOOT_REGISTERS).find_map(|register| self.difference(register, reference))
        });
        if let Some(difference) = difference {
            return check.fail(format!(
                "{difference}; do not rely on this host, or change `tdx.reference.events` once you know why"
            ));
        }
        if !named.is_empty() {
            return check.skip(format!(
                "the boot log does not lead to {named}: what it says of that is its own word; the registers are compared as they are"
            ));
        }
        let any = reference.map_or(0, |it| it.events.iter().filter(|event| event.any).count());
        match any {
            0 => check.pass(),
            any => check.skip(format!(
                "{any} events of the boot may have any digest (`any = true` in `tdx.reference.events`)"
            )),
        }
    }
}
