//! Requests of its own: passes a request on to another URL and streams the answer back.
//!
//! ```text
//! curl 'http://HOST/agents/chain/?url=http%3A%2F%2Fhttp-hello.agent.internal%2F'
//! ```
//!
//! `http://NAME.agent.internal/` is another agent of the same host. Where a request may go is up to the manifest
//! (`outgoing` in agent.toml) and to the operator; one that fails is answered with the name of its `wasi:http` error.
//!
//! Method and body are passed on; both bodies move at the same time, because the other side may answer while it still
//! reads.

use http_kit::{Error, Pipe, Step, Target, Url, answer, error_name, header, json, prepare, start};
use serde_json::json;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, IncomingResponse, Method, ResponseOutparam};
use wasip2::io::poll::{self, Pollable};

struct Chain;

wasip2::http::proxy::export!(Chain);

impl Guest for Chain {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = pass_on(&request, out) {
            eprintln!("chain: {error}");
        }
    }
}

fn pass_on(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let Some(text) = Target::of(request).parameter("url") else {
        return json(out, 400, &json!({ "error": "no url in the query" }));
    };
    let Some(url) = Url::parse(&text) else {
        return json(
            out,
            400,
            &json!({ "error": "not an absolute http or https URL" }),
        );
    };
    let mut upload = Upload(None);
    match send(request, &url, &mut upload) {
        Ok(response) => send_back(&response, &mut upload, out),
        Err(error @ Error::Invalid(_)) => json(out, 400, &json!({ "error": error.to_string() })),
        Err(Error::Http(code)) => json(out, 502, &json!({ "error": error_name(&code) })),
        Err(error) => json(out, 500, &json!({ "error": error.to_string() })),
    }
}

/// Sends the request, and its body until an answer begins.
fn send(
    request: &IncomingRequest,
    url: &Url,
    upload: &mut Upload,
) -> Result<IncomingResponse, Error> {
    let method = request.method();
    let kept = keep(
        &request.headers(),
        &["content-type", "content-length", "te", "trailer"],
    );
    let passed = prepare(&method, url, &kept)?;
    // A request without a body must not look like one whose body is empty.
    let bodies = if matches!(method, Method::Get | Method::Head) {
        None
    } else {
        let from = request
            .consume()
            .map_err(|()| Error::Taken("request's body"))?;
        let to = passed
            .body()
            .map_err(|()| Error::Taken("passed request's body"))?;
        Some((from, to))
    };
    let coming = outgoing_handler::handle(passed, None)?;
    if let Some((from, to)) = bodies {
        upload.0 = Some(Pipe::new(from, to)?);
    }
    upload.go_on_until(&coming.subscribe());
    answer(&coming)
}

/// Streams the answer back, while the rest of the request may still be on its way.
fn send_back(
    response: &IncomingResponse,
    upload: &mut Upload,
    out: ResponseOutparam,
) -> Result<(), Error> {
    let kept = keep(&response.headers(), &["content-type", "trailer"]);
    let from = response
        .consume()
        .map_err(|()| Error::Taken("response's body"))?;
    let mut download = Pipe::new(from, start(out, response.status(), &kept)?)?;
    while let Step::Wait(ready) = download.step()? {
        upload.go_on_until(&ready);
    }
    download.finish()
}

/// Those of the named header fields that there are.
fn keep(fields: &Fields, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names
        .iter()
        .filter_map(|name| Some((*name, header(fields, name)?)))
        .collect()
}

/// The request's body, as long as there is more of it to pass on.
struct Upload(Option<Pipe>);

impl Upload {
    /// Passes on what there is until `ready`.
    fn go_on_until(&mut self, ready: &Pollable) {
        loop {
            match self.step() {
                Some(movable) => drop(poll::poll(&[ready, &movable])),
                None => ready.block(),
            }
            if ready.ready() {
                return;
            }
        }
    }

    /// What to wait for before there is more to pass on; none where there will be no more.
    fn step(&mut self) -> Option<Pollable> {
        let mut pipe = self.0.take()?;
        match pipe.step() {
            Ok(Step::Wait(movable)) => {
                self.0 = Some(pipe);
                return Some(movable);
            }
            Ok(Step::Done) => {
                if let Err(error) = pipe.finish() {
                    eprintln!("chain: {error}");
                }
            }
            // The other side may answer without reading it all: what it says counts.
            Err(error) => eprintln!("chain: {error}"),
        }
        None
    }
}
