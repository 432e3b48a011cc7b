//! Fuzz targets (`make fuzz`); as tests they read their seeds and a thousand inputs at random.

use bolero::check;
use front::fields::Fields;

use super::world::{Act, EVENTS, text};
use super::*;
use crate::ports::Step;

/// A body from whoever asks, by JSON-RPC and by HTTP with JSON.
#[test]
fn a2a_requests() {
    check!(name = "a2a_requests").for_each(|body: &[u8]| {
        for path in ["/a2a/a/", "/a2a/a/message:send", "/a2a/sold/"] {
            let host = Host::answering(|_, _| text("hello"));
            let got = ask(&host, &settings(&[]), ("POST", path), &RPC, body);
            assert!((200..600).contains(&got.status));
            match got.header("content-type") {
                Some("text/event-stream") => drop(got.events()),
                _ => assert!(got.body.is_empty() || got.json().is_object()),
            }
            // Whatever was asked, the next is answered.
            assert_eq!(
                state(&send(&host, message("next", "hi"))["task"]),
                "COMPLETED"
            );
        }
    });
}

/// What an agent answers, in events of its own and as a document.
#[test]
fn a2a_answers() {
    check!(name = "a2a_answers").for_each(|body: &[u8]| {
        for headers in [&EVENTS[..], &[("content-type", "application/json")]] {
            let (body, fields) = (body.to_vec(), Fields::of(headers));
            let host = Host::answering(move |_, _| {
                let head = Act::Give(Step::Head(200, fields.clone()));
                Ok(vec![head, Act::Give(Step::Piece(body.clone()))])
            });
            let answer = send(&host, message("m", "hi"));
            assert!(answer["task"].is_object() != answer["message"].is_object());
        }
    });
}
