//! What a command found: figures, and what was not as it has to be.

use std::io::{self, Write};

use hypervisor_bench::report::Section;
use serde::Serialize;

/// Figures and faults.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    section: Section,
    /// Why it was left out, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    /// Bounds that did not hold, and what was lost.
    faults: Vec<String>,
}

impl Outcome {
    pub(crate) fn of(section: Section, faults: Vec<String>) -> Self {
        Self {
            section,
            skipped: None,
            faults,
        }
    }

    /// What this machine has not got what it takes for.
    pub(crate) fn skipped(section: Section, why: impl Into<String>) -> Self {
        Self {
            section,
            skipped: Some(why.into()),
            faults: Vec::new(),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.section.print(out)?;
        if let Some(why) = &self.skipped {
            writeln!(out, "  left out: {why}")?;
        } else if self.is_good() {
            writeln!(out, "  good")?;
        }
        for fault in &self.faults {
            writeln!(out, "  FAULT: {fault}")?;
        }
        writeln!(out)
    }
}

/// Holds a figure to what it has to be.
pub(crate) fn hold(faults: &mut Vec<String>, is_kept: bool, fault: impl FnOnce() -> String) {
    if !is_kept {
        faults.push(fault());
    }
}

/// Holds what was charged to what was answered.
pub(crate) fn hold_paid(faults: &mut Vec<String>, charged: usize, answered: usize) {
    hold(faults, charged == answered, || {
        format!("{charged} payments on the chain, and {answered} were answered")
    });
}
