//! An agent's answer as it comes: text goes on piece by piece, anything else when it is whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::events::Reader;
use front::fields::{Fields, essence};
use front::json;
use front::ports::Answer;
use front::problem;
use front::words::{is_utf8, words};
use serde_json::{Value, json};

use crate::input::{MESSAGE, is_json};

/// A piece of text goes out when it is so long, or so old.
const PIECE: usize = 32 * 1024;
const LINGER_MS: u64 = 40;
/// As much is read of an answer that is no artifact, such as a challenge.
const MOST_OTHER: usize = 256 * 1024;

/// What becomes of an answer whose head has come.
pub enum Output {
    /// It is text.
    Text(Text),
    /// It is the agent's own events.
    Events(Reader),
    /// It is looked at when it is whole.
    Whole {
        /// As far as it came.
        answer: Answer,
        /// How much of it is kept.
        most: usize,
    },
}

impl Output {
    /// The way of an answer with this head, of which `most` bytes are kept.
    pub fn of(status: u16, fields: Fields, most: usize) -> Self {
        let kind = fields.first("content-type").map(essence);
        let kind = kind.unwrap_or_default();
        let is_good = (200..300).contains(&status) && exit_code(&fields).is_none();
        let is_events = kind == "text/event-stream" && fields.first("a2a-events") == Some("1.0");
        if is_good && is_events {
            return Self::Events(Reader::default());
        }
        if is_good && kind.starts_with("text/") {
            return Self::Text(Text::new(kind));
        }
        Self::Whole {
            answer: Answer {
                status,
                fields,
                ..Answer::default()
            },
            most: if is_good { most } else { most.min(MOST_OTHER) },
        }
    }
}

/// The exit code of a command that did not end well.
pub fn exit_code(fields: &Fields) -> Option<u32> {
    let code = fields.first("x-exit-code")?.parse().ok();
    code.filter(|code| *code != 0)
}

/// Text on its way.
pub struct Text {
    kind: String,
    pending: Vec<u8>,
    since: u64,
}

impl Text {
    fn new(kind: String) -> Self {
        Self {
            kind,
            pending: Vec::new(),
            since: 0,
        }
    }

    /// Takes in what came at this time.
    pub fn push(&mut self, bytes: &[u8], now: u64) {
        if self.pending.is_empty() {
            self.since = now;
        }
        self.pending.extend(bytes);
    }

    /// How long it may be waited for more before something is due; none where nothing is there.
    pub fn wait(&self, now: u64) -> Option<u64> {
        if self.pending.is_empty() {
            return None;
        }
        if self.is_long() {
            return Some(0);
        }
        let due = self.since.saturating_add(LINGER_MS);
        Some(due.saturating_sub(now))
    }

    /// Whether a whole piece waits.
    pub fn is_long(&self) -> bool {
        self.pending.len() >= PIECE
    }

    /// The text that has come, up to the last whole character; all of it where nothing comes behind it.
    pub fn take(&mut self, is_last: bool) -> String {
        let whole = match std::str::from_utf8(&self.pending) {
            Err(error) if !is_last && error.error_len().is_none() => error.valid_up_to(),
            _ => self.pending.len(),
        };
        let rest = self.pending.split_off(whole);
        let bytes = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A part with a piece of it.
    pub fn part(&self, text: &str) -> Value {
        match &*self.kind {
            "text/plain" => json!({"text": text}),
            kind => json!({"text": text, "mediaType": kind}),
        }
    }
}

/// What an answer that is whole comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A part of an artifact; none for an answer without a body.
    Part(Option<Value>),
    /// Events of the agent's own.
    Said(Value),
    /// It went wrong, in words, perhaps with what the agent said of it.
    Failed(String, Option<Value>),
}

/// What comes of an answer. What asks for payment was taken out before.
pub fn outcome(answer: &Answer) -> Outcome {
    let kind = answer.fields.first("content-type").map(essence);
    let kind = kind.unwrap_or_default();
    if let Some(problem) = problem::of(answer) {
        let text = |name| json::text(&problem, name).unwrap_or_default();
        let title = words(text("title"), 200);
        let detail = words(text("detail"), 1000);
        let said = match detail.is_empty() {
            true => title,
            false => format!("{title}: {detail}"),
        };
        return Outcome::Failed(said, None);
    }
    let body = part(answer, &kind);
    if let Some(code) = exit_code(&answer.fields) {
        return Outcome::Failed(
            format!("The command ended with exit code {code}."),
            body.ok().flatten(),
        );
    }
    if !(200..300).contains(&answer.status) {
        let said = format!("The agent answered with HTTP status {}.", answer.status);
        return Outcome::Failed(said, body.ok().flatten());
    }
    if kind == MESSAGE && !answer.is_cut {
        return match json::parse(&answer.body) {
            Ok(value) => Outcome::Said(value),
            Err(_) => Outcome::Failed("The agent's answer is no JSON.".to_owned(), None),
        };
    }
    match body {
        Ok(part) => Outcome::Part(part),
        Err(said) => Outcome::Failed(said, None),
    }
}

