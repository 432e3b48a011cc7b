//! Fields of heads: what is about one connection stays there, and what an agent says to a browser does not reach beyond its path.

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_SECURITY_POLICY, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use hypervisor_client::agents::Reference;

use super::gate::SEC_FETCH_SITE;

/// RFC 9110 §7.6.1, and what older programs send.
static OF_THE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Fields that speak for the whole origin, which all agents share here.
static OF_THE_ORIGIN: [HeaderName; 10] = [
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("origin-agent-cluster"),
    STRICT_TRANSPORT_SECURITY,
    ALT_SVC,
];

/// Pages run in an origin of their own, so that none can call other agents in its reader's name.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads",
);

/// Takes out what is about the connection.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

/// The fields of a request as they are sealed. The host says its own name, and what is here already needs no asking for.
pub(super) fn of_request(headers: &mut HeaderMap) {
    strip(headers);
    // A browser's are those of every server on this machine: cookies know no ports.
    if headers.contains_key(SEC_FETCH_SITE) {
        headers.remove(COOKIE);
    }
    for name in [HOST, EXPECT, TRAILER] {
        headers.remove(name);
    }
}

/// The fields of a response as they are passed on. Those of an agent are confined to its path.
pub(super) fn of_response(headers: &mut HeaderMap, agent: Option<&Reference>) {
    strip(headers);
    for name in &OF_THE_ORIGIN {
        headers.remove(name);
    }
    if let Some(agent) = agent {
        let cookies: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|cookie| confined(cookie, agent))
            .collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(CONTENT_SECURITY_POLICY, SANDBOX);
}

/// A cookie (RFC 6265) with the path of its agent in the place of the path and domain that it asks for.
fn confined(cookie: &HeaderValue, agent: &Reference) -> Option<HeaderValue> {
    let mut parts = cookie.to_str().ok()?.split(';').map(str::trim);
    let pair = parts.next()?;
    let lower = pair.to_ascii_lowercase();
    // A browser keeps these only where they are of the whole origin.
    if lower.starts_with("__host-") || lower.starts_with("__secure-") {
        return None;
    }
    let of_itself = |attribute: &&str| {
        let name = attribute.split('=').next().unwrap_or_default().trim();
        !name.eq_ignore_ascii_case("path") && !name.eq_ignore_ascii_case("domain")
    };
    let kept: Vec<&str> = parts.filter(of_itself).collect();
    let path = format!("Path=/agents/{agent}/");
    let all = [&[pair], kept.as_slice(), &[path.as_str()]].concat();
    HeaderValue::from_str(&all.join("; ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        });
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn what_is_about_the_connection_is_not_sealed_and_all_else_is() {
        let mut headers = fields(&[
            ("host", "127.0.0.1"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("accept", "a"),
            ("accept", "b"),
            ("authorization", "Bearer t"),
            ("cookie", "c=d"),
        ]);
        of_request(&mut headers);
        let left = fields(&[
            ("accept", "a"),
            ("accept", "b"),
            ("authorization", "Bearer t"),
            ("cookie", "c=d"),
        ]);
        assert_eq!(headers, left);
    }

    #[test]
    fn a_browsers_cookies_of_other_servers_on_this_machine_are_not_passed_on() {
        let mut headers = fields(&[("cookie", "other=server"), ("sec-fetch-site", "none")]);
        of_request(&mut headers);
        assert!(!headers.contains_key(COOKIE));
    }

    #[test]
    fn an_agent_speaks_for_its_own_path_alone() {
        let agent: Reference = "page".parse().unwrap();
        let mut headers = fields(&[
            ("service-worker-allowed", "/"),
            ("clear-site-data", "\"*\""),
            ("set-cookie", "a=b; Path=/; Domain=example.org; HttpOnly"),
            ("set-cookie", "__Host-c=d; Path=/; Secure"),
            ("x-own", "stays"),
        ]);
        of_response(&mut headers, Some(&agent));
        assert!(!headers.contains_key("service-worker-allowed"));
        assert!(!headers.contains_key("clear-site-data"));
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; HttpOnly; Path=/agents/page/"]);
        assert_eq!(headers["x-own"], "stays");
        let sandbox = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(!sandbox.contains("allow-same-origin"));
    }
}
