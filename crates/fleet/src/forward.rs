//! A request, passed on to the node of its session, and the answer, passed back.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::Full;

use crate::error::NotForwarded;
use crate::fleet::Fleet;
use crate::proof::FORWARDED;
use crate::relayed::Relayed;
use crate::tag::Tag;

/// What is between two hops and goes no further (RFC 9110 §7.6.1), and what is made anew.
static HOP: [HeaderName; 11] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    FORWARDED,
];
/// What each node says for itself to browsers.
const CROSS_ORIGIN: &str = "access-control-";

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    method: Method,
    uri: Uri,
    fields: HeaderMap,
}

impl Head {
    /// The head of a request, as it came.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            fields: request.headers().clone(),
        }
    }

    /// Whether it may have been paid for, by the header of either version of x402.
    pub fn carries_payment(&self) -> bool {
        let mut headers = ["payment-signature", "x-payment"].iter();
        headers.any(|name| self.fields.contains_key(*name))
    }
}

impl Fleet {
    /// Has the live node with this tag answer a request of `client`: once, whatever comes of it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn forward(
        self: &Arc<Self>,
        head: &Head,
        body: Bytes,
        to: Tag,
        client: Option<IpAddr>,
    ) -> Result<Response<Relayed>, NotForwarded> {
        let node = self.owner_of(to).await.ok_or(NotForwarded::Unknown)?;
        let address = node.address.ok_or(NotForwarded::Unreachable)?;
        // The host that had the tag stopped, and this one took its place.
        if self.settings.address.as_ref() == Some(&address) {
            return Err(NotForwarded::Unknown);
        }
        let place = self.places.take(client).ok_or(NotForwarded::Full)?;
        let authority = address.authority().ok_or(NotForwarded::Unreachable)?;
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(target);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri.build().map_err(|_| NotForwarded::Unreachable)?;
        let proof = self.prove(to, client, (&head.method, &head.uri));
        *request.headers_mut() = onward(head, proof);
        let gone = {
            let fleet = Arc::clone(self);
            async move { fleet.gone(to).await }
        };
        let mut gone = Box::pin(gone);
        let answered = tokio::select! {
            answered = self.connections.request(request) => answered,
            () = gone.as_mut() => return Err(NotForwarded::Broken),
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                // It may have ended in order a moment ago.
                self.look_again().await;
                return Err(match self.serves(to) {
                    true => NotForwarded::Unreachable,
                    false => NotForwarded::Unknown,
                });
            }
            Err(_) => return Err(NotForwarded::Broken),
        };
        let (mut parts, inner) = answer.into_parts();
        parts.version = Version::default();
        parts.extensions.clear();
        without_hop(&mut parts.headers);
        parts.headers.remove(VARY);
        let cross_origin: Vec<_> = (parts.headers.keys())
            .filter(|name| name.as_str().starts_with(CROSS_ORIGIN))
            .cloned()
            .collect();
        for name in cross_origin {
            parts.headers.remove(name);
        }
        let body = Relayed {
            inner,
            gone,
            _place: place,
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// The header fields of a request for the next hop.
fn onward(head: &Head, proof: Option<HeaderValue>) -> HeaderMap {
    let mut fields = head.fields.clone();
    without_hop(&mut fields);
    // The body is sent with the length that it has.
    fields.remove(CONTENT_LENGTH);
    // HTTP/2 has it in the target.
    if !fields.contains_key(HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        fields.insert(HOST, host);
    }
    if let Some(proof) = proof {
        fields.insert(FORWARDED, proof);
    }
    fields
}

/// Takes out what is between two hops: the fields that are always, and those that `Connection` names.
fn without_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = (fields.get_all(CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP.iter().chain(&named) {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> Head {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Head {
            method: Method::POST,
            uri: Uri::from_static("https://host.example/x"),
            fields: fields.collect(),
        }
    }

    #[test]
    fn a_forwarded_request_has_all_that_its_client_sent_but_what_is_between_two_hops() {
        let head = head(&[
            ("content-type", "application/cbor"),
            ("payment-signature", "abc"),
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("expect", "100-continue"),
            ("hypervisor-forwarded", "a stranger's"),
        ]);
        let fields = onward(&head, Some(HeaderValue::from_static("own")));
        let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let kept = [
            "content-type",
            "host",
            "hypervisor-forwarded",
            "payment-signature",
        ];
        assert_eq!(names, kept);
        assert_eq!(fields[HOST], "host.example");
        assert_eq!(fields[FORWARDED], "own");
    }
}
