//! Files, standard streams and the terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;

/// How what is known is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// A spinner on a terminal; nothing elsewhere.
pub(crate) fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return file(path);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|source| Failure::Io {
        what: "cannot read standard input".to_owned(),
        source,
    })
}

/// A file that names itself when it can not be read.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Io {
        what: format!("cannot read {}", path.display()),
        source,
    })
}

pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|source| Failure::Io {
            what: "standard output".to_owned(),
            source,
        })
}

pub(crate) fn document(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

pub(crate) fn stderr(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stderr(), "hv: {line}")
}

/// As [`stderr`], for where nothing else can fail.
pub(crate) fn note(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    stderr(line).map_err(|source| Failure::Io {
        what: "standard error".to_owned(),
        source,
    })
}

/// Somebody else's text for a terminal: lines stay, and nothing is left that a terminal would act on or that hides.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let harmless =
        |c: char| matches!(c, '\n' | '\t' | '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let safe = text.chars().map(|c| {
        if harmless(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    });
    Cow::Owned(safe.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_not_steer_a_terminal() {
        assert_eq!(plain("a \"b\"\n\tæ 雨"), "a \"b\"\n\tæ 雨");
        assert_eq!(plain("\u{1b}[2Jx\r"), "\u{fffd}[2Jx\u{fffd}");
        assert_eq!(plain("\u{202e}gpj.exe"), "\u{fffd}gpj.exe");
    }
}
