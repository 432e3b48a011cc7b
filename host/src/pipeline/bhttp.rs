//! Binary HTTP (RFC 9292): whole requests and responses as bytes, to be sealed or kept.

mod bounds;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Cursor;

use bhttp::{ControlData, FieldSection, Message, Mode, StatusCode};
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};

/// The media type of a message.
pub(crate) const MEDIA_TYPE: &str = "message/bhttp";

/// A response with its trailers; none where the status has no place in the format.
pub(crate) fn encode(response: &Response<Bytes>, trailers: &HeaderMap) -> Option<Vec<u8>> {
    let mut message = message(response.status(), response.headers(), trailers)?;
    message.write_content(response.body());
    let mut encoded = Vec::new();
    message.write_bhttp(Mode::KnownLength, &mut encoded).ok()?;
    Some(encoded)
}

fn message(status: http::StatusCode, head: &HeaderMap, trailers: &HeaderMap) -> Option<Message> {
    let mut message = Message::response(StatusCode::try_from(status.as_u16()).ok()?);
    for (name, value) in head {
        message.put_header(name.as_str(), value.as_bytes());
    }
    for (name, value) in trailers {
        message.put_trailer(name.as_str(), value.as_bytes());
    }
    Some(message)
}

/// What stands around the content of a response of indeterminate length (RFC 9292 §3.2): its head, and its end with the trailers. Pieces of
/// content come between, each behind a [`piece_head`]; none where the status has no place in the format.
pub(crate) fn around<B>(response: &Response<B>, trailers: &HeaderMap) -> Option<[Vec<u8>; 2]> {
    let encoded = |head, trailers| {
        let mut encoded = Vec::new();
        let message = message(response.status(), head, trailers)?;
        let written = message.write_bhttp(Mode::IndeterminateLength, &mut encoded);
        written.is_ok().then_some(encoded)
    };
    let none = HeaderMap::new();
    // Behind the head are the end of no content, and the end of no trailers: one zero byte each.
    let mut start = encoded(response.headers(), &none)?;
    start.truncate(start.len().checked_sub(2)?);
    let before = encoded(&none, &none)?.len().checked_sub(2)?;
    let end = encoded(&none, trailers)?.split_off(before);
    Some([start, end])
}

