//! What a plugin says beside its answers: what it prints while it serves the host, and why a call of it gave no answer.
//!
//! Either may quote what the plugin was asked about. So its own words are lines of a target of their own, which the operator has to
//! name, and the lines of everybody's log have classes and the names of the plugin's functions
//! (docs/decisions/0070-plugins-own-words.md). What comes out of WIT could be anything: `fuzz/` has all of this read it.

use std::time::Duration;

use hypervisor_protocol::LimitKind;
use hypervisor_wasm_check::cut;

use super::outcome::Exit;
use super::script::{Fault, ScriptError};

/// The target of the lines that hold plugins' own words, all at `debug`.
pub const PLUGIN_LOG: &str = "plugin";

/// Characters of somebody else's words that go into a report, or a line of the log.
pub(super) const MAX_WORDS: usize = 2_000;
/// Lines of one stream of one call that are written, and characters of a line.
const MAX_LINES: usize = 64;
const MAX_LINE: usize = 1_000;
/// Characters of a plugin's own words that the operator is told: a traceback, and no more of what could be megabytes.
const MAX_EXPLAINED: usize = 8 * MAX_WORDS;
/// Characters of a policy's reason that go into a report.
const MAX_REASON: usize = 1_000;

/// What a call wrote to standard output and standard error.
pub type Written = [Vec<u8>; 2];

/// What came of a call of a plugin.
#[derive(Debug)]
pub struct Said<T> {
    /// Its answer.
    pub answer: Result<T, Failure>,
    /// What it printed meanwhile, or while it was made ready for this call.
    pub written: Written,
    /// How long it took.
    pub took: Duration,
}

/// Why a plugin gave no answer. What is displayed is without its words: callers read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot read the operator's rules, or they failed. Its words.
    #[error("its rules raised an error")]
    Rules(String),
    /// It cannot use an offer of the operator's. Its words.
    #[error("it cannot use an offer")]
    Offer(String),
    /// It cannot reach what it needs. Its words.
    #[error("it cannot reach a service that it needs")]
    Unavailable(String),
    /// It says that it failed. Its words, where it has any.
    #[error("its engine reported an error")]
    Internal(Option<String>),
    /// It was stopped at a limit.
    #[error("{}", stopped(*.0))]
    Limit(LimitKind),
    /// It ended. The engine's words, and its functions from the innermost out.
    #[error("it crashed")]
    Trap(String),
}

fn stopped(limit: LimitKind) -> &'static str {
    match limit {
        LimitKind::Cpu | LimitKind::Wall => "it took too long",
        LimitKind::Memory => "it needed too much memory",
        _ => "it reached a limit",
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Limit { which, .. } => Self::Limit(which),
            Exit::Trap { reason } => Self::Trap(reason.replace("\n  at ", "; at ")),
            Exit::Ok => Self::Trap("it ended itself".to_owned()),
            Exit::Code { code } => Self::Trap(format!("it ended itself with exit code {code}")),
            Exit::Denied { reason: words } | Exit::Rejected { detail: words, .. } => {
                Self::Trap(words)
            }
        }
    }
}

impl Failure {
    /// Its class, as WIT has it where WIT has one.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Rules(_) => "invalid-rules",
            Self::Offer(_) => "invalid-offer",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal-error",
            Self::Limit(_) => "limit",
            Self::Trap(_) => "trap",
        }
    }

    /// The plugin's own words.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Rules(words) | Self::Offer(words) | Self::Unavailable(words) => Some(words),
            Self::Internal(words) => words.as_deref(),
            Self::Limit(_) | Self::Trap(_) => None,
        }
    }

    /// Where it ended: the limit, or the trap with the functions' names, none of which depends on what was asked.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Limit(which) => Some(format!("the limit of {which}")),
            Self::Trap(place) => Some(place.clone()),
            _ => None,
        }
    }

    /// All of it, for the operator at work.
    pub fn explained(&self) -> String {
        let words = self.words().map(|it| cut(it, MAX_EXPLAINED).into_owned());
        let more = words.or_else(|| self.place());
        more.map_or_else(|| self.to_string(), |more| format!("{self}: {more}"))
    }

    /// Why rules are not taken into use, for the operator: nobody was asked about yet, so that every word may be read.
    pub(super) fn of_rules(&self, [_, stderr]: &Written) -> String {
        if let Self::Rules(words) = self {
            return cut(words, MAX_EXPLAINED).into_owned();
        }
        let last = lines(stderr).pop();
        let last = last.map(|line| format!("; the last that it wrote: {line}"));
        let last = last.unwrap_or_default();
        format!("the policy failed: {}{last}", self.explained())
    }

    /// The line with the plugin's own words. `call` is what was asked.
    pub(super) fn log_words(&self, plugin: &'static str, call: &'static str) {
        if let Some(words) = self.words() {
            log_words(plugin, call, self.class(), words);
        }
    }
}

