//! The heads of plain requests to agents.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use hypervisor_protocol::ProblemType;

use crate::agents::PREFIX;
use crate::pipeline::Refusal;

/// Tells an agent what stood before its path.
pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Tells what answers in the host's own name who asked, where that is sealed; nobody else says it.
pub(crate) const CALLER: HeaderName = HeaderName::from_static("hypervisor-caller");

/// Which requests belong together is between a client and the operator: with it guests could tell each other whom they serve.
pub(crate) const TRACE_CONTEXT: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// WASI 0.2 has no interface for other protocols on the same connection. `h2c` may be ignored (RFC 9110 §7.8).
pub(crate) fn refuse_upgrade(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let upgrade = headers
        .get_all(header::UPGRADE)
        .into_iter()
        .any(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if upgrade || *method == Method::CONNECT {
        return Err(Refusal::new(
            ProblemType::UpgradeUnsupported,
            "agents answer HTTP requests; WebSocket and other upgrades are not offered. Stream the response's body instead",
        ));
    }
    Ok(())
}

/// The name or address in the path of a request to an agent.
pub(crate) fn reference_in(path: &str) -> &str {
    path.strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(reference, _)| reference)
}

/// The head as the agent sees it: its own path, and in a header what stood before it. `reference` is the length of its name
/// in the path.
pub(crate) fn for_agent(mut head: Parts, reference: usize) -> Result<Parts, Refusal> {
    let malformed = || Refusal::malformed("invalid request target");
    let prefix = PREFIX.len().saturating_add(reference);
    let target = head
        .uri
        .path_and_query()
        .and_then(|target| target.as_str().get(prefix..))
        .ok_or_else(malformed)?;
    let target = PathAndQuery::try_from(target).map_err(|_| malformed())?;
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(target);
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    let prefix = HeaderValue::from_str(head.uri.path().get(..prefix).unwrap_or_default())
        .map_err(|_| malformed())?;
    head.uri = Uri::from_parts(parts).map_err(|_| malformed())?;
    head.headers.insert(FORWARDED_PREFIX, prefix);
    without(&mut head, &TRACE_CONTEXT);
    // What the server noted about the connection is not for the agent, and every copy of the head would copy it.
    head.extensions = http::Extensions::new();
    Ok(head)
}

/// Removes fields from a head: a payment is a bearer instrument, and none of an agent's business.
pub(crate) fn without(head: &mut Parts, names: &[HeaderName]) {
    for name in names {
        head.headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_agent_sees_its_own_path_and_what_stood_before_it() {
        let seen = for_agent(head(Request::get("/agents/weather/a%20b?city=Oslo")), 7).unwrap();
        assert_eq!(seen.uri, "/a%20b?city=Oslo");
        assert_eq!(seen.headers[FORWARDED_PREFIX], "/agents/weather");
    }

    #[test]
    fn an_agent_sees_no_trace_context() {
        let request = Request::get("/agents/weather/")
            .header("TraceParent", "00-1-2-01")
            .header("tracestate", "vendor=1")
            .header("baggage", "user=1")
            .header("x-kept", "1");
        let seen = for_agent(head(request), 7).unwrap();
        let mut names: Vec<&str> = seen.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-forwarded-prefix", "x-kept"]);
    }

    #[test]
    fn websockets_are_refused_and_h2c_is_ignored() {
        let refused = |protocol| {
            let head = head(Request::get("/agents/a/").header(header::UPGRADE, protocol));
            refuse_upgrade(&head.method, &head.headers)
        };
        assert!(refused("websocket").is_err());
        assert!(refused("h2c").is_ok());
    }
}
