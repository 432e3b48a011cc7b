//! What is written to standard output. Names come from programs of strangers, so none may steer a terminal, hide what it says,
//! or fill the screen.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// Characters of a name or a sentence that are shown at the most.
const MAX_SHOWN: usize = 2_000;

/// Text of a stranger's for one line of a terminal.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN));
    for (count, character) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            shown.push('…');
            break;
        }
        if is_hidden(character) {
            // Of the four ways to write it, the one of Rust and JavaScript; writing to a string does not fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Writes one JSON document, in which everything that a terminal would act on is escaped.
///
/// # Errors
/// When it cannot be written.
pub fn json(out: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // The line breaks between members; those inside strings are escaped already.
        if character != '\n' && is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    writeln!(out, "{escaped}")
}

/// What came of writing. Whoever reads may stop before the end: what was asked for is done all the same.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn written(result: io::Result<()>) -> Result<(), Error> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|source| Error::Io {
            what: "cannot write to standard output",
            source,
        }),
    }
}

/// Control characters, those that change the direction of text, and those that have no width.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            u32::from(character),
            0xad | 0x61c
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0xe_0000..=0xe_007f
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_steer_a_terminal_nor_fill_it() {
        assert_eq!(plain("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\u{a}b");
        assert_eq!(plain("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(plain("größer → 日本"), "größer → 日本");
        assert_eq!(plain(&"x".repeat(1 << 20)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn json_is_escaped_without_loss() {
        let text = "\u{1b}\u{9b}\u{202e}\u{e0041}\n\"\\";
        let mut out = Vec::new();
        json(&mut out, &[text]).unwrap();
        assert!(out.is_ascii());
        let read: Vec<String> = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, [text]);
    }

    #[test]
    fn a_reader_that_stops_early_is_no_failure() {
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(written(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
