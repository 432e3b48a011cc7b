//! HTTP by `wasi:http/outgoing-handler`, with one deadline for the whole exchange.

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::poll::{self, Pollable};
use crate::bindings::wasi::io::streams::StreamError;
use crate::ports::{Answer, Http, HttpError};
use crate::settings::Url;

const MILLISECOND: u64 = 1_000_000;
/// As much as is read at once.
const PIECE: u64 = 16 * 1024;

/// The host's HTTP client. It reaches only what the operator lists.
pub struct WasiHttp;

impl Http for WasiHttp {
    fn post(
        &self,
        url: &str,
        body: &[u8],
        timeout_ms: u64,
        limit: usize,
    ) -> Result<Answer, HttpError> {
        let timeout = timeout_ms.saturating_mul(MILLISECOND);
        let deadline = Deadline(monotonic_clock::subscribe_duration(timeout));
        let request = request(url, body.len())?;
        let outgoing = request.body().map_err(|()| unprepared("body"))?;
        let options = RequestOptions::new();
        // Only a hint to the host: the deadline below is what holds.
        let _ = options.set_connect_timeout(Some(timeout));
        let _ = options.set_first_byte_timeout(Some(timeout));
        let _ = options.set_between_bytes_timeout(Some(timeout));

        let response = outgoing_handler::handle(request, Some(options)).map_err(classify)?;
        if write(outgoing, body, &deadline).is_err() && deadline.passed() {
            return Err(timed_out());
        }
        // Where writing failed in time, the response knows why: the connection failed, or the server answered early.
        read(&wait(&response, &deadline)?, &deadline, limit)
    }
}

/// The instant at which the exchange has taken too long.
struct Deadline(Pollable);

impl Deadline {
    fn passed(&self) -> bool {
        self.0.ready()
    }

    /// Waits for `ready`. An error if the deadline comes first.
    fn wait(&self, ready: &Pollable) -> Result<(), HttpError> {
        poll::poll(&[ready, &self.0]);
        if ready.ready() {
            return Ok(());
        }
        Err(timed_out())
    }
}

fn request(url: &str, length: usize) -> Result<OutgoingRequest, HttpError> {
    let url = Url::parse(url).ok_or_else(|| unprepared("url"))?;
    let headers = Fields::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("content-length", &length.to_string()),
    ] {
        headers
            .append(name, value.as_bytes())
            .map_err(|_| unprepared(name))?;
    }
    let scheme = if url.secure {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let request = OutgoingRequest::new(headers);
    request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(url.authority)))
        .and_then(|()| request.set_path_with_query(Some(url.path)))
        .map_err(|()| unprepared("url"))?;
    Ok(request)
}

fn write(outgoing: OutgoingBody, body: &[u8], deadline: &Deadline) -> Result<(), HttpError> {
    let broken = |_: StreamError| HttpError::Broken("the request's body was cut off".to_owned());
    let stream = outgoing.write().map_err(|()| unprepared("body"))?;
    let ready = stream.subscribe();
    let mut rest = body;
    while !rest.is_empty() {
        deadline.wait(&ready)?;
        let room = usize::try_from(stream.check_write().map_err(broken)?).unwrap_or(usize::MAX);
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        stream.write(piece).map_err(broken)?;
        rest = behind;
    }
    stream.flush().map_err(broken)?;
    deadline.wait(&ready)?;
    stream.check_write().map_err(broken)?;
    // The stream belongs to the body, and the pollable to the stream.
    drop(ready);
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(classify)
}

fn wait(
    response: &FutureIncomingResponse,
    deadline: &Deadline,
) -> Result<IncomingResponse, HttpError> {
    let ready = response.subscribe();
    deadline.wait(&ready)?;
    match response.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(error))) => Err(classify(error)),
        Some(Err(())) | None => Err(HttpError::Broken("the response was lost".to_owned())),
    }
}

fn read(
    response: &IncomingResponse,
    deadline: &Deadline,
    limit: usize,
) -> Result<Answer, HttpError> {
    let cut_off = || HttpError::Broken("the answer was cut off".to_owned());
    let status = response.status();
    let incoming: IncomingBody = response.consume().map_err(|()| cut_off())?;
    let stream = incoming.stream().map_err(|()| cut_off())?;
    let ready = stream.subscribe();
    let mut body = Vec::new();
    loop {
        match stream.read(PIECE) {
            Ok(piece) if piece.is_empty() => deadline.wait(&ready)?,
            Ok(piece) => body.extend(piece),
            Err(StreamError::Closed) => return Ok(Answer { status, body }),
            Err(StreamError::LastOperationFailed(_)) => return Err(cut_off()),
        }
        if body.len() > limit {
            return Err(HttpError::Broken(format!(
                "the answer is longer than {limit} bytes"
            )));
        }
        // A peer that sends byte by byte is always ready.
        if deadline.passed() {
            return Err(timed_out());
        }
    }
}

fn timed_out() -> HttpError {
    HttpError::Broken("no answer in time".to_owned())
}

/// Nothing was sent yet.
fn unprepared(part: &str) -> HttpError {
    HttpError::NotSent(format!("the request cannot be made: {part}"))
}

/// Which errors leave no doubt that nothing was sent: there was no connection to send on, or no leave to open one.
fn classify(error: ErrorCode) -> HttpError {
    let certain = match error {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            "the host's name is not known"
        }
        ErrorCode::ConnectionRefused => "the connection was refused",
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            "the operator does not allow requests to this host"
        }
        ErrorCode::HttpRequestUriInvalid => "the URL is not valid",
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => return timed_out(),
        // Its text is not passed on: it may hold a URL.
        _ => return HttpError::Broken("the connection failed".to_owned()),
    };
    HttpError::NotSent(certain.to_owned())
}
