//! A service that streams: sends every body back as it comes, piece by piece, and the trailers behind it.
//!
//! ```text
//! curl --data-binary @picture.png http://HOST/agents/http-echo/
//! curl http://HOST/agents/http-echo/info
//! ```
//!
//! It never holds more than one piece, so a body may be as long as the host allows, and the answer begins before the
//! request ends. `/info` says in JSON what the request looked like from in here.

use http_kit::{Error, Pipe, Target, header, header_pairs, json, method_name, start};
use serde::Serialize;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam, Scheme};

struct Echo;

wasip2::http::proxy::export!(Echo);

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let result = match Target::of(&request).path() {
            "/info" => json(out, 200, &Info::of(&request)),
            _ => echo(&request, out),
        };
        if let Err(error) = result {
            eprintln!("http-echo: {error}");
        }
    }
}

/// What a request looks like.
#[derive(Serialize)]
struct Info {
    method: String,
    path_with_query: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    headers: Vec<(String, String)>,
}

impl Info {
    fn of(request: &IncomingRequest) -> Self {
        Self {
            method: method_name(&request.method()).to_owned(),
            path_with_query: request.path_with_query(),
            scheme: request.scheme().map(|scheme| match scheme {
                Scheme::Http => "http".to_owned(),
                Scheme::Https => "https".to_owned(),
                Scheme::Other(name) => name,
            }),
            authority: request.authority(),
            headers: header_pairs(&request.headers()),
        }
    }
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let given = request.headers();
    let content_type = header(&given, "content-type");
    let mut headers = vec![(
        "content-type",
        content_type
            .as_deref()
            .unwrap_or("application/octet-stream"),
    )];
    // HTTP/1.1 has trailers only where they are announced.
    let announced = header(&given, "trailer");
    if let Some(names) = &announced {
        headers.push(("trailer", names));
    }

    let from = request
        .consume()
        .map_err(|()| Error::Taken("request's body"))?;
    let to = start(out, 200, &headers)?;
    Pipe::new(from, to)?.run()
}
