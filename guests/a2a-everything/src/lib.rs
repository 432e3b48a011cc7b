//! A service that speaks A2A by itself: it answers with the protocol's events, and the front writes the ids.
//!
//! What it does follows from how the `messageId` begins, which the front passes on as `a2a-message-id`. These are the scenarios of the
//! protocol's test suite, the TCK; any other message is completed with a greeting.

use http_kit::{Error, header, start, write};
use serde_json::{Value, json};
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

/// How long the task takes that others are to find under way.
const LONG_NS: u64 = 4_000_000_000;
const HEADERS: [(&str, &str); 2] = [("content-type", "text/event-stream"), ("a2a-events", "1.0")];

struct Everything;

wasip2::http::proxy::export!(Everything);

impl Guest for Everything {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let id = header(&request.headers(), "a2a-message-id").unwrap_or_default();
        if let Err(error) = answer(out, &scenario(&id)) {
            eprintln!("a2a-everything: {error}");
        }
    }
}

/// What happens one after the other.
enum Act {
    /// The agent says something.
    Say(Value),
    /// It takes its time.
    Work,
}

fn answer(out: ResponseOutparam, acts: &[Act]) -> Result<(), Error> {
    let body = start(out, 200, &HEADERS)?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    for act in acts {
        match act {
            Act::Say(event) => write(&stream, format!("data: {event}\n\n").as_bytes())?,
            Act::Work => monotonic_clock::subscribe_duration(LONG_NS).block(),
        }
    }
    // The stream belongs to the body and goes first.
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(())
}

/// The scenario of a message. Of two that begin alike the longer stands first.
fn scenario(id: &str) -> Vec<Act> {
    let file = json!({"raw": "aGVsbG8=", "filename": "output.txt", "mediaType": "text/plain"});
    let url = json!({
        "url": "https://example.com/output.txt", "filename": "output.txt", "mediaType": "text/plain",
    });
    let streamed = |part| vec![state("WORKING"), artifact(part), state("COMPLETED")];
    let made = |part| vec![artifact(part), state("COMPLETED")];
    let is = |prefix: &str| id.starts_with(prefix);
    if is("tck-artifact-file-url") {
        made(url)
    } else if is("tck-artifact-file") {
        made(file)
    } else if is("tck-artifact-text") {
        made(json!({"text": "Generated text content"}))
    } else if is("tck-artifact-data") {
        made(json!({"data": {"key": "value", "count": 42}}))
    } else if is("tck-message-response") {
        let parts = json!([{"text": "Direct message response"}]);
        vec![Act::Say(json!({"message": {"parts": parts}}))]
    } else if is("tck-input-required") {
        vec![state("INPUT_REQUIRED")]
    } else if is("tck-reject-task") {
        vec![said("REJECTED", "rejected")]
    } else if is("tck-stream-001") {
        streamed(json!({"text": "Stream hello from TCK"}))
    } else if is("tck-stream-002") {
        vec![state("COMPLETED")]
    } else if is("tck-stream-003") {
        streamed(json!({"text": "Stream task lifecycle"}))
    } else if is("tck-stream-ordering-001") {
        streamed(json!({"text": "Ordered output"}))
    } else if is("tck-stream-artifact-text") {
        streamed(json!({"text": "Streamed text content"}))
    } else if is("tck-stream-artifact-file") {
        streamed(file)
    } else if is("tck-stream-artifact-chunked") {
        vec![
            state("WORKING"),
            chunk("chunk-1 ", false),
            chunk("chunk-2", true),
            state("COMPLETED"),
        ]
    } else if is("test-resubscribe-message-id") || is("tck-test-resubscribe") {
        vec![state("WORKING"), Act::Work, state("COMPLETED")]
    } else {
        vec![said("COMPLETED", "Hello from TCK")]
    }
}

fn state(state: &str) -> Act {
    let state = format!("TASK_STATE_{state}");
    Act::Say(json!({"statusUpdate": {"status": {"state": state}}}))
}

fn said(state: &str, text: &str) -> Act {
    let state = format!("TASK_STATE_{state}");
    let message = json!({"parts": [{"text": text}]});
    Act::Say(json!({"statusUpdate": {"status": {"state": state, "message": message}}}))
}

fn artifact(part: Value) -> Act {
    Act::Say(json!({"artifactUpdate": {"artifact": {"parts": [part]}, "lastChunk": true}}))
}

/// Of two chunks of one artifact the first or the last.
fn chunk(text: &str, is_last: bool) -> Act {
    let artifact = json!({"artifactId": "chunked", "parts": [{"text": text}]});
    Act::Say(json!({
        "artifactUpdate": {"artifact": artifact, "append": is_last, "lastChunk": is_last},
    }))
}
