//! What an agent may say to a browser. All agents share one origin with the API, so nothing that an agent answers may reach
//! beyond its own path.

use http::{HeaderName, HeaderValue, Response, header};

use crate::agents::PREFIX;

/// Fields that speak for the whole origin.
static NOT_THEIRS: [HeaderName; 11] = [
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("expect-ct"),
    header::ALT_SVC,
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("x-request-id"),
];

/// Fields in which the host speaks of a payment that it took. A free agent may take payments of its own.
static RECEIPTS: [HeaderName; 3] = [
    HeaderName::from_static("payment-required"),
    HeaderName::from_static("payment-response"),
    HeaderName::from_static("x-payment-response"),
];

/// Documents of an agent run in an origin of their own (HTML, "sandboxed opaque origin"): no page of one agent can read
/// another's storage, register a service worker, or call the API in the name of another's user.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads",
);

/// Confines what the agent behind `reference` answers to its own path. `is_sold` says whether the host takes its payments.
pub(super) fn confine<B>(response: &mut Response<B>, reference: &str, is_sold: bool) {
    let headers = response.headers_mut();
    // Responses have few fields: to look through them costs less than to look up each that must not be there.
    let taken: Vec<HeaderName> = headers
        .keys()
        .filter(|name| NOT_THEIRS.contains(name) || is_sold && RECEIPTS.contains(name))
        .cloned()
        .collect();
    for name in taken {
        headers.remove(name);
    }
    if headers.contains_key(header::SET_COOKIE) {
        let cookies: Vec<HeaderValue> = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|cookie| confined(cookie, reference))
            .collect();
        headers.remove(header::SET_COOKIE);
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.append(header::CONTENT_SECURITY_POLICY, SANDBOX);
}

/// A cookie (RFC 6265) of the agent's own path, whatever path and domain it asked for.
fn confined(cookie: &HeaderValue, reference: &str) -> Option<HeaderValue> {
    let text = cookie.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let pair = parts.next()?;
    // These prefixes promise a cookie of the whole origin.
    if ["__host-", "__secure-"].iter().any(|prefix| {
        pair.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }) {
        return None;
    }
    let is_scope = |attribute: &&str| {
        let name = attribute.split('=').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("path") || name.eq_ignore_ascii_case("domain")
    };
    let kept: Vec<&str> = parts.filter(|attribute| !is_scope(attribute)).collect();
    let path = format!("Path={PREFIX}{reference}/");
    let all: Vec<&str> = [pair]
        .into_iter()
        .chain(kept)
        .chain([path.as_str()])
        .collect();
    HeaderValue::from_str(&all.join("; ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(text: &str) -> Option<String> {
        let confined = confined(&HeaderValue::from_str(text).unwrap(), "weather")?;
        Some(confined.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_stay_on_the_agents_own_path() {
        let expected = Some("a=b; HttpOnly; Path=/agents/weather/".to_owned());
        assert_eq!(
            cookie("a=b; Path=/; HttpOnly; Domain=example.org"),
            expected
        );
        assert_eq!(cookie("a=b;path = /agents/other/;HttpOnly"), expected);
        assert_eq!(cookie("__Host-a=b; Secure; Path=/"), None);
    }

    #[test]
    fn fields_that_speak_for_the_origin_are_taken_out() {
        let mut response = Response::builder()
            .header("service-worker-allowed", "/")
            .header("content-security-policy", "default-src 'self'")
            .header("x-own", "stays")
            .body(())
            .unwrap();
        confine(&mut response, "weather", false);
        let headers = response.headers();
        assert!(!headers.contains_key("service-worker-allowed"));
        assert_eq!(headers["x-own"], "stays");
        assert_eq!(headers.get_all("content-security-policy").iter().count(), 2);
    }
}
