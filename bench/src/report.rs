//! What is printed: figures under headings, each with the command that repeats it.

use std::io::{self, Write};

use serde::Serialize;

use crate::stats::Spread;

/// The figures of one benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// Subcommand.
    name: &'static str,
    /// What is measured, one sentence.
    about: String,
    groups: Vec<Group>,
}

/// Figures that belong together.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    title: String,
    figures: Vec<Figure>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    unit: Unit,
    #[serde(flatten)]
    value: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<&'static str>,
}

/// Units of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Microseconds,
    Milliseconds,
    Seconds,
    PerSecond,
    Mebibytes,
    Count,
    Ratio,
}

impl Unit {
    fn format(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{value:.1} us"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Seconds => format!("{value:.3} s"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{value:.2}"),
        }
    }
}

impl Section {
    pub(crate) fn new(name: &'static str, about: impl Into<String>) -> Self {
        Self {
            name,
            about: about.into(),
            groups: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// The section as text for people.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.name, self.about)?;
        writeln!(
            out,
            "  repeat: cargo run --release --locked -p hypervisor-bench -- {}",
            self.name
        )?;
        for group in &self.groups {
            writeln!(out, "  {}", group.title)?;
            for figure in &group.figures {
                let Spread { median, min, max } = figure.value;
                let [median, min, max] = [median, min, max].map(|v| figure.unit.format(v));
                write!(
                    out,
                    "    {:<46} {median:>12}  ({min} .. {max})",
                    figure.name
                )?;
                match figure.aim {
                    Some(aim) => writeln!(out, "  aim {aim}")?,
                    None => writeln!(out)?,
                }
            }
        }
        writeln!(out)
    }
}

impl Group {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            figures: Vec::new(),
        }
    }

    /// Adds a figure from its values, one a round.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        unit: Unit,
        rounds: impl IntoIterator<Item = f64>,
    ) {
        self.figures.push(Figure {
            name: name.into(),
            unit,
            value: Spread::of(rounds),
            aim: None,
        });
    }

    /// Adds a figure that has an aim.
    pub(crate) fn add_with_aim(
        &mut self,
        name: impl Into<String>,
        unit: Unit,
        rounds: impl IntoIterator<Item = f64>,
        aim: &'static str,
    ) {
        self.add(name, unit, rounds);
        if let Some(figure) = self.figures.last_mut() {
            figure.aim = Some(aim);
        }
    }
}
