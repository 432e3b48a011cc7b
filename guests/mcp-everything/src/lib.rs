//! A service that is a server of MCP itself: it has tools whose results are of every kind, some of which ask the client for something
//! or tell how far they are, resources, prompts and completions. What it has are the names of the protocol's conformance suite, which runs
//! against it behind the front.
//!
//! The front sends it one request of revision 2026-07-28 at a time and answers for the rest: versions, headers, older clients, what the
//! client can be asked for, and that the state which comes back is the one that was given.

mod ask;
mod kinds;
mod prompts;
mod resources;
mod tools;

use http_kit::{Error, json, read_body, respond, start, write};
use serde_json::{Value, json as value};
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, OutgoingBody, ResponseOutparam};

/// A request longer than this is not read.
const LONGEST_REQUEST: usize = 1024 * 1024;
/// Between two notifications, in nanoseconds.
const STEP: u64 = 50_000_000;

struct Everything;

wasip2::http::proxy::export!(Everything);

/// What comes of a request: what is said on the way, and its result.
pub struct Answer {
    on_the_way: Vec<Value>,
    result: Result<Value, Refusal>,
}

/// An error of JSON-RPC.
pub struct Refusal {
    code: i32,
    message: &'static str,
    data: Value,
}

impl From<Value> for Answer {
    fn from(result: Value) -> Self {
        Self {
            on_the_way: Vec::new(),
            result: Ok(result),
        }
    }
}

impl Refusal {
    /// That a parameter names nothing that there is.
    pub fn unknown(message: &'static str, data: Value) -> Self {
        Self {
            code: -32602,
            message,
            data,
        }
    }
}

impl Guest for Everything {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = handled(&request, out) {
            eprintln!("mcp-everything: {error}");
        }
    }
}

fn handled(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    if request.path_with_query().as_deref() != Some("/mcp") {
        return respond(
            out,
            404,
            &[("content-type", "text/plain")],
            b"ask at /mcp\n",
        );
    }
    let request = read_body(request, LONGEST_REQUEST)?;
    let request: Value = serde_json::from_slice(&request)?;
    let Answer { on_the_way, result } = answer(&request);
    let response = match result {
        Ok(result) => value!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(Refusal {
            code,
            message,
            data,
        }) => value!({
            "jsonrpc": "2.0", "id": request["id"],
            "error": {"code": code, "message": message, "data": data},
        }),
    };
    if on_the_way.is_empty() {
        return json(out, 200, &response);
    }
    let body = start(out, 200, &[("content-type", "text/event-stream")])?;
    let stream = body
        .write()
        .map_err(|()| Error::Taken("response's stream"))?;
    for notification in on_the_way {
        write(&stream, format!("data: {notification}\n\n").as_bytes())?;
        monotonic_clock::subscribe_duration(STEP).block();
    }
    write(&stream, format!("data: {response}\n\n").as_bytes())?;
    // The stream belongs to the body and goes first.
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(())
}

fn answer(request: &Value) -> Answer {
    let params = &request["params"];
    let result = match request["method"].as_str().unwrap_or_default() {
        "server/discover" => Ok(value!({
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "completions": {}, "logging": {}},
            "instructions": "Everything that MCP has, for tests.",
        })),
        "tools/list" => Ok(value!({"tools": tools::list()})),
        "tools/call" => return tools::call(params),
        "resources/list" => Ok(value!({"resources": resources::list()})),
        "resources/templates/list" => Ok(value!({"resourceTemplates": resources::templates()})),
        "resources/read" => resources::read(&params["uri"]),
        "prompts/list" => Ok(value!({"prompts": prompts::list()})),
        "prompts/get" => prompts::get(params),
        "completion/complete" => Ok(prompts::complete(params)),
        _ => Err(Refusal {
            code: -32601,
            message: "there is no such method",
            data: Value::Null,
        }),
    };
    Answer {
        on_the_way: Vec::new(),
        result,
    }
}
