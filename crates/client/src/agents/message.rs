//! Binary HTTP (RFC 9292): what a service gets and gives when it is called sealed.

use std::io::Cursor;

use bhttp::{ControlData, FieldSection, Message, Mode};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use super::Reference;
use crate::error::Error;

/// An agent's authority is its reference in this domain, which exists within a host only.
const DOMAIN: &str = "agent.internal";
const SCHEME: &[u8] = b"http";

/// A request as it is sealed, in the known-length form.
pub(super) fn request(reference: &Reference, request: Request<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let (head, body) = request.into_parts();
    let wrong = |reason: &str| Error::Request {
        reason: reason.to_owned(),
    };
    if head.method == http::Method::CONNECT {
        return Err(wrong("an agent takes no tunnels (method CONNECT)"));
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') {
        return Err(wrong("its path does not begin with a slash"));
    }
    let mut message = Message::request(
        head.method.as_str().into(),
        SCHEME.into(),
        format!("{reference}.{DOMAIN}").into_bytes(),
        path.into(),
    );
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != HOST) {
        message.put_header(name.as_str(), value.as_bytes());
    }
    message.write_content(body);
    let mut bytes = Vec::with_capacity(message.content().len().saturating_add(1024));
    message
        .write_bhttp(Mode::KnownLength, &mut bytes)
        .map_err(|error| wrong(&error.to_string()))?;
    Ok(bytes)
}

/// Reads a response in either form, and the trailers that came with it. Informational responses are passed over.
pub(super) fn response(bytes: &[u8]) -> Result<(Response<Vec<u8>>, HeaderMap), Error> {
    read(bytes).map_err(|reason| Error::Answer {
        what: "a Binary HTTP response",
        reason,
    })
}

fn read(bytes: &[u8]) -> Result<(Response<Vec<u8>>, HeaderMap), String> {
    let mut rest = Cursor::new(bytes);
    let message = Message::read_bhttp(&mut rest).map_err(|error| error.to_string())?;
    let end = usize::try_from(rest.position()).unwrap_or(usize::MAX);
    // RFC 9292 §3.8: what follows is padding, of zeros.
    if bytes.iter().skip(end).any(|byte| *byte != 0) {
        return Err("something follows it".to_owned());
    }
    let ControlData::Response(status) = message.control() else {
        return Err("it is a request".to_owned());
    };
    let mut response = Response::new(message.content().to_vec());
    *response.status_mut() =
        http::StatusCode::from_u16(status.code()).map_err(|error| error.to_string())?;
    *response.headers_mut() = fields(message.header())?;
    Ok((response, fields(message.trailer())?))
}

/// Most bytes of a head that is not whole yet.
const MAX_HEAD: usize = 64 << 10;

/// The content of a response, of either form, that arrives in parts (RFC 9292 §3). What is no response gives none: the whole of it is looked
/// at when it is there.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// What was not understood yet.
    rest: Vec<u8>,
    place: Place,
    /// Whether it is of known length: its content is one piece.
    known: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// Before the length of a piece.
    Length,
    /// Within a piece that has so many bytes left.
    Piece(u64),
    /// Behind the content, or in what is no response.
    End,
}

impl Content {
    /// Takes the next bytes of the message; gives the content in them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        let mut content = Vec::new();
        loop {
            self.place = match self.place {
                Place::Head => match head_end(rest) {
                    Head::Whole { end, known } => {
                        rest = rest.get(end..).unwrap_or_default();
                        self.known = known;
                        Place::Length
                    }
                    Head::Partial if rest.len() <= MAX_HEAD => break,
                    _ => Place::End,
                },
                Place::Length => match integer(rest) {
                    None => break,
                    Some((0, _)) => Place::End,
                    Some((length, width)) => {
                        rest = rest.get(width..).unwrap_or_default();
                        Place::Piece(length)
                    }
                },
                Place::Piece(0) if self.known => Place::End,
                Place::Piece(0) => Place::Length,
                Place::Piece(_) if rest.is_empty() => break,
                Place::Piece(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX);
                    let (here, behind) = rest.split_at_checked(most).unwrap_or((rest, &[]));
                    content.extend_from_slice(here);
                    rest = behind;
                    Place::Piece(left.saturating_sub(u64::try_from(here.len()).unwrap_or(left)))
                }
                Place::End => {
                    rest = &[];
                    break;
                }
            };
        }
        self.rest = rest.to_vec();
        content
    }
}

