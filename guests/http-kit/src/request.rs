//! Reading what was asked.

use wasip2::http::types::{IncomingBody, IncomingRequest, Method};
use wasip2::io::streams::StreamError;

use crate::Error;

/// As much as is read at once.
const PIECE: u64 = 64 * 1024;

/// The target of a request: path and query.
pub struct Target(String);

impl Target {
    /// Of this request; `/` where it has none.
    pub fn of(request: &IncomingRequest) -> Self {
        Self(request.path_with_query().unwrap_or_else(|| "/".to_owned()))
    }

    /// The part before the first `?`, as it was sent.
    pub fn path(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(path, _)| path)
    }

    /// The first value of a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.0.split_once('?')?;
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// A query parameter that is a number; `default` where it is missing or is not one.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.parameter(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// Path and query, as they were sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The body of a request, whole: at most `limit` bytes.
pub fn read_body(request: &IncomingRequest, limit: usize) -> Result<Vec<u8>, Error> {
    let body = request
        .consume()
        .map_err(|()| Error::Taken("request's body"))?;
    read_incoming(&body, limit)
}

/// A body of a request or a response, whole: at most `limit` bytes.
pub fn read_incoming(body: &IncomingBody, limit: usize) -> Result<Vec<u8>, Error> {
    let stream = body.stream().map_err(|()| Error::Taken("body's stream"))?;
    let mut content = Vec::new();
    loop {
        match stream.blocking_read(PIECE) {
            Ok(piece) => content.extend(piece),
            Err(StreamError::Closed) => return Ok(content),
            Err(StreamError::LastOperationFailed(_)) => return Err(Error::Broken("body")),
        }
        if content.len() > limit {
            return Err(Error::TooLong(limit));
        }
    }
}

/// The name of a method, as it stands in a request.
pub fn method_name(method: &Method) -> &str {
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

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_target_is_a_path_and_a_query() {
        let target = Target("/a%20b?url=http%3A%2F%2Fb%2F%3Fx%3D1&n=7&n=8".to_owned());
        assert_eq!(target.path(), "/a%20b");
        assert_eq!(target.parameter("url").as_deref(), Some("http://b/?x=1"));
        assert_eq!(target.number("n", 1), 7);
        assert_eq!(target.number("m", 1), 1);
        assert_eq!(target.number("url", 1), 1);
    }

    #[test]
    fn a_target_may_have_no_query() {
        let target = Target("/".to_owned());
        assert_eq!(target.path(), "/");
        assert_eq!(target.parameter("url"), None);
    }
}
