//! Fuzz targets (`make fuzz`); as tests they read their seeds and a thousand inputs at random.

use bolero::check;

use super::http::nobody;
use super::servers::answered;
use super::*;

/// A body from whoever asks, in both revisions.
#[test]
fn mcp_requests() {
    check!(name = "mcp_requests").for_each(|body: &[u8]| {
        let modern = [
            ("mcp-protocol-version", "2026-07-28"),
            ("accept", "application/json, text/event-stream"),
        ];
        for headers in [&[][..], &modern] {
            let outgoing = post(&nobody(), headers, body);
            assert!(outgoing.body.is_empty() || parsed(&outgoing).is_object());
        }
    });
}

/// What an agent that is a server answers.
#[test]
fn mcp_answers() {
    check!(name = "mcp_answers").for_each(|body: &[u8]| {
        for kind in ["text/event-stream", "application/json"] {
            for method in ["tools/list", "tools/call", "server/discover"] {
                let answer = answered(kind, body, method);
                assert!(answer["result"].is_object() != answer["error"].is_object());
            }
        }
    });
}
