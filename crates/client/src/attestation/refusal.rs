//! Why evidence or a receipt was refused.

use std::fmt;

use hypervisor_verify::Verdict;

/// When it was refused, and so what has been given away by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Before anything was sent.
    Host,
    /// After the run: the host has the program, and the result was discarded.
    Execution,
    /// When an agent's card was looked at ([`crate::card`]): nothing was sent but a nonce.
    Card,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// Its name: that of a [`hypervisor_verify::CheckId`], or one of this client's: `evidence`, `receipt`,
    /// `receipt-exchange`, `receipt-manifest`, `audit-head`, `same-start`, `same-manifest`, `log-continues`; of a card `signature`, `key`, `place`,
    /// `claim`, `component`.
    pub check: &'static str,
    /// What is wrong and what to do.
    pub reason: String,
}

impl FailedCheck {
    pub(crate) fn new(check: &'static str, reason: impl Into<String>) -> Self {
        Self {
            check,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for FailedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.reason)
    }
}

/// Evidence or a receipt that was refused. It has at least one failed check.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    stage: Stage,
    failures: Vec<FailedCheck>,
    verdict: Option<Box<Verdict>>,
}

impl Refusal {
    /// Of these failures, besides those of the verdict.
    pub(crate) fn new(
        stage: Stage,
        mut failures: Vec<FailedCheck>,
        verdict: Option<Verdict>,
    ) -> Self {
        let judged = verdict.iter().flat_map(Verdict::failures).map(|check| {
            FailedCheck::new(check.id.name(), check.reason.clone().unwrap_or_default())
        });
        // What was judged first comes first.
        failures.splice(0..0, judged);
        Self {
            stage,
            failures,
            verdict: verdict.map(Box::new),
        }
    }

    /// Of one failure.
    pub(crate) fn of(stage: Stage, check: &'static str, reason: impl Into<String>) -> Self {
        Self::new(stage, vec![FailedCheck::new(check, reason)], None)
    }

    /// When it was refused.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The checks that failed.
    pub fn failures(&self) -> &[FailedCheck] {
        &self.failures
    }

    /// The names of the checks that failed.
    pub fn names(&self) -> Vec<&'static str> {
        self.failures.iter().map(|failed| failed.check).collect()
    }

    /// All that was found, where there was well-formed evidence.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_deref()
    }
}

impl fmt::Display for Refusal {
    /// What happened, and a line for each failed check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Host => "the host's evidence is refused, and no program was sent to it",
            Stage::Execution => {
                "what the host attests of this run is refused, and its result was discarded"
            }
            Stage::Card => "the card is refused",
        })?;
        for failed in &self.failures {
            write!(f, "\n  {failed}")?;
        }
        Ok(())
    }
}
