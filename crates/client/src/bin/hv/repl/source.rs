//! Whether source is complete, or goes on in the next line.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Helper, Result};

use crate::env::Language;

/// Lets a line go on where it is not complete.
pub(super) struct Continues(pub(super) Language);

impl Validator for Continues {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(match is_complete(ctx.input(), self.0) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Continues {
    type Candidate = String;
}

impl Hinter for Continues {
    type Hint = String;
}

impl Highlighter for Continues {}
impl Helper for Continues {}

/// Whether source is complete: its brackets are closed, and so are its texts of several lines. In Python a block goes on until an empty line.
/// It is a guess for people at a prompt; what it is wrong about is an error of the language.
pub(super) fn is_complete(source: &str, language: Language) -> bool {
    match language {
        Language::Js => is_closed(source, &["`"], &["//"], Some(("/*", "*/"))),
        Language::Python => {
            let is_closed = is_closed(source, &["\"\"\"", "'''"], &["#"], None);
            let last = source.split('\n').next_back().unwrap_or_default();
            let opens_a_block = source.lines().any(|line| {
                let code = line.split(" #").next().unwrap_or_default().trim_end();
                code.ends_with(':')
            });
            let is_decorator = last.trim_start().starts_with('@');
            let goes_on = last.ends_with('\\') || is_decorator;
            is_closed && !goes_on && (!opens_a_block || last.trim().is_empty())
        }
    }
}

/// Whether brackets and texts are closed. `long`: quotes of texts that go over lines; others end with their line at the latest.
fn is_closed(source: &str, long: &[&str], comments: &[&str], block: Option<(&str, &str)>) -> bool {
    let mut depth = 0_i64;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if let Some((open, close)) = block
            && let Some(after) = rest.strip_prefix(open)
        {
            let Some((_, after)) = after.split_once(close) else {
                return false;
            };
            rest = after;
            continue;
        }
        if comments.iter().any(|mark| rest.starts_with(mark)) {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        if let Some(quote) = long.iter().find(|quote| rest.starts_with(**quote)) {
            match after_text(rest.get(quote.len()..).unwrap_or_default(), quote, false) {
                Some(after) => rest = after,
                None => return false,
            }
            continue;
        }
        if matches!(first, '"' | '\'') {
            let quote = first.to_string();
            let inside = rest.get(1..).unwrap_or_default();
            rest = after_text(inside, &quote, true).unwrap_or_default();
            continue;
        }
        match first {
            '(' | '[' | '{' => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    depth <= 0
}

/// What comes after a text; none where it does not end.
fn after_text<'a>(mut rest: &'a str, quote: &str, ends_with_line: bool) -> Option<&'a str> {
    while let Some(first) = rest.chars().next() {
        if rest.starts_with(quote) {
            return rest.get(quote.len()..);
        }
        if ends_with_line && first == '\n' {
            return Some(rest);
        }
        let mut next = rest.get(first.len_utf8()..)?;
        if first == '\\' {
            let escaped = next.chars().next()?;
            next = next.get(escaped.len_utf8()..)?;
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn javascript_goes_on_until_its_brackets_and_templates_are_closed() {
        for (source, complete) in [
            ("1 + 1", true),
            ("function f() {", false),
            ("function f() {\n  return 1;\n}", true),
            ("`a", false),
            ("`a\n`", true),
            ("'(' + \"[\"", true),
            ("f(1, // ) not here", false),
            ("/* { */ 1", true),
            ("/* {", false),
            ("]", true),
        ] {
            assert_eq!(is_complete(source, Language::Js), complete, "{source}");
        }
    }

    #[test]
    fn python_goes_on_until_a_block_is_followed_by_an_empty_line() {
        for (source, complete) in [
            ("1 + 1", true),
            ("def f():", false),
            ("def f():\n    return 1", false),
            ("def f():\n    return 1\n", true),
            ("x = [1,", false),
            ("x = [1,\n2]", true),
            ("'''a", false),
            ("'''a\n'''", true),
            ("x = 1 + \\", false),
            ("@cached", false),
            ("# (", true),
        ] {
            assert_eq!(
                is_complete(source, Language::Python),
                complete,
                "{source:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_complete_or_not(source in ".*") {
            is_complete(&source, Language::Js);
            is_complete(&source, Language::Python);
        }
    }
}