/// What stands before a piece of content: its length as a variable-length integer (RFC 9000 §16). A piece is not empty: that would be the
/// end.
pub(crate) fn piece_head(length: usize) -> Vec<u8> {
    let length = length as u64;
    match length {
        0..=0x3f => vec![length as u8],
        0x40..=0x3fff => (length as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (length as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (length | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// Reads a response that [`encode`] made, and its trailers.
pub(crate) fn decode_response(bytes: &[u8]) -> Option<(Response<Bytes>, HeaderMap)> {
    let message = Message::read_bhttp(&mut Cursor::new(bytes)).ok()?;
    let ControlData::Response(status) = message.control() else {
        return None;
    };
    let mut response = Response::new(Bytes::copy_from_slice(message.content()));
    *response.status_mut() = http::StatusCode::from_u16((*status).into()).ok()?;
    fields(message.header(), response.headers_mut()).ok()?;
    let mut trailers = HeaderMap::new();
    fields(message.trailer(), &mut trailers).ok()?;
    Some((response, trailers))
}

/// Reads a request and its trailers; what is wrong with it, in words.
pub(crate) fn decode_request(bytes: &[u8]) -> Result<(Request<Bytes>, HeaderMap), String> {
    bounds::check(bytes)?;
    let mut rest = Cursor::new(bytes);
    let message = Message::read_bhttp(&mut rest)
        .map_err(|e| format!("the input is not a Binary HTTP message: {e}"))?;
    let end = usize::try_from(rest.position()).unwrap_or(usize::MAX);
    // RFC 9292 §3.8: what follows is padding, of zeros.
    if bytes.iter().skip(end).any(|byte| *byte != 0) {
        return Err("unexpected bytes after the message".to_owned());
    }
    let ControlData::Request {
        method,
        path,
        authority,
        ..
    } = message.control()
    else {
        return Err("the input is a Binary HTTP response, not a request".to_owned());
    };
    if method == b"CONNECT" {
        return Err("the method CONNECT is not supported".to_owned());
    }
    if !path.starts_with(b"/") {
        return Err("the request's path does not begin with /".to_owned());
    }
    let mut request = Request::new(Bytes::copy_from_slice(message.content()));
    *request.method_mut() =
        Method::from_bytes(method).map_err(|_| "invalid HTTP method".to_owned())?;
    *request.uri_mut() =
        Uri::try_from(path.as_slice()).map_err(|_| "invalid request path".to_owned())?;
    fields(message.header(), request.headers_mut())?;
    // Whom it is sent to is not a field of its own there (RFC 9292 §3.4), and is one where it is answered.
    if let Ok(authority) = Authority::try_from(authority.as_slice())
        && let Ok(value) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, value);
    }
    length_holds(&request)?;
    let mut trailers = HeaderMap::new();
    fields(message.trailer(), &mut trailers)?;
    Ok((request, trailers))
}

/// Refuses a request that says its length wrong, or twice: who reads it must not have to choose.
fn length_holds(request: &Request<Bytes>) -> Result<(), String> {
    let length = request.body().len().to_string();
    let mut said = request.headers().get_all(header::CONTENT_LENGTH).iter();
    match (said.next(), said.next()) {
        (None, _) => Ok(()),
        (Some(said), None) if said.as_bytes() == length.as_bytes() => Ok(()),
        _ => Err("content-length is not that of the body".to_owned()),
    }
}

/// A body that is here already, with the fields behind it.
pub(crate) type Whole = WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>;

pub(crate) fn whole(body: Bytes, trailers: HeaderMap) -> Whole {
    let trailers = (!trailers.is_empty()).then_some(Ok(trailers));
    Full::new(body).with_trailers(ready(trailers))
}

fn fields(section: &FieldSection, headers: &mut HeaderMap) -> Result<(), String> {
    for field in section.iter() {
        // RFC 9292 §3.6: names are in lower case.
        if field.name().iter().any(u8::is_ascii_uppercase) {
            return Err("a header field's name is in upper case".to_owned());
        }
        let name = HeaderName::from_bytes(field.name());
        let value = HeaderValue::from_bytes(field.value());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err("invalid header field".to_owned());
        };
        headers
            .try_append(name, value)
            .map_err(|_| "the message has too many header fields".to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode_request(&bytes);
            let _ = decode_response(&bytes);
        }
    }

    #[test]
    fn a_response_in_pieces_comes_back_whole() {
        for lengths in [&[][..], &[1], &[0x3f, 0x40, 0x3fff, 0x4000]] {
            let mut response = Response::new(());
            response
                .headers_mut()
                .append("x-a", HeaderValue::from_static("1"));
            let mut trailers = HeaderMap::new();
            trailers.append("x-t", HeaderValue::from_static("3"));
            let [mut message, end] = around(&response, &trailers).unwrap();
            for &length in lengths {
                message.extend(piece_head(length));
                message.extend(vec![7; length]);
            }
            message.extend(end);
            let (back, behind) = decode_response(&message).unwrap();
            assert_eq!(back.body().len(), lengths.iter().sum::<usize>());
            assert_eq!((back.headers(), behind), (response.headers(), trailers));
        }
    }

    #[test]
    fn a_response_comes_back_as_it_was() {
        let mut response = Response::new(Bytes::from_static(b"body"));
        *response.status_mut() = http::StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        let mut trailers = HeaderMap::new();
        trailers.append("x-t", HeaderValue::from_static("3"));
        let (back, behind) = decode_response(&encode(&response, &trailers).unwrap()).unwrap();
        assert_eq!(behind, trailers);
        assert_eq!(back.status(), response.status());
        assert_eq!(back.headers(), response.headers());
        assert_eq!(back.body(), response.body());
    }
}