fn part(answer: &Answer, kind: &str) -> Result<Option<Value>, String> {
    let body = &answer.body;
    if body.is_empty() {
        return Ok(None);
    }
    if is_json(kind)
        && !answer.is_cut
        && let Ok(data) = json::parse(body)
    {
        return Ok(Some(match kind {
            "application/json" => json!({"data": data}),
            kind => json!({"data": data, "mediaType": kind}),
        }));
    }
    // What a command writes has this type, or none, where its manifest does not say one.
    let is_said_text = kind.starts_with("text/") || is_json(kind) || kind.ends_with("+xml");
    let may_be_text = matches!(kind, "" | "application/octet-stream" | "application/xml");
    if is_said_text || (may_be_text && is_utf8(body, answer.is_cut)) {
        let mut text = Text::new(kind.to_owned());
        text.push(body, 0);
        let text = text.take(!answer.is_cut);
        return Ok(Some(match kind {
            "" | "text/plain" | "application/octet-stream" => json!({"text": text}),
            kind => json!({"text": text, "mediaType": kind}),
        }));
    }
    let kind = match kind {
        "" => "application/octet-stream",
        kind => kind,
    };
    if answer.is_cut {
        return Err(format!(
            "The agent's answer, {kind}, is longer than what is kept of a task."
        ));
    }
    Ok(Some(
        json!({"raw": STANDARD.encode(body), "mediaType": kind}),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, kind: &str, body: &[u8]) -> Answer {
        Answer {
            status,
            fields: Fields::of(&[("content-type", kind)]),
            body: body.to_vec(),
            is_cut: false,
        }
    }

    fn part_of(kind: &str, body: &[u8]) -> Value {
        match outcome(&answer(200, kind, body)) {
            Outcome::Part(Some(part)) => part,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_a_part_by_its_media_type() {
        assert_eq!(
            part_of("application/json", b"{\"a\":1}"),
            json!({"data": {"a": 1}})
        );
        assert_eq!(
            part_of("application/json", b"{"),
            json!({"text": "{", "mediaType": "application/json"})
        );
        assert_eq!(
            part_of("image/png", b"\0"),
            json!({"raw": "AA==", "mediaType": "image/png"})
        );
        assert_eq!(part_of("", b"plain"), json!({"text": "plain"}));
        assert_eq!(
            part_of("application/octet-stream", b"plain"),
            json!({"text": "plain"})
        );
        let raw = json!({"raw": "/w==", "mediaType": "application/octet-stream"});
        assert_eq!(part_of("", b"\xff"), raw);
        assert_eq!(outcome(&answer(200, "", b"")), Outcome::Part(None));
    }

    #[test]
    fn what_went_wrong_is_said_with_what_came_of_it() {
        let failed = outcome(&answer(404, "text/plain", b"no such city"));
        let said = "The agent answered with HTTP status 404.".to_owned();
        assert_eq!(
            failed,
            Outcome::Failed(said, Some(json!({"text": "no such city"})))
        );
        let mut command = answer(500, "text/plain", b"half");
        command.fields = Fields::of(&[("x-exit-code", "3"), ("content-type", "text/plain")]);
        let Outcome::Failed(said, Some(_)) = outcome(&command) else {
            panic!()
        };
        assert!(said.contains("exit code 3"));
        let problem = json!({"type": "urn:hypervisor:problem:agent-limit", "title": "A limit was reached", "detail": "wall"});
        let failed = outcome(&answer(
            504,
            "application/problem+json",
            problem.to_string().as_bytes(),
        ));
        assert_eq!(
            failed,
            Outcome::Failed("A limit was reached: wall".to_owned(), None)
        );
    }

    #[test]
    fn a_file_that_is_too_long_is_none_and_a_text_is_cut() {
        let cut = |kind: &str, body: &[u8]| Answer {
            is_cut: true,
            ..answer(200, kind, body)
        };
        assert!(matches!(
            outcome(&cut("image/png", b"\0")),
            Outcome::Failed(..)
        ));
        let text = outcome(&cut("application/json", "{\"é".as_bytes()));
        assert!(matches!(text, Outcome::Part(Some(_))));
    }

    #[test]
    fn text_goes_on_in_whole_characters_when_it_is_due() {
        let Output::Text(mut text) =
            Output::of(200, Fields::of(&[("content-type", "text/html")]), 9)
        else {
            panic!()
        };
        assert_eq!(text.wait(100), None);
        text.push("aé".as_bytes().split_last().unwrap().1, 100);
        assert_eq!((text.wait(110), text.wait(150)), (Some(30), Some(0)));
        assert_eq!(text.take(false), "a");
        assert_eq!(text.take(true), "\u{fffd}");
        assert_eq!(
            text.part("a"),
            json!({"text": "a", "mediaType": "text/html"})
        );
    }

    #[test]
    fn a_stream_is_events_only_where_the_agent_says_so() {
        let kind = ("content-type", "text/event-stream");
        let plain = Output::of(200, Fields::of(&[kind]), 9);
        assert!(matches!(plain, Output::Text(_)));
        let events = Output::of(200, Fields::of(&[kind, ("a2a-events", "1.0")]), 9);
        assert!(matches!(events, Output::Events(_)));
        let failed = Output::of(500, Fields::of(&[kind, ("a2a-events", "1.0")]), 9);
        assert!(matches!(failed, Output::Whole { .. }));
    }

    proptest! {
        #[test]
        fn text_in_any_pieces_is_the_same_text(text in ".{0,40}", cut in 0..40usize) {
            let mut whole = Text::new("text/plain".to_owned());
            let (one, two) = text.as_bytes().split_at(cut.min(text.len()));
            whole.push(one, 0);
            let first = whole.take(false);
            whole.push(two, 0);
            prop_assert_eq!(first + &whole.take(true), text);
        }

        #[test]
        fn any_answer_comes_to_something(status in 100..600u16, kind in "(application/json|text/plain|image/png|application/a2a\\+json|.{0,10})",
            body in proptest::collection::vec(any::<u8>(), 0..60), is_cut: bool) {
            let _ = outcome(&Answer { is_cut, ..answer(status, &kind, &body) });
        }
    }
}
