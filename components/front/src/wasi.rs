//! The world by `wasi:http`, with one deadline for all that a request does.

use std::cell::{Cell, RefCell};

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields as WasiFields, FutureIncomingResponse, IncomingBody, IncomingRequest,
    IncomingResponse, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::error::WebError;
use crate::fields::Fields;
use crate::http::{Body, Incoming, LONGEST_BODY, Outgoing};
use crate::ports::{Answer, Asked, Client, Piece, Ports, Streams};

const MILLISECOND: u64 = 1_000_000;
/// As much as is read at once.
const PIECE: u64 = 64 * 1024;
/// As much is set aside for a body before any of it has come: most are short, and an instance that grows costs more than one that copies.
const FIRST_ROOM: usize = 8 * 1024;

/// The host's HTTP, until an instant.
pub struct Wasi {
    deadline: u64,
}

impl Wasi {
    /// The world for so long from now.
    pub fn within(milliseconds: u64) -> Self {
        let time = milliseconds.saturating_mul(MILLISECOND);
        Self {
            deadline: monotonic_clock::now().saturating_add(time),
        }
    }

    /// Waits for `ready`. An error where the time is up first.
    fn wait(&self, ready: &Pollable) -> Result<(), WebError> {
        let deadline = monotonic_clock::subscribe_instant(self.deadline);
        poll::poll(&[ready, &deadline]);
        match ready.ready() {
            true => Ok(()),
            false => Err(WebError::Timeout),
        }
    }

    fn in_time(&self) -> Result<(), WebError> {
        match monotonic_clock::now() < self.deadline {
            true => Ok(()),
            false => Err(WebError::Timeout),
        }
    }

    fn write(&self, stream: &OutputStream, body: &[u8]) -> Result<(), WebError> {
        let broken = |_: StreamError| WebError::Broken;
        let ready = stream.subscribe();
        let mut rest = body;
        while !rest.is_empty() {
            self.wait(&ready)?;
            let room = stream.check_write().map_err(broken)?;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            stream.write(piece).map_err(broken)?;
            rest = behind;
        }
        stream.flush().map_err(broken)?;
        self.wait(&ready)?;
        stream.check_write().map_err(broken)?;
        Ok(())
    }

    /// Waits for `ready`, and sends on what is on its way meanwhile: the other side may answer while it still reads.
    fn wait_sending(
        &self,
        ready: &Pollable,
        sending: &mut Sending<impl AsRef<[u8]>>,
    ) -> Result<(), WebError> {
        loop {
            let movable = sending.step();
            let deadline = monotonic_clock::subscribe_instant(self.deadline);
            let mut all = vec![ready, &deadline];
            all.extend(&movable);
            poll::poll(&all);
            if ready.ready() {
                return Ok(());
            }
            self.in_time()?;
        }
    }

    fn response(
        &self,
        coming: &FutureIncomingResponse,
        sending: &mut Sending<impl AsRef<[u8]>>,
    ) -> Result<IncomingResponse, WebError> {
        self.wait_sending(&coming.subscribe(), sending)?;
        match coming.get() {
            Some(Ok(Ok(response))) => Ok(response),
            Some(Ok(Err(error))) => Err(classify(&error)),
            Some(Err(())) | None => Err(WebError::Broken),
        }
    }

    /// The first `limit` bytes of a body, and whether there were more.
    fn read(
        &self,
        body: &IncomingBody,
        limit: usize,
        sending: &mut Sending<impl AsRef<[u8]>>,
    ) -> Result<(Vec<u8>, bool), WebError> {
        let mut read = Vec::with_capacity(limit.min(FIRST_ROOM));
        self.pieces(body, sending, |piece| {
            read.extend(piece);
            read.len() <= limit
        })?;
        let is_cut = read.len() > limit;
        read.truncate(limit);
        Ok((read, is_cut))
    }

    /// Gives a body as it comes, until `each` says that no more is wanted.
    fn pieces(
        &self,
        body: &IncomingBody,
        sending: &mut Sending<impl AsRef<[u8]>>,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), WebError> {
        let stream: InputStream = body.stream().map_err(|()| WebError::Broken)?;
        let ready = stream.subscribe();
        loop {
            match stream.read(PIECE) {
                Ok(piece) if piece.is_empty() => self.wait_sending(&ready, sending)?,
                Ok(piece) if each(&piece) => {}
                Ok(_) | Err(StreamError::Closed) => return Ok(()),
                Err(StreamError::LastOperationFailed(_)) => return Err(WebError::Broken),
            }
            // Who sends byte by byte is always ready.
            self.in_time()?;
        }
    }

