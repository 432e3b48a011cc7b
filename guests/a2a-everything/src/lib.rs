//! A service that speaks A2A itself: it answers a message with events, so that a task is rejected, asks for input, has several
//! artifacts, or comes piece by piece. What it does follows from the beginning of the message's id: see `script.rs`.
//!
//! The front takes such a stream where its head has `a2a-events: 1.0`; each event is a StreamResponse without the ids, which the
//! front writes. The protocol's conformance suite runs against this agent.

mod script;

use http_kit::{Error, header, read_body, start, write};
use script::Step;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

/// A message longer than this is not read.
const LONGEST_MESSAGE: usize = 1024 * 1024;

struct Everything;

wasip2::http::proxy::export!(Everything);

impl Guest for Everything {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = answer(&request, out) {
            eprintln!("a2a-everything: {error}");
        }
    }
}

fn answer(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let message_id = header(&request.headers(), "a2a-message-id").unwrap_or_default();
    let text = read_body(request, LONGEST_MESSAGE)?;
    let text = String::from_utf8_lossy(&text);

    let headers = [("content-type", "text/event-stream"), ("a2a-events", "1.0")];
    let body = start(out, 200, &headers)?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    for step in script::answer(&message_id, &text) {
        match step {
            Step::Say(event) => write(&stream, format!("data: {event}\n\n").as_bytes())?,
            Step::Wait(time) => {
                let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                monotonic_clock::subscribe_duration(nanoseconds).block();
            }
        }
    }
    // The stream belongs to the body and goes first.
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(())
}