/// A policy's reason, as a report has it.
pub(super) fn reason(words: &str) -> String {
    words.chars().take(MAX_REASON).collect()
}

/// How a script ended that an engine has an error of, and the fault that the interpreter's own command line would print.
pub(super) fn ended(error: ScriptError) -> (Exit, Option<Fault>) {
    match error {
        // By WIT it is none of these; an engine that says so has ended well.
        ScriptError::Exit(0) => (Exit::Ok, None),
        ScriptError::Exit(code) => (Exit::Code { code: code.into() }, None),
        ScriptError::InvalidSource(fault) | ScriptError::Uncaught(fault) => {
            (Exit::Code { code: 1 }, Some(fault))
        }
        ScriptError::InternalError(words) => {
            let words = words.as_deref().unwrap_or("the interpreter failed");
            let reason = cut(words, MAX_WORDS).into_owned();
            (Exit::Trap { reason }, None)
        }
    }
}

/// A line with a plugin's own words about `call`.
pub(super) fn log_words(plugin: &'static str, call: &str, class: &str, words: &str) {
    let words = cut(words, MAX_WORDS);
    let words = words.as_ref();
    tracing::debug!(target: PLUGIN_LOG, plugin, call, class, words);
}

/// The lines that a plugin printed. They are cut where they are written only: `tracing::enabled!` would say beforehand whether they are,
/// and has the next line lost where layers have filters of their own.
pub(super) fn log_written(plugin: &'static str, written: &Written) {
    for (stream, bytes) in ["stdout", "stderr"].into_iter().zip(written) {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = printed(&text);
        for line in lines.by_ref().take(MAX_LINES) {
            tracing::debug!(target: PLUGIN_LOG, plugin, stream, line = cut(line, MAX_LINE).as_ref());
        }
        let more = lines.count();
        if more > 0 {
            tracing::debug!(target: PLUGIN_LOG, plugin, stream, more, "and more lines");
        }
    }
}

/// The lines of an output, none of them long or empty.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = printed(&text);
    lines.map(|line| cut(line, MAX_LINE).into_owned()).collect()
}

fn printed(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_may_read_of_a_failure_has_none_of_the_plugins_words() {
        let words = || "the payer 0xabc".to_owned();
        for failure in [
            Failure::Rules(words()),
            Failure::Offer(words()),
            Failure::Unavailable(words()),
            Failure::Internal(Some(words())),
        ] {
            assert!(!failure.to_string().contains("0xabc"));
            assert_eq!(failure.place(), None);
            assert!(failure.explained().ends_with(": the payer 0xabc"));
        }
    }

    #[test]
    fn a_trap_is_one_line_with_its_functions() {
        let failure = Failure::from(Exit::Trap {
            reason: "wasm `unreachable` instruction executed\n  at inner\n  at outer".to_owned(),
        });
        assert_eq!(
            failure.explained(),
            "it crashed: wasm `unreachable` instruction executed; at inner; at outer"
        );
    }

    #[test]
    fn an_output_is_cut_in_lines() {
        let long = [b"a\r\n\nb".as_slice(), &[b'x'; 2 * MAX_LINE]].concat();
        let lines = lines(&long);
        assert_eq!(lines[0], "a");
        assert_eq!((lines.len(), lines[1].chars().count()), (2, MAX_LINE + 1));
    }
}
