//! Results of tools: what the model reads, and what programs read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::error::Failure;

/// As much text of one kind is given to the model, in bytes.
pub const MOST_TEXT: usize = 256 * 1024;
/// As much of what is no text, before it is base64.
pub const MOST_BINARY: usize = 1024 * 1024;

/// The result of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    content: Vec<Value>,
    structured: Option<Map<String, Value>>,
    is_error: bool,
    meta: Map<String, Value>,
}

impl Outcome {
    /// A result that begins with a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().and_text(text)
    }

    /// One that says what went wrong.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// The same with a further text.
    pub fn and_text(self, text: impl Into<String>) -> Self {
        let text: String = text.into();
        self.and(json!({"type": "text", "text": text}))
    }

    /// The same with a further block.
    pub fn and(mut self, block: Value) -> Self {
        self.content.push(block);
        self
    }

    /// The same for programs too.
    pub fn with_structured(mut self, members: Map<String, Value>) -> Self {
        self.structured = Some(members);
        self
    }

    /// The same, as an error or none.
    pub fn marked_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// The same with something about it.
    pub fn with_meta(mut self, key: &str, value: Value) -> Self {
        self.meta.insert(key.to_owned(), value);
        self
    }

    /// The result of `tools/call`.
    pub fn into_result(self) -> Map<String, Value> {
        let mut result = Map::new();
        result.insert("content".to_owned(), self.content.into());
        if let Some(members) = self.structured {
            result.insert("structuredContent".to_owned(), members.into());
        }
        result.insert("isError".to_owned(), self.is_error.into());
        if !self.meta.is_empty() {
            result.insert("_meta".to_owned(), self.meta.into());
        }
        result
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::error(failure.to_string())
    }
}

/// Bytes as a model can be shown them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text, or base64.
    pub text: String,
    /// Whether it is base64, because the bytes are no text.
    pub is_base64: bool,
    /// Whether it is not all: it was cut here, or came cut.
    pub is_cut: bool,
}

impl Shown {
    /// The first of `bytes`. `is_cut` says that they are not all that there was.
    pub fn new(bytes: &[u8], is_cut: bool) -> Self {
        let here = bytes.get(..MOST_TEXT).unwrap_or(bytes);
        let is_cut = is_cut || here.len() < bytes.len();
        match std::str::from_utf8(here) {
            Ok(text) => Self::of(text, is_cut),
            // A character that was cut through is not shown.
            Err(error) if error.error_len().is_none() && is_cut => {
                let whole = here.get(..error.valid_up_to()).unwrap_or_default();
                Self::of(&String::from_utf8_lossy(whole), is_cut)
            }
            Err(_) => {
                let most = MOST_TEXT / 4 * 3;
                let here = bytes.get(..most).unwrap_or(bytes);
                Self {
                    text: STANDARD.encode(here),
                    is_base64: true,
                    is_cut: is_cut || here.len() < bytes.len(),
                }
            }
        }
    }

    fn of(text: &str, is_cut: bool) -> Self {
        Self {
            text: text.to_owned(),
            is_base64: false,
            is_cut,
        }
    }

    /// The text with what is to be known of it.
    pub fn marked(&self) -> String {
        let encoded = if self.is_base64 {
            "[not text; base64]\n"
        } else {
            ""
        };
        let cut = if self.is_cut {
            "\n[cut: this is not all of it]"
        } else {
            ""
        };
        format!("{encoded}{}{cut}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_result_has_what_it_was_given() {
        let result = Outcome::error("a").and_text("b").with_meta("m", json!(1));
        assert_eq!(
            Value::Object(result.into_result()),
            json!({
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "isError": true, "_meta": {"m": 1},
            })
        );
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_says_so() {
        let text = "é".repeat(MOST_TEXT);
        let shown = Shown::new(text.as_bytes(), false);
        assert!(shown.is_cut && !shown.is_base64 && shown.text.len() <= MOST_TEXT);
        assert!(shown.marked().ends_with("[cut: this is not all of it]"));
        let odd = format!("a{text}");
        let shown = Shown::new(odd.as_bytes(), false);
        assert!(!shown.is_base64 && shown.text.len() == MOST_TEXT - 1);
        assert_eq!(Shown::new(b"a", false).marked(), "a");
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let shown = Shown::new(&[0xff, 0], false);
        assert_eq!((&*shown.text, shown.is_base64), ("/wA=", true));
        assert!(shown.marked().starts_with("[not text"));
        let shown = Shown::new(&vec![0xff; MOST_TEXT], false);
        assert!(shown.is_cut && shown.text.len() <= MOST_TEXT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown(bytes in proptest::collection::vec(any::<u8>(), 0..64), is_cut: bool) {
            let shown = Shown::new(&bytes, is_cut);
            prop_assert_eq!(shown.is_cut, is_cut);
            if !shown.is_base64 && !is_cut {
                prop_assert_eq!(shown.text.as_bytes(), &*bytes);
            }
        }
    }
}
