//! An agent's answer as content of a result, by its media type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::fields::essence;
use front::json;
use front::ports::Answer;
use front::words::is_utf8;
use serde_json::{Value, json};

use crate::outcome::{MOST_BINARY, Outcome, Shown};

/// As much of an agent's answer is read.
pub const MOST_ANSWER: usize = 4 * 1024 * 1024;
/// The longest JSON that is given to programs too, in bytes.
const MOST_JSON: usize = crate::outcome::MOST_TEXT;

/// The result of a call: `uri` is what was called.
pub fn outcome(answer: &Answer, uri: &str) -> Outcome {
    let exit = answer.fields.first("x-exit-code");
    let exit = exit
        .and_then(|code| code.parse::<u32>().ok())
        .filter(|code| *code != 0);
    let is_error = answer.status >= 400 || exit.is_some();
    let mut outcome = Outcome::default();
    if let Some(code) = exit {
        outcome = outcome.and_text(format!("exit code {code}"));
    } else if is_error {
        outcome = outcome.and_text(format!("HTTP status {}", answer.status));
    } else if (300..400).contains(&answer.status) {
        let location = answer.fields.first("location").unwrap_or_default();
        let location = front::words::words(location, 1000);
        outcome = outcome.and_text(format!(
            "HTTP status {}, location: {location}",
            answer.status
        ));
    }
    with_body(outcome, answer, uri).marked_error(is_error)
}

fn with_body(outcome: Outcome, answer: &Answer, uri: &str) -> Outcome {
    let said = answer.fields.first("content-type").map(essence);
    let kind = said.as_deref().unwrap_or_default();
    let body = &answer.body;
    if body.is_empty() {
        return outcome.and_text("[the answer has no body]");
    }
    let is_json = kind == "application/json" || kind.ends_with("+json");
    // What a command writes has this type, or none, where its manifest does not say one.
    let may_be_text = matches!(kind, "" | "application/octet-stream");
    if is_json || is_text(kind) || (may_be_text && is_utf8(body, answer.is_cut)) {
        let shown = Shown::new(body, answer.is_cut);
        let outcome = outcome.and_text(shown.marked());
        let fits = is_json && !shown.is_cut && body.len() <= MOST_JSON;
        return match fits.then(|| json::object(body)) {
            Some(Ok(members)) => outcome.with_structured(members),
            _ => outcome,
        };
    }
    if answer.is_cut || body.len() > MOST_BINARY {
        let kind = if kind.is_empty() {
            "unknown type"
        } else {
            kind
        };
        let much = if answer.is_cut { "more than " } else { "" };
        let text = format!("[{kind}, {much}{} bytes: too long to be shown]", body.len());
        return outcome.and_text(text);
    }
    outcome.and(block(kind, &STANDARD.encode(body), uri))
}

fn block(kind: &str, data: &str, uri: &str) -> Value {
    match kind {
        "image/png" | "image/jpeg" | "image/gif" | "image/webp" => {
            json!({"type": "image", "data": data, "mimeType": kind})
        }
        _ if kind.starts_with("audio/") => {
            json!({"type": "audio", "data": data, "mimeType": kind})
        }
        _ => {
            let kind = if kind.is_empty() {
                "application/octet-stream"
            } else {
                kind
            };
            json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "blob": data}})
        }
    }
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || matches!(
            kind,
            "application/xml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
                | "application/x-ndjson"
                | "application/yaml"
                | "application/toml"
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use front::fields::Fields;

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        Answer {
            status,
            fields: Fields::of(headers),
            body: body.to_vec(),
            is_cut: false,
        }
    }

    fn result(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Value {
        outcome(&answer(status, headers, body), "agent://a/")
            .into_result()
            .into()
    }

    #[test]
    fn text_is_text_and_json_is_for_programs_too() {
        let text = result(200, &[("content-type", "text/html; charset=utf-8")], b"<p>");
        assert_eq!(text["content"], json!([{"type": "text", "text": "<p>"}]));
        assert!(text.get("structuredContent").is_none());
        let json = result(200, &[("content-type", "application/json")], br#"{"a":1}"#);
        assert_eq!(json["structuredContent"], json!({"a": 1}));
        let list = result(200, &[("content-type", "application/json")], b"[1]");
        assert!(list.get("structuredContent").is_none());
        for headers in [&[][..], &[("content-type", "application/octet-stream")]] {
            assert_eq!(
                result(200, headers, b"plain")["content"][0]["text"],
                "plain"
            );
            assert_eq!(
                result(200, headers, b"\xff")["content"][0]["type"],
                "resource"
            );
        }
    }

    #[test]
    fn what_is_no_text_is_an_image_a_sound_or_a_resource() {
        let block = |kind| result(200, &[("content-type", kind)], &[0xff])["content"][0].clone();
        assert_eq!(
            block("image/png"),
            json!({"type": "image", "data": "/w==", "mimeType": "image/png"})
        );
        assert_eq!(block("audio/wav")["type"], "audio");
        let other = block("application/pdf");
        assert_eq!(
            other["resource"],
            json!({"uri": "agent://a/", "mimeType": "application/pdf", "blob": "/w=="})
        );
        assert_eq!(result(200, &[], &[0xff])["content"][0]["type"], "resource");
        let long = result(
            200,
            &[("content-type", "image/png")],
            &vec![0; MOST_BINARY + 1],
        );
        assert!(
            long["content"][0]["text"]
                .as_str()
                .unwrap()
                .contains("too long")
        );
    }

    #[test]
    fn an_error_says_its_status_or_exit_and_what_came_with_it() {
        let failed = result(404, &[("content-type", "text/plain")], b"no such city");
        assert_eq!(failed["isError"], true);
        assert_eq!(failed["content"][0]["text"], "HTTP status 404");
        assert_eq!(failed["content"][1]["text"], "no such city");
        let exited = result(500, &[("x-exit-code", "3")], b"");
        assert_eq!(exited["content"][0]["text"], "exit code 3");
        assert_eq!(exited["isError"], true);
        assert_eq!(result(200, &[("x-exit-code", "0")], b"a")["isError"], false);
        let moved = result(302, &[("location", "/b")], b"");
        assert_eq!(moved["isError"], false);
    }

    proptest! {
        #[test]
        fn any_answer_is_content(status in 100_u16..600, kind in ".{0,20}", body in proptest::collection::vec(any::<u8>(), 0..40), is_cut: bool) {
            let answer = Answer { status, fields: Fields::of(&[("content-type", &kind)]), body, is_cut };
            prop_assert!(!outcome(&answer, "agent://a/").into_result()["content"].as_array().unwrap().is_empty());
        }
    }
}
