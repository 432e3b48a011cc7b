//! Sending requests.

use wasip2::http::types::{
    FutureIncomingResponse, IncomingResponse, Method, OutgoingRequest, Scheme,
};

use crate::Error;
use crate::fields::fields;

/// An absolute URL with the scheme `http` or `https`.
pub struct Url {
    scheme: Scheme,
    authority: String,
    target: String,
}

impl Url {
    /// None where `text` is not such a URL. A fragment is left out; the host looks at the rest once more.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        Some(Self {
            scheme,
            authority: authority.to_owned(),
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        })
    }
}

/// A request that is ready to be handed to `outgoing-handler`. Its body, where it has one, is the caller's to write.
pub fn prepare<N: AsRef<str>, V: AsRef<str>>(
    method: &Method,
    url: &Url,
    headers: &[(N, V)],
) -> Result<OutgoingRequest, Error> {
    let request = OutgoingRequest::new(fields(headers)?);
    request
        .set_method(method)
        .map_err(|()| Error::Invalid("method"))?;
    request
        .set_scheme(Some(&url.scheme))
        .and_then(|()| request.set_authority(Some(&url.authority)))
        .and_then(|()| request.set_path_with_query(Some(&url.target)))
        .map_err(|()| Error::Invalid("URL"))?;
    Ok(request)
}

/// What came of a request, once its pollable is ready.
pub fn answer(coming: &FutureIncomingResponse) -> Result<IncomingResponse, Error> {
    match coming.get() {
        Some(Ok(result)) => Ok(result?),
        Some(Err(())) | None => Err(Error::Taken("response")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Url;

    #[test]
    fn a_url_has_a_scheme_an_authority_and_a_target() {
        let url = Url::parse("http://b.agent.internal:8080/a?x=%20#part").unwrap();
        assert_eq!(url.authority, "b.agent.internal:8080");
        assert_eq!(url.target, "/a?x=%20");
        for (text, target) in [
            ("https://example.org", "/"),
            ("HTTPS://example.org?x", "/?x"),
            ("http://example.org#/x", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (&*url.authority, &*url.target),
                ("example.org", target),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_absolute_http_url_is_none() {
        for text in [
            "",
            "/a",
            "example.org",
            "ftp://example.org/",
            "http://",
            "http:///a",
            "http://a b/",
            "http://a/\r\n",
            "http://é/",
        ] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_url_holds_what_could_end_it(text in "(https?://)?.{0,60}") {
            if let Some(url) = Url::parse(&text) {
                prop_assert!(!url.authority.is_empty() && !url.authority.contains(['/', '?', '#']));
                prop_assert!(url.target.starts_with('/') && !url.target.contains('#'));
                prop_assert!((url.authority + &url.target).bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
