//! What is asked, and how it is put to arXiv.

use form_urlencoded::Serializer;
use http_kit::{Target, read_body};
use serde::Deserialize;
use wasip2::http::types::{IncomingRequest, Method};

/// A body longer than this is not read.
const LONGEST_BODY: usize = 64 * 1024;
/// Bytes of a question.
const LONGEST_QUESTION: usize = 1000;
const DEFAULT_LIMIT: usize = 5;
const LARGEST_LIMIT: usize = 50;

/// Words that a question is made with and that say nothing of what it is about. The operators of arXiv's query language
/// (`and`, `or`, `andnot`) are among them: in a question they are only words.
const FILLERS: &[&str] = &[
    "a", "about", "an", "and", "andnot", "are", "as", "at", "be", "best", "by", "can", "do",
    "does", "for", "from", "has", "have", "how", "i", "in", "is", "it", "its", "latest", "of",
    "on", "or", "paper", "papers", "should", "that", "the", "their", "there", "these", "to", "was",
    "we", "what", "when", "where", "which", "who", "why", "will", "with", "you",
];

/// A question that can be searched for.
#[derive(Debug)]
pub struct Question {
    text: String,
    words: Vec<String>,
    limit: usize,
}

/// Why there is none in a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("ask by `GET /?q=…`, or by POST with a body in JSON")]
    Method,
    #[error("no question: {0}")]
    Unreadable(String),
    #[error(
        "no question: `question` (or `q` in the query) is empty, or has only words like `what` and `is`"
    )]
    Empty,
    #[error("the question is longer than {LONGEST_QUESTION} bytes")]
    TooLong,
    #[error("limit is 1 to {LARGEST_LIMIT}")]
    Limit,
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    question: String,
    limit: Option<usize>,
}

impl Question {
    /// The question that a request asks.
    pub fn of(request: &IncomingRequest) -> Result<Self, Refused> {
        match request.method() {
            Method::Get => Self::from_target(&Target::of(request)),
            Method::Post => {
                let body = read_body(request, LONGEST_BODY)
                    .map_err(|error| Refused::Unreadable(error.to_string()))?;
                Self::from_json(&body)
            }
            _ => Err(Refused::Method),
        }
    }

    fn from_target(target: &Target) -> Result<Self, Refused> {
        let limit = target
            .parameter("limit")
            .map(|text| text.parse().map_err(|_| Refused::Limit))
            .transpose()?;
        Self::new(target.parameter("q").unwrap_or_default(), limit)
    }

    fn from_json(body: &[u8]) -> Result<Self, Refused> {
        let asked: Asked =
            serde_json::from_slice(body).map_err(|error| Refused::Unreadable(error.to_string()))?;
        Self::new(asked.question, asked.limit)
    }

    fn new(text: String, limit: Option<usize>) -> Result<Self, Refused> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(Refused::Limit);
        }
        if text.len() > LONGEST_QUESTION {
            return Err(Refused::TooLong);
        }
        let words = words(&text);
        if words.is_empty() {
            return Err(Refused::Empty);
        }
        Ok(Self { text, words, limit })
    }

    /// As it was asked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// At most so many papers are wanted.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Path and query for arXiv's API: papers that have every word anywhere, the best matches first.
    pub fn target(&self) -> String {
        let terms: Vec<String> = self
            .words
            .iter()
            .map(|word| format!("all:{word}"))
            .collect();
        let query = Serializer::new(String::new())
            .append_pair("search_query", &terms.join(" AND "))
            .append_pair("max_results", &self.limit.to_string())
            .finish();
        format!("/api/query?{query}")
    }
}

/// The words of a text that are worth searching for. They hold nothing that the query language reads.
fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !FILLERS.contains(&word.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(text: &str) -> Result<Question, Refused> {
        Question::new(text.to_owned(), None)
    }

    #[test]
    fn every_word_of_a_question_has_to_occur() {
        let question = ask("How does quantum error-correction work?").unwrap();
        assert_eq!(
            question.target(),
            "/api/query?search_query=all%3Aquantum+AND+all%3Aerror+AND+all%3Acorrection+AND+all%3Awork&max_results=5"
        );
    }

    #[test]
    fn fillers_are_in_order_and_in_lower_case() {
        assert!(FILLERS.is_sorted());
        assert!(FILLERS.iter().all(|word| words(word).is_empty()));
    }

    #[test]
    fn operators_of_the_query_language_are_only_words() {
        let question = ask("cats AND (dogs) ANDNOT au:\"Smith\"").unwrap();
        assert_eq!(question.words, ["cats", "dogs", "au", "smith"]);
    }

    #[test]
    fn a_question_without_words_is_refused() {
        for text in ["", " \n", "?!", "What is it?"] {
            assert_eq!(ask(text).unwrap_err(), Refused::Empty, "{text}");
        }
    }

    #[test]
    fn a_question_has_at_most_1000_bytes() {
        assert!(ask(&"x".repeat(1000)).is_ok());
        assert_eq!(ask(&"x".repeat(1001)).unwrap_err(), Refused::TooLong);
    }

    #[test]
    fn a_body_is_json_with_a_question_and_perhaps_a_limit() {
        let question = Question::from_json(br#"{"question": "electrons", "limit": 50}"#).unwrap();
        assert_eq!(question.limit(), 50);
        for body in [
            "",
            "electrons",
            "{}",
            r#"{"question": 1}"#,
            r#"{"question": "x", "limits": 1}"#,
        ] {
            assert!(
                matches!(
                    Question::from_json(body.as_bytes()),
                    Err(Refused::Unreadable(_))
                ),
                "{body}"
            );
        }
        for limit in ["0", "51"] {
            let body = format!(r#"{{"question": "electrons", "limit": {limit}}}"#);
            assert_eq!(
                Question::from_json(body.as_bytes()).unwrap_err(),
                Refused::Limit
            );
        }
    }

    proptest! {
        #[test]
        fn no_question_leaves_its_place_in_the_query(text in ".{0,200}") {
            if let Ok(question) = ask(&text) {
                let target = question.target();
                let (_, query) = target.split_once('?').unwrap();
                let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                prop_assert_eq!(pairs.len(), 2);
                for term in pairs[0].1.split(" AND ") {
                    prop_assert!(term.strip_prefix("all:").unwrap().chars().all(char::is_alphanumeric), "{}", term);
                }
            }
        }
    }
}
