//! One exchange: a request on its way out, then the response, then its body.

use std::mem;

use url::Url;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, Scheme, http_error_code,
};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use super::{Event, Failure, Outgoing};

/// As much as is moved at once.
const PIECE: usize = 64 << 10;

/// Longer headers are not handed to the host, which ends an instance that gives it more than it takes: 128 KiB with what it counts for
/// each.
const LONGEST_HEADERS: usize = 64 << 10;

/// An exchange. Handles belong to each other: everywhere below fields are dropped in their order, and what belongs to something stands
/// before it.
pub struct Exchange {
    upload: Option<Upload>,
    download: Download,
    /// Where it goes, for messages.
    origin: String,
}

/// What of an exchange can be blocked.
#[derive(Clone, Copy)]
pub enum Part {
    Upload,
    Download,
}

/// The body of the request, as long as there is more of it to send.
struct Upload {
    ready: Option<Pollable>,
    stream: OutputStream,
    body: OutgoingBody,
    bytes: Vec<u8>,
    written: usize,
}

enum Download {
    Failed(Failure),
    Coming {
        ready: Option<Pollable>,
        future: FutureIncomingResponse,
    },
    Body {
        /// Somebody wants the next piece.
        is_asked: bool,
        ready: Option<Pollable>,
        stream: InputStream,
        // Held for the stream.
        _body: IncomingBody,
        _response: IncomingResponse,
    },
    /// It has told that it is over.
    Over,
}

impl Exchange {
    /// Sends the head of a request.
    pub fn new(outgoing: Outgoing) -> Self {
        let url = Url::parse(&outgoing.url).ok();
        let origin = url.as_ref().map(|url| url.origin().ascii_serialization());
        let origin = origin.unwrap_or_else(|| outgoing.url.clone());
        let sent = url.ok_or_else(|| Failure::invalid("URL"));
        match sent.and_then(|url| send(&url, outgoing, &origin)) {
            Ok((upload, future)) => Self {
                upload,
                download: Download::Coming {
                    ready: Some(future.subscribe()),
                    future,
                },
                origin,
            },
            Err(failure) => Self {
                upload: None,
                download: Download::Failed(failure),
                origin,
            },
        }
    }

    /// Asks for the next piece of the response's body. False where it has none.
    pub fn ask(&mut self) -> bool {
        match &mut self.download {
            Download::Body { is_asked, .. } => {
                *is_asked = true;
                true
            }
            Download::Failed(_) | Download::Coming { .. } | Download::Over => false,
        }
    }

    pub fn is_awaited(&self) -> bool {
        self.upload.is_some()
            || match self.download {
                Download::Body { is_asked, .. } => is_asked,
                Download::Failed(_) | Download::Coming { .. } => true,
                Download::Over => false,
            }
    }

    /// What cannot go on before a pollable is ready.
    pub fn blocked(&self) -> impl Iterator<Item = (Part, &Pollable)> {
        let upload = self.upload.as_ref().and_then(|it| it.ready.as_ref());
        let download = match &self.download {
            Download::Coming { ready, .. } | Download::Body { ready, .. } => ready.as_ref(),
            Download::Failed(_) | Download::Over => None,
        };
        let upload = upload.map(|it| (Part::Upload, it));
        upload
            .into_iter()
            .chain(download.map(|it| (Part::Download, it)))
    }

    /// The pollable of a part was ready.
    pub fn unblock(&mut self, part: Part) {
        match (part, &mut self.upload, &mut self.download) {
            (Part::Upload, Some(upload), _) => upload.ready = None,
            (Part::Download, _, Download::Coming { ready, .. } | Download::Body { ready, .. }) => {
                *ready = None;
            }
            _ => {}
        }
    }

