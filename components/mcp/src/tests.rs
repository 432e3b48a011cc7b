//! The front as a whole, against a world of the tests' own.

mod agents;
mod fuzz;
mod http;
mod kit;
mod running;
mod servers;

use serde_json::{Value, json};

use crate::settings::Settings;
use crate::transport::serve;
use front::fields::Fields;
use front::http::{Body, Incoming, Outgoing};
use front::world::World;
pub use kit::Desk;

/// Settings of an operator who sets nothing.
fn settings() -> Settings {
    Settings::read(|_| None).unwrap()
}

/// A POST from the same machine.
fn post(world: &World, headers: &[(&str, &str)], body: &[u8]) -> Outgoing {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let incoming = Incoming {
        method: "POST".to_owned(),
        target: "/mcp".to_owned(),
        host: Some("127.0.0.1:8080".to_owned()),
        fields: Fields::of(&all),
        body: Body::Whole(body.to_vec()),
    };
    serve(&Desk::of(world), Ok(&settings()), incoming).unwrap()
}

fn parsed(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).unwrap()
}

/// A request in the revision of 2026-07-28, and what came of it.
fn ask(world: &World, method: &str, params: Value) -> (u16, Value) {
    let mut params = params;
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", &name),
        ("accept", "application/json, text/event-stream"),
    ];
    let outgoing = post(world, &headers, body.to_string().as_bytes());
    (outgoing.status, parsed(&outgoing))
}

/// The result of a tool.
fn call(world: &World, name: &str, arguments: Value) -> Value {
    let (status, answer) = ask(
        world,
        "tools/call",
        json!({"name": name, "arguments": arguments}),
    );
    assert_eq!(status, 200, "{answer}");
    answer["result"].clone()
}
