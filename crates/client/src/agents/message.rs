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

/// A head alone, of either form: what may be left out at the end is.
pub(super) fn head(bytes: &[u8]) -> Option<Response<()>> {
    // No content, and no trailers.
    let whole = [bytes, &[0, 0]].concat();
    let (response, _) = read(&whole).ok()?;
    Some(response.map(|_| ()))
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
