//! What the agent does for a message, by the beginning of its id. Most names are those of the protocol's conformance suite.

use std::iter;
use std::time::Duration;

use serde_json::{Value, json};

/// A long run takes this: twice as long as the conformance suite waits for an event.
const LONG: Duration = Duration::from_secs(4);
/// Between two ticks.
const TICK: Duration = Duration::from_millis(100);
const TICKS: usize = 20;

/// A step of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Sends this StreamResponse.
    Say(Value),
    /// Does nothing for so long.
    Wait(Duration),
}

use Step::{Say, Wait};

/// The steps of an answer, which may go on for ever.
pub type Steps = Box<dyn Iterator<Item = Step>>;

/// The answer to the message of this id, which says `text`.
pub fn answer(message_id: &str, text: &str) -> Steps {
    let is = |prefix: &str| message_id.starts_with(prefix);
    // A longer name goes before one that it begins with.
    if is("tck-artifact-text") {
        makes(json!({"text": "Generated text content"}))
    } else if is("tck-artifact-file-url") {
        makes(json!({
            "url": "https://example.com/output.txt", "filename": "output.txt", "mediaType": "text/plain",
        }))
    } else if is("tck-artifact-file") {
        makes(file())
    } else if is("tck-artifact-data") {
        makes(json!({"data": {"key": "value", "count": 42}}))
    } else if is("tck-message-response") {
        says(json!({"message": message("Direct message response")}))
    } else if is("tck-input-required") {
        says(status("INPUT_REQUIRED", Some("What else?")))
    } else if is("tck-reject-task") {
        says(status("REJECTED", Some("rejected")))
    } else if is("tck-stream-001") {
        works([artifact(json!({"text": "Stream hello from TCK"}))])
    } else if is("tck-stream-002") {
        says(status("COMPLETED", None))
    } else if is("tck-stream-003") {
        works([artifact(json!({"text": "Stream task lifecycle"}))])
    } else if is("tck-stream-ordering-001") {
        works([artifact(json!({"text": "Ordered output"}))])
    } else if is("tck-stream-artifact-text") {
        works([artifact(json!({"text": "Streamed text content"}))])
    } else if is("tck-stream-artifact-file") {
        works([artifact(file())])
    } else if is("tck-stream-artifact-chunked") {
        works([
            chunk("chunk-1 ", false, false),
            chunk("chunk-2", true, true),
        ])
    } else if is("test-resubscribe-message-id") {
        works([Wait(LONG)])
    } else if is("ticks") {
        // Each is a piece and a pause.
        works(ticks().take(2 * TICKS))
    } else if is("endless") {
        works(ticks())
    } else if is("tck-complete-task") {
        says(status("COMPLETED", Some("Hello from TCK")))
    } else {
        says(status("COMPLETED", Some(text)))
    }
}

fn says(event: Value) -> Steps {
    Box::new(iter::once(Say(event)))
}

fn makes(part: Value) -> Steps {
    Box::new([artifact(part), Say(status("COMPLETED", None))].into_iter())
}

fn works(steps: impl IntoIterator<Item = Step, IntoIter: 'static>) -> Steps {
    let working = iter::once(Say(status("WORKING", None)));
    let completed = iter::once(Say(status("COMPLETED", None)));
    Box::new(working.chain(steps).chain(completed))
}

/// Pieces of one artifact, the numbers from 1, and a pause after each.
fn ticks() -> impl Iterator<Item = Step> {
    (1..=u32::MAX).flat_map(|at| [chunk(&format!("{at} "), at > 1, false), Wait(TICK)])
}

fn status(state: &str, text: Option<&str>) -> Value {
    let mut status = json!({"state": format!("TASK_STATE_{state}")});
    if let Some(text) = text {
        status["message"] = message(text);
    }
    json!({"statusUpdate": {"status": status}})
}

fn message(text: &str) -> Value {
    json!({"parts": [{"text": text}]})
}

fn artifact(part: Value) -> Step {
    Say(json!({"artifactUpdate": {"artifact": {"parts": [part]}, "lastChunk": true}}))
}

/// A piece of the one artifact that comes in pieces.
fn chunk(text: &str, append: bool, last: bool) -> Step {
    Say(json!({"artifactUpdate": {
        "artifact": {"artifactId": "chunks", "parts": [{"text": text}]}, "append": append, "lastChunk": last,
    }}))
}

/// "output" and a line's end, in base64.
fn file() -> Value {
    json!({"raw": "b3V0cHV0Cg==", "filename": "output.txt", "mediaType": "text/plain"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message_id: &str) -> Vec<Value> {
        let said = answer(message_id, "hi").take(50);
        said.filter_map(|step| match step {
            Say(event) => Some(event),
            Wait(_) => None,
        })
        .collect()
    }

    #[test]
    fn a_file_by_its_url_is_no_file_in_the_answer() {
        let part = |id| said(id)[0]["artifactUpdate"]["artifact"]["parts"][0].clone();
        assert_eq!(part("tck-artifact-file-url-1")["raw"], Value::Null);
        assert_eq!(part("tck-artifact-file-1")["url"], Value::Null);
    }

    #[test]
    fn the_first_of_several_pieces_appends_to_nothing() {
        for id in ["tck-stream-artifact-chunked-1", "ticks-1", "endless-1"] {
            let said = said(id);
            let appends: Vec<bool> = said
                .iter()
                .filter_map(|event| event.get("artifactUpdate"))
                .map(|update| update["append"] == true)
                .collect();
            assert_eq!(appends.iter().position(|it| *it), Some(1), "{id}");
            assert!(appends[1..].iter().all(|it| *it), "{id}");
        }
    }

    #[test]
    fn what_has_an_end_ends_with_a_state() {
        for id in ["tck-stream-001", "tck-artifact-text", "ticks", "m"] {
            let said = said(id);
            let status = &said.last().unwrap()["statusUpdate"]["status"];
            assert_eq!(status["state"], "TASK_STATE_COMPLETED", "{id}");
        }
    }

    #[test]
    fn a_message_of_another_id_is_said_again() {
        let said = said("m-1");
        let text = &said[0]["statusUpdate"]["status"]["message"]["parts"][0]["text"];
        assert_eq!(text, "hi");
    }
}