    /// Sends a request and waits for the head of what comes of it.
    fn exchange<'a>(&self, asked: &'a Asked) -> Result<Exchange<'a>, WebError> {
        self.in_time()?;
        let request = prepared(asked)?;
        let body = match &asked.body {
            Some(bytes) => Some((request.body().map_err(|()| WebError::Invalid)?, &**bytes)),
            None => None,
        };
        let coming = outgoing_handler::handle(request, None).map_err(|error| classify(&error))?;
        let mut sending = Sending::new(body)?;
        let response = self.response(&coming, &mut sending)?;
        Ok(Exchange {
            status: response.status(),
            fields: Fields::new(response.headers().entries()),
            sending,
            body: response.consume().map_err(|()| WebError::Broken)?,
            _response: response,
            _coming: coming,
        })
    }
}

/// A request whose answer has begun.
struct Exchange<'a> {
    status: u16,
    fields: Fields,
    sending: Sending<&'a [u8]>,
    // Each belongs to the one behind it: fields drop in this order.
    body: IncomingBody,
    _response: IncomingResponse,
    _coming: FutureIncomingResponse,
}

impl Streams for Wasi {
    fn stream(
        &self,
        asked: &Asked,
        each: &mut dyn FnMut(Piece<'_>) -> bool,
    ) -> Result<(), WebError> {
        let mut begun = self.exchange(asked)?;
        if !each(Piece::Head(begun.status, &begun.fields)) {
            return Ok(());
        }
        let (mut left, mut is_cut) = (asked.limit, false);
        self.pieces(&begun.body, &mut begun.sending, |piece| {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => is_cut = true,
            }
            !is_cut && each(Piece::Body(piece))
        })?;
        match is_cut {
            true => Err(WebError::Broken),
            false => Ok(()),
        }
    }
}

impl Ports for Wasi {
    fn send(&self, asked: &Asked) -> Result<Answer, WebError> {
        let mut begun = self.exchange(asked)?;
        let (body, is_cut) = self.read(&begun.body, asked.limit, &mut begun.sending)?;
        Ok(Answer {
            status: begun.status,
            fields: std::mem::take(&mut begun.fields),
            body,
            is_cut,
        })
    }

    fn pause(&self, milliseconds: u64) -> bool {
        let time = milliseconds.saturating_mul(MILLISECOND);
        let until = monotonic_clock::now().saturating_add(time);
        if until >= self.deadline {
            return false;
        }
        monotonic_clock::subscribe_instant(until).block();
        true
    }
}

/// The body of a request, as long as there is more of it to send.
pub struct Sending<B>(Option<Upload<B>>);

struct Upload<B> {
    // The stream belongs to the body and goes first: fields drop in this order.
    stream: OutputStream,
    body: OutgoingBody,
    bytes: B,
    sent: usize,
    is_flushed: bool,
}

impl<B: AsRef<[u8]>> Sending<B> {
    /// The body of a request with what is to be sent in it; none where the request has none.
    pub fn new(body: Option<(OutgoingBody, B)>) -> Result<Self, WebError> {
        let Some((body, bytes)) = body else {
            return Ok(Self(None));
        };
        let stream = body.write().map_err(|()| WebError::Invalid)?;
        Ok(Self(Some(Upload {
            stream,
            body,
            bytes,
            sent: 0,
            is_flushed: false,
        })))
    }

    /// Sends what can be sent without waiting. What to wait for before there is more; none where there will be no more.
    pub fn step(&mut self) -> Option<Pollable> {
        let mut upload = self.0.take()?;
        match upload.go_on() {
            Ok(false) => {
                let ready = upload.stream.subscribe();
                self.0 = Some(upload);
                return Some(ready);
            }
            Ok(true) => {
                let Upload { stream, body, .. } = upload;
                drop(stream);
                let _ = OutgoingBody::finish(body, None);
            }
            // Who answers before it has read it all says why.
            Err(_) => {}
        }
        None
    }
}

impl<B: AsRef<[u8]>> Upload<B> {
    /// Whether all of it is sent.
    fn go_on(&mut self) -> Result<bool, StreamError> {
        loop {
            let room = usize::try_from(self.stream.check_write()?).unwrap_or(usize::MAX);
            if room == 0 {
                return Ok(false);
            }
            let rest = self.bytes.as_ref().get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                if self.is_flushed {
                    return Ok(true);
                }
                self.stream.flush()?;
                self.is_flushed = true;
                continue;
            }
            let piece = rest.get(..room.min(rest.len())).unwrap_or_default();
            self.stream.write(piece)?;
            self.sent = self.sent.saturating_add(piece.len());
        }
    }
}