enum Head {
    /// It ends here.
    Whole {
        end: usize,
        known: bool,
    },
    Partial,
    /// It is of no response.
    Other,
}

/// Where the head ends: framing indicator 1 or 3, informational responses, the status, and its fields.
fn head_end(bytes: &[u8]) -> Head {
    let mut rest = bytes;
    let known = match take(&mut rest) {
        Some(1) => true,
        Some(3) => false,
        Some(_) => return Head::Other,
        None => return Head::Partial,
    };
    match after_head(&mut rest, known) {
        Some(()) => Head::Whole {
            end: bytes.len().saturating_sub(rest.len()),
            known,
        },
        None => Head::Partial,
    }
}

/// Goes behind the head; none where it is not whole.
fn after_head(rest: &mut &[u8], known: bool) -> Option<()> {
    loop {
        let status = take(rest)?;
        loop {
            // The length of all fields, or of a name: an empty one is behind the last.
            let length = take(rest)?;
            skip(rest, length)?;
            if known || length == 0 {
                break;
            }
            let value = take(rest)?;
            skip(rest, value)?;
        }
        if !(100..200).contains(&status) {
            return Some(());
        }
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let (value, width) = integer(rest)?;
    *rest = rest.get(width..)?;
    Some(value)
}

fn skip(rest: &mut &[u8], length: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(length).ok()?..)?;
    Some(())
}

/// A variable-length integer (RFC 9000 §16) at the front, and its width; none where it is not whole.
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let width = 1_usize << (first >> 6);
    let (_, rest) = bytes.get(..width)?.split_first()?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, &byte| {
        value << 8 | u64::from(byte)
    });
    Some((value, width))
}

