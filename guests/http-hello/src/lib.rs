//! A service: answers each HTTP request through `wasi:http/incoming-handler`.
//!
//! Deployed under a name, it is reached at `/agents/NAME/…`:
//!
//! ```text
//! hypervisor-ctl check target/guests/http-hello.wasm
//! ```
//!
//! It says which method and path it was asked for. A service is a library (`crate-type = ["cdylib"]`)
//! that exports a handler; every request meets a fresh instance, unless its manifest (agent.toml) has `reuse`.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// `wasi:io` takes at most so many bytes in one blocking write.
const LARGEST_WRITE: usize = 4096;

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let method = request.method();
        let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let text = format!("hello from {} {path}\n", name(&method));

        if let Err(error) = respond(out, 200, text.as_bytes()) {
            eprintln!("http-hello: {error}");
        }
    }
}

/// Sends the head, then the body, then says that the body is complete.
fn respond(out: ResponseOutparam, status: u16, text: &[u8]) -> Result<(), String> {
    let headers = Fields::new();
    headers
        .append("content-type", b"text/plain; charset=utf-8")
        .map_err(|error| format!("content-type: {error}"))?;
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(status)
        .map_err(|()| format!("status {status} is not one"))?;
    let body = response
        .body()
        .map_err(|()| "the body was already taken".to_owned())?;
    ResponseOutparam::set(out, Ok(response));

    let stream = body
        .write()
        .map_err(|()| "the body's stream was already taken".to_owned())?;
    for piece in text.chunks(LARGEST_WRITE) {
        stream
            .blocking_write_and_flush(piece)
            .map_err(|error| format!("body: {error}"))?;
    }
    // The stream belongs to the body and goes first.
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|error: ErrorCode| format!("body: {error}"))
}

fn name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}