/// A request as WASI has it, with the length of its body.
pub fn prepared(asked: &Asked) -> Result<OutgoingRequest, WebError> {
    let headers = WasiFields::new();
    let length = asked
        .body
        .as_ref()
        .map(|body| ("content-length", body.len().to_string()));
    for (name, value) in asked.headers.iter().chain(&length) {
        let appended = headers.append(name, value.as_bytes());
        appended.map_err(|_| WebError::Invalid)?;
    }
    let request = OutgoingRequest::new(headers);
    request
        .set_method(&method(&asked.method))
        .and_then(|()| request.set_scheme(Some(&Scheme::Http)))
        .and_then(|()| request.set_authority(Some(&asked.authority)))
        .and_then(|()| request.set_path_with_query(Some(&asked.target)))
        .map_err(|()| WebError::Invalid)?;
    Ok(request)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => Method::Other(name.to_owned()),
    }
}

/// An error of WASI.
pub fn classify(error: &ErrorCode) -> WebError {
    match error {
        ErrorCode::DestinationNotFound => WebError::NotFound,
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => WebError::Denied,
        ErrorCode::ConnectionLimitReached => WebError::Busy,
        ErrorCode::LoopDetected => WebError::Loop,
        ErrorCode::HttpRequestUriInvalid => WebError::Invalid,
        ErrorCode::HttpResponseTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout => WebError::Timeout,
        _ => WebError::Broken,
    }
}

/// What a client sent, as far as it is read.
pub fn incoming(world: &Wasi, request: &IncomingRequest) -> Incoming {
    let fields = Fields::new(request.headers().entries());
    let method = match request.method() {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        // None of the others is taken.
        _ => "",
    };
    let host = fields.first("host").map(str::to_owned);
    let body = match method {
        "POST" => match request.consume() {
            Ok(body) => match world.read(&body, LONGEST_BODY, &mut Sending::<&[u8]>(None)) {
                Ok((body, false)) => Body::Whole(body),
                Ok((_, true)) => Body::TooLong,
                Err(_) => Body::Broken,
            },
            Err(()) => Body::Broken,
        },
        _ => Body::Whole(Vec::new()),
    };
    Incoming {
        method: method.to_owned(),
        target: request.path_with_query().unwrap_or_default(),
        host: host.or_else(|| request.authority()),
        fields,
        body,
    }
}

/// The client of a request. Whoever writes to it waits until it takes what is written, for as long as there is for the request.
pub struct Waiting {
    world: Wasi,
    out: Cell<Option<ResponseOutparam>>,
    begun: RefCell<Option<Begun>>,
}

/// An answer whose head was sent.
pub struct Begun {
    // The stream belongs to the body and goes first: fields drop in this order.
    stream: OutputStream,
    body: OutgoingBody,
}

/// Sends the head of an answer; none where there is nothing to write its body to.
pub fn begin<'a>(
    out: ResponseOutparam,
    status: u16,
    headers: impl IntoIterator<Item = &'a (&'static str, String)>,
) -> Option<Begun> {
    let fields = WasiFields::new();
    for (name, value) in headers {
        let _ = fields.append(name, value.as_bytes());
    }
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(status);
    let body = response.body();
    ResponseOutparam::set(out, Ok(response));
    let body = body.ok()?;
    let stream = body.write().ok()?;
    Some(Begun { stream, body })
}

impl Begun {
    /// Where the body goes.
    pub fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Says that the body is whole. Without it the client learns that it is not.
    pub fn finish(self) {
        let Self { stream, body } = self;
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

impl Waiting {
    /// The client that waits for this answer, which may take so long from now.
    pub fn within(milliseconds: u64, out: ResponseOutparam) -> Self {
        Self {
            world: Wasi::within(milliseconds),
            out: Cell::new(Some(out)),
            begun: RefCell::new(None),
        }
    }

    /// Sends a whole answer. A client that went away needs none.
    pub fn answer(&self, outgoing: &Outgoing) {
        let length = ("content-length", outgoing.body.len().to_string());
        let headers: Vec<_> = outgoing.headers.iter().cloned().chain([length]).collect();
        self.open(outgoing.status, &headers);
        if self.push(&outgoing.body).is_ok() {
            self.close();
        }
    }
}

impl Client for Waiting {
    fn open(&self, status: u16, headers: &[(&'static str, String)]) {
        let Some(out) = self.out.take() else { return };
        *self.begun.borrow_mut() = begin(out, status, headers);
    }

    fn push(&self, piece: &[u8]) -> Result<(), WebError> {
        let begun = self.begun.borrow();
        let begun = begun.as_ref().ok_or(WebError::Broken)?;
        self.world.write(&begun.stream, piece)
    }

    fn close(&self) {
        if let Some(begun) = self.begun.take() {
            begun.finish();
        }
    }
}