fn fields(section: &FieldSection) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for field in section.iter() {
        // Upper case is not allowed, and so neither are pseudo-fields.
        let name = HeaderName::from_lowercase(field.name())
            .map_err(|_| "it has a field whose name is not one".to_owned())?;
        let value = HeaderValue::from_bytes(field.value())
            .map_err(|_| format!("its field {name} has a value that is not one"))?;
        fields
            .try_append(name, value)
            .map_err(|_| "it has too many fields".to_owned())?;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn weather() -> Reference {
        "weather".parse().unwrap()
    }

    fn sealed(request: Request<Vec<u8>>) -> Message {
        let bytes = super::request(&weather(), request).unwrap();
        assert_eq!(bytes.first(), Some(&0), "a request of known length");
        Message::read_bhttp(&mut Cursor::new(bytes)).unwrap()
    }

    fn reason(bytes: &[u8]) -> String {
        response(bytes).unwrap_err().to_string()
    }

    /// The example of RFC 9292 §5.2 in the known-length form, without its informational responses.
    fn hello() -> Vec<u8> {
        let mut bytes = vec![0x01, 0x40, 0xc8, 0x00, 0x07];
        bytes.extend(b"Hello\r\n");
        bytes.push(0x00);
        bytes
    }

    #[test]
    fn an_agent_sees_method_path_query_fields_and_body_and_its_own_authority() {
        let request = Request::post("https://elsewhere.example/forecast?city=Oslo")
            .header("host", "elsewhere.example")
            .header("Accept", "text/plain")
            .header("accept", "text/html")
            .body(b"body".to_vec())
            .unwrap();
        let message = sealed(request);
        let control = message.control();
        assert_eq!(control.method(), Some(&b"POST"[..]));
        assert_eq!(control.scheme(), Some(&b"http"[..]));
        assert_eq!(control.authority(), Some(&b"weather.agent.internal"[..]));
        assert_eq!(control.path(), Some(&b"/forecast?city=Oslo"[..]));
        let accept: Vec<_> = message.header().get_all(b"accept").collect();
        assert_eq!(accept, [b"text/plain".as_slice(), b"text/html"]);
        assert_eq!(message.header().len(), 2, "no host");
        assert_eq!(message.content(), b"body");
    }

    #[test]
    fn a_request_without_a_path_asks_for_the_root() {
        let request = Request::get("http://weather").body(Vec::new()).unwrap();
        assert_eq!(sealed(request).control().path(), Some(&b"/"[..]));
    }

    #[test]
    fn what_no_agent_takes_is_refused() {
        let tunnel = Request::connect("host.example:443").body(Vec::new());
        let asterisk = Request::options("*").body(Vec::new());
        for request in [tunnel, asterisk] {
            let error = super::request(&weather(), request.unwrap()).unwrap_err();
            assert!(matches!(error, Error::Request { .. }), "{error}");
        }
    }

    #[test]
    fn a_response_is_read_with_padding_and_without_what_may_be_left_out() {
        let padded = [hello(), vec![0; 100]].concat();
        let mut short = hello();
        short.pop();
        for bytes in [hello(), padded, short] {
            let (response, trailers) = response(&bytes).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.body(), b"Hello\r\n");
            assert!(response.headers().is_empty() && trailers.is_empty());
        }
        let (response, _) = response(&[0x01, 0x40, 0xcc]).unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }

    #[test]
    fn a_response_of_indeterminate_length_has_pieces_and_trailers() {
        let mut message = Message::response(bhttp::StatusCode::try_from(404_u16).unwrap());
        message.put_header("set-cookie", "a=1");
        message.put_header("set-cookie", "b=2");
        message.write_content(b"none");
        message.put_trailer("digest", "x");
        let mut bytes = Vec::new();
        message
            .write_bhttp(Mode::IndeterminateLength, &mut bytes)
            .unwrap();
        let (response, trailers) = response(&bytes).unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.body(), b"none");
        assert_eq!(trailers["digest"], "x");
    }

    fn in_parts(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut content = Content::default();
        let parts = bytes.chunks(size.max(1));
        parts.flat_map(|part| content.push(part)).collect()
    }

    #[test]
    fn the_content_of_a_response_is_there_as_it_arrives() {
        // Informational response, status, a field, two pieces, a trailer.
        let mut bytes = vec![
            3, 0x40, 0x67, 1, b'a', 1, b'b', 0, 0x40, 0xc8, 1, b'x', 2, b'y', b'z', 0,
        ];
        let mut content = Content::default();
        assert!(content.push(&bytes).is_empty());
        assert_eq!(content.push(b"\x05Hel"), b"Hel");
        assert_eq!(content.push(b"lo"), b"lo");
        bytes.extend(b"\x05Hello\x06 there\x00\x01t\x01v\x00");
        for size in 1..bytes.len() {
            assert_eq!(in_parts(&bytes, size), b"Hello there");
        }
        assert_eq!(response(&bytes).unwrap().0.body(), b"Hello there");
        assert_eq!(in_parts(&hello(), 1), b"Hello\r\n", "of known length");
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let garbage = [hello(), vec![1]].concat();
        assert!(reason(&garbage).contains("something follows it"));
        let request = Request::get("/").body(Vec::new()).unwrap();
        let request = super::request(&weather(), request).unwrap();
        assert!(reason(&request).contains("it is a request"));
        let mut upper = vec![0x01, 0x40, 0xc8, 0x04, 0x01];
        upper.extend(b"X\x01y");
        assert!(reason(&upper).contains("name is not one"));
        let mut split = vec![0x01, 0x40, 0xc8, 0x05, 0x01];
        split.extend(b"x\x02\r\n");
        assert!(reason(&split).contains("x has a value"));
        assert!(reason(b"").contains("truncated"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
            let _ = response(&bytes);
        }

        #[test]
        fn an_altered_response_is_read_or_refused(at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
            let mut bytes = hello();
            let place = at.index(bytes.len());
            bytes[place] = value;
            bytes.truncate(cut.index(bytes.len()));
            let _ = response(&bytes);
        }

        #[test]
        fn any_bytes_in_parts_are_read_or_left(bytes in vec(any::<u8>(), 0..300), size in 1..20_usize) {
            prop_assert!(in_parts(&bytes, size).len() <= bytes.len());
        }

        #[test]
        fn content_in_parts_is_that_of_the_whole(body in vec(any::<u8>(), 0..2_000), size in 1..200_usize) {
            let mut message = Message::response(bhttp::StatusCode::try_from(200_u16).unwrap());
            message.put_header("a", "b");
            message.write_content(&body);
            for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
                let mut bytes = Vec::new();
                message.write_bhttp(mode, &mut bytes).unwrap();
                prop_assert_eq!(in_parts(&bytes, size), &body[..]);
            }
        }

        #[test]
        fn bodies_return_as_they_were(body in vec(any::<u8>(), 0..20_000), status in 200_u16..=599) {
            let mut message = Message::response(bhttp::StatusCode::try_from(status).unwrap());
            message.write_content(&body);
            for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
                let mut bytes = Vec::new();
                message.write_bhttp(mode, &mut bytes).unwrap();
                let (response, _) = response(&bytes).unwrap();
                prop_assert_eq!(response.status().as_u16(), status);
                prop_assert_eq!(response.body(), &body);
            }
        }
    }
}
