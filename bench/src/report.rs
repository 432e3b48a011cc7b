//! What is printed: figures under headings, each with the command that repeats it.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::stats::Spread;

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The figures of one benchmark.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Subcommand.
    name: &'static str,
    /// What is measured, one sentence.
    about: String,
    groups: Vec<Group>,
    /// The command that measures it again.
    #[serde(skip)]
    repeat: String,
}

/// Figures that belong together.
#[derive(Debug, Serialize)]
pub struct Group {
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
    /// Measured once: there is no range.
    #[serde(skip)]
    is_one: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<&'static str>,
}

/// Units of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Millionths of a second.
    Microseconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// How often in a second.
    PerSecond,
    /// 2^20 bytes.
    Mebibytes,
    /// How many.
    Count,
    /// One over another.
    Ratio,
    /// Growth of memory.
    MebibytesPerMinute,
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
            Self::MebibytesPerMinute => format!("{value:.2} MiB/min"),
        }
    }
}

impl Section {
    /// A section without figures yet.
    pub fn new(name: &'static str, about: impl Into<String>) -> Self {
        Self {
            name,
            about: about.into(),
            groups: Vec::new(),
            repeat: format!("cargo run --release --locked -p hypervisor-bench -- {name}"),
        }
    }

    /// The same, measured again by another command.
    #[must_use]
    pub fn repeated_by(mut self, command: impl Into<String>) -> Self {
        self.repeat = command.into();
        self
    }

    /// Adds a group.
    pub fn push(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// The section as text for people.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.name, self.about)?;
        writeln!(out, "  repeat: {}", self.repeat)?;
        for group in &self.groups {
            writeln!(out, "  {}", group.title)?;
            for figure in &group.figures {
                let Spread { median, min, max } = figure.value;
                let is_one = figure.is_one;
                let [median, min, max] = [median, min, max].map(|v| figure.unit.format(v));
                write!(out, "    {:<46} {median:>12}", figure.name)?;
                if !is_one {
                    write!(out, "  ({min} .. {max})")?;
                }
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
    /// A group without figures yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            figures: Vec::new(),
        }
    }

    /// Adds a figure from its values, one a round.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        unit: Unit,
        rounds: impl IntoIterator<Item = f64>,
    ) {
        let rounds: Vec<f64> = rounds.into_iter().collect();
        self.figures.push(Figure {
            name: name.into(),
            unit,
            is_one: rounds.len() == 1,
            value: Spread::of(rounds),
            aim: None,
        });
    }

    /// Adds a figure that has an aim.
    pub fn add_with_aim(
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