    /// Does what can be done without waiting, and gives what came of it.
    pub fn step(&mut self) -> Option<Event> {
        if let Some(upload) = self.upload.take() {
            self.upload = upload.gone_on();
        }
        match &mut self.download {
            Download::Failed(_) => match mem::replace(&mut self.download, Download::Over) {
                Download::Failed(failure) => Some(Event::Failed(failure)),
                _ => None,
            },
            Download::Coming { ready: Some(_), .. } => None,
            Download::Coming { ready, future } => match future.get() {
                None => {
                    *ready = Some(future.subscribe());
                    None
                }
                Some(answer) => Some(self.answered(answer)),
            },
            Download::Body {
                is_asked,
                ready,
                stream,
                ..
            } => {
                if !*is_asked || ready.is_some() {
                    return None;
                }
                match stream.read(PIECE as u64) {
                    Ok(piece) if piece.is_empty() => {
                        *ready = Some(stream.subscribe());
                        None
                    }
                    Ok(piece) => {
                        *is_asked = false;
                        Some(Event::Piece(piece))
                    }
                    Err(StreamError::Closed) => Some(self.over(Event::End)),
                    Err(StreamError::LastOperationFailed(error)) => {
                        let failure = match http_error_code(&error) {
                            Some(code) => Failure::of(&code, &self.origin),
                            None => Failure::broken(&self.origin),
                        };
                        // It belongs to the stream.
                        drop(error);
                        Some(self.over(Event::Failed(failure)))
                    }
                }
            }
            Download::Over => None,
        }
    }

    /// Takes the head of a response.
    fn answered(&mut self, answer: Result<Answer, ()>) -> Event {
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => {
                let failure = Failure::of(&code, &self.origin);
                return self.over(Event::Failed(failure));
            }
            Err(()) => return self.over(Event::Failed(Failure::broken(&self.origin))),
        };
        let status = response.status();
        let headers = response.headers().entries();
        let headers = headers.into_iter().map(|(name, value)| {
            let value = value.into_iter().map(char::from).collect();
            vec![name, value]
        });
        let headers = headers.collect();
        let Ok(body) = response.consume() else {
            return self.over(Event::Failed(Failure::broken(&self.origin)));
        };
        let Ok(stream) = body.stream() else {
            return self.over(Event::Failed(Failure::broken(&self.origin)));
        };
        self.download = Download::Body {
            is_asked: false,
            ready: None,
            stream,
            _body: body,
            _response: response,
        };
        Event::Response { status, headers }
    }

    fn over(&mut self, event: Event) -> Event {
        self.download = Download::Over;
        event
    }
}

type Answer = Result<IncomingResponse, ErrorCode>;

impl Upload {
    /// Writes what there is room for. Nothing where there is no more to write: the other side may answer without reading it all, and
    /// then what it says counts.
    fn gone_on(mut self) -> Option<Self> {
        while self.ready.is_none() {
            let room = usize::try_from(self.stream.check_write().ok()?).unwrap_or(PIECE);
            if room == 0 {
                self.ready = Some(self.stream.subscribe());
                break;
            }
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                let Self { stream, body, .. } = self;
                drop(stream);
                // What it says of the length is not so: it was written as it was announced.
                drop(OutgoingBody::finish(body, None));
                return None;
            }
            let piece = rest.get(..room.min(PIECE)).unwrap_or(rest);
            self.stream.write(piece).ok()?;
            self.written += piece.len();
            self.stream.flush().ok()?;
        }
        Some(self)
    }
}

/// Hands a request to the host.
fn send(
    url: &Url,
    outgoing: Outgoing,
    origin: &str,
) -> Result<(Option<Upload>, FutureIncomingResponse), Failure> {
    let length: usize = outgoing.headers.iter().map(|it| it.len() + 40).sum();
    if length > LONGEST_HEADERS {
        let code = ErrorCode::HttpRequestHeaderSectionSize(None);
        return Err(Failure::of(&code, origin));
    }
    let fields = Fields::new();
    for pair in outgoing.headers.chunks(2) {
        if let [name, value] = pair {
            let value: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
            let value = value.map_err(|_| Failure::invalid("header"))?;
            fields
                .append(name, &value)
                .map_err(|_| Failure::header(name))?;
        }
    }
    let request = OutgoingRequest::new(fields);
    request
        .set_method(&method_of(outgoing.method))
        .map_err(|()| Failure::invalid("method"))?;
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        _ => Scheme::Https,
    };
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(&authority)))
        .and_then(|()| request.set_path_with_query(Some(&target)))
        .map_err(|()| Failure::invalid("URL"))?;
    // A request without a body must not look like one whose body is empty.
    let body = match outgoing.body.is_empty() {
        true => None,
        false => Some(request.body().map_err(|()| Failure::invalid("body"))?),
    };
    let future =
        outgoing_handler::handle(request, None).map_err(|code| Failure::of(&code, origin))?;
    let upload = body.and_then(|body| {
        Some(Upload {
            ready: None,
            stream: body.write().ok()?,
            body,
            bytes: outgoing.body,
            written: 0,
        })
    });
    Ok((upload, future))
}

fn method_of(name: String) -> Method {
    match name.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        _ => Method::Other(name),
    }
}
