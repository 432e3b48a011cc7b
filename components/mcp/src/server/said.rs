//! What an agent says before its result, as far as the client wants to hear it.

use front::json;
use front::words::words;
use serde_json::{Map, Value, json};

/// Where a client says from which level on it wants messages.
pub const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";
/// Levels, the least first.
pub const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

const LONGEST_TOKEN: usize = 256;
const LONGEST_WORDS: usize = 1024;

/// What a client wants to hear.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// What progress is told by.
    token: Option<Value>,
    /// The least level of messages.
    level: Option<usize>,
}

impl Filter {
    /// What the `_meta` of a request says; nothing where it says nothing.
    pub fn of(meta: &Map<String, Value>) -> Self {
        let token = meta.get("progressToken").filter(|token| match token {
            Value::String(text) => text.len() <= LONGEST_TOKEN,
            Value::Number(number) => !number.is_f64(),
            _ => false,
        });
        Self {
            token: token.cloned(),
            level: json::text(meta, LEVEL_KEY).and_then(rank),
        }
    }

    /// The notification as it is passed on; none where it is not. What it is about is this request, whatever the agent says.
    pub fn passed(&self, mut notification: Map<String, Value>) -> Option<Value> {
        let method = notification.remove("method")?;
        let Some(Value::Object(mut said)) = notification.remove("params") else {
            return None;
        };
        let mut params = Map::new();
        match method.as_str()? {
            "notifications/progress" => {
                params.insert("progressToken".to_owned(), self.token.clone()?);
                let progress = said.remove("progress").filter(Value::is_number)?;
                params.insert("progress".to_owned(), progress);
                if let Some(total) = said.remove("total").filter(Value::is_number) {
                    params.insert("total".to_owned(), total);
                }
                if let Some(message) = json::text(&said, "message") {
                    params.insert("message".to_owned(), words(message, LONGEST_WORDS).into());
                }
            }
            "notifications/message" => {
                let level = json::text(&said, "level")?;
                if rank(level)? < self.level? {
                    return None;
                }
                params.insert("level".to_owned(), level.into());
                if let Some(logger) = json::text(&said, "logger") {
                    params.insert("logger".to_owned(), words(logger, LONGEST_WORDS).into());
                }
                params.insert("data".to_owned(), said.remove("data")?);
            }
            _ => return None,
        }
        Some(json!({"jsonrpc": "2.0", "method": method, "params": params}))
    }
}

/// The place of a level among them.
fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|it| *it == level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(meta: Value, method: &str, params: Value) -> Option<Value> {
        let filter = Filter::of(meta.as_object().unwrap());
        let said = json!({"jsonrpc": "2.0", "method": method, "params": params});
        filter.passed(said.as_object().unwrap().clone())
    }

    #[test]
    fn progress_is_that_of_the_request_whatever_the_agent_calls_it() {
        let said = json!({"progressToken": "other", "progress": 1, "total": 2, "message": "a\nb", "more": 1});
        let meta = json!({"progressToken": 7});
        let heard = passed(meta, "notifications/progress", said.clone()).unwrap();
        let expected = json!({"progressToken": 7, "progress": 1, "total": 2, "message": "a b"});
        assert_eq!(heard["params"], expected);
        for meta in [
            json!({}),
            json!({"progressToken": []}),
            json!({"progressToken": 1.5}),
        ] {
            assert_eq!(passed(meta, "notifications/progress", said.clone()), None);
        }
    }

    #[test]
    fn messages_are_heard_from_the_level_on_that_was_asked_for() {
        let said = |level: &str| json!({"level": level, "logger": "l", "data": {"a": 1}});
        let heard = |meta: Value, level| passed(meta, "notifications/message", said(level));
        let warnings = json!({LEVEL_KEY: "warning"});
        assert!(heard(warnings.clone(), "info").is_none());
        assert!(heard(warnings.clone(), "loud").is_none());
        assert_eq!(
            heard(warnings.clone(), "warning").unwrap()["params"],
            said("warning")
        );
        assert!(heard(warnings, "emergency").is_some());
        assert!(heard(json!({}), "emergency").is_none());
        assert!(heard(json!({LEVEL_KEY: 1}), "emergency").is_none());
    }

    #[test]
    fn nothing_else_is_passed_on() {
        let meta = json!({"progressToken": 7, LEVEL_KEY: "debug"});
        for method in [
            "notifications/tools/list_changed",
            "notifications/cancelled",
            "x",
        ] {
            assert_eq!(passed(meta.clone(), method, json!({})), None);
        }
        assert_eq!(
            passed(meta.clone(), "notifications/progress", json!([])),
            None
        );
        let wordy = json!({"progress": "half"});
        assert_eq!(passed(meta, "notifications/progress", wordy), None);
    }

    proptest! {
        #[test]
        fn any_notification_is_judged(text in "\\{\"(progress|level|data|total)\":[\\[\\]{}\",:a-z0-9]{0,20}\\}") {
            if let Ok(params) = serde_json::from_str(&text) {
                let meta = json!({"progressToken": 7, LEVEL_KEY: "debug"});
                for method in ["notifications/progress", "notifications/message"] {
                    let _ = passed(meta.clone(), method, Value::clone(&params));
                }
            }
        }
    }
}
