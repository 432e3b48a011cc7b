//! Which revision of MCP a request is in, and whether its headers say what its body says.
//!
//! Revision 2026-07-28 has no session: each request brings its version and what the client can do in `params._meta`, and headers repeat
//! version, method and name for whoever routes it. Older ones open by `initialize` and then name their version in a header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use front::fields::Fields;
use serde_json::{Map, Value};

use crate::error::RpcError;
use crate::message::Request;

/// Revisions without a handshake.
pub const MODERN: [&str; 1] = ["2026-07-28"];
/// Revisions with one, latest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

pub const VERSION_HEADER: &str = "mcp-protocol-version";
pub const METHOD_HEADER: &str = "mcp-method";
pub const NAME_HEADER: &str = "mcp-name";
pub const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// How a header's value begins that is base64 of what no header can hold.
const WRAPPED: &str = "=?base64?";

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Each request by itself.
    Modern,
    /// After a handshake, of which nothing is kept here.
    Legacy,
}

/// How a request is to be answered.
pub fn of_request(fields: &Fields, request: &Request) -> Result<Era, RpcError> {
    let header = one(fields, VERSION_HEADER)?;
    let body = request.meta().and_then(|meta| meta.get(VERSION_KEY));
    let is_legacy = header.is_none_or(|version| LEGACY.contains(&version));
    match (body, header) {
        (None, _) if is_legacy => Ok(Era::Legacy),
        (None, Some(version)) if !MODERN.contains(&version) => {
            Err(RpcError::Version(version.chars().take(64).collect()))
        }
        _ => modern(fields, header, request).map(|()| Era::Modern),
    }
}

/// Whether a notification is in a version that is spoken here.
pub fn of_notification(fields: &Fields) -> Result<(), RpcError> {
    match one(fields, VERSION_HEADER)? {
        Some(version) if !MODERN.contains(&version) && !LEGACY.contains(&version) => {
            Err(RpcError::Version(version.chars().take(64).collect()))
        }
        _ => Ok(()),
    }
}

/// The version that `initialize` is answered with: the client's, or the latest of those with a handshake.
pub fn negotiated(params: &Map<String, Value>) -> &'static str {
    let asked = front::json::text(params, "protocolVersion");
    let known = LEGACY.into_iter().find(|it| Some(*it) == asked);
    known.unwrap_or(LEGACY[0])
}

fn modern(fields: &Fields, header: Option<&str>, request: &Request) -> Result<(), RpcError> {
    let missing = |key: &str| RpcError::Params(format!("params._meta has no `{key}`"));
    let meta = request.meta().ok_or_else(|| missing(VERSION_KEY))?;
    let version = meta.get(VERSION_KEY).ok_or_else(|| missing(VERSION_KEY))?;
    if !meta.get(CAPABILITIES_KEY).is_some_and(Value::is_object) {
        return Err(missing(CAPABILITIES_KEY));
    }
    let version = version.as_str().unwrap_or_default();
    if header != Some(version) {
        return Err(differs("MCP-Protocol-Version", "params._meta"));
    }
    if one(fields, METHOD_HEADER)? != Some(&*request.method) {
        return Err(differs("Mcp-Method", "method"));
    }
    if let Some(name) = name(&request.method, &request.params) {
        let header = one(fields, NAME_HEADER)?.and_then(decoded);
        if header.as_deref() != Some(name) {
            return Err(differs("Mcp-Name", "params"));
        }
    }
    match MODERN.contains(&version) {
        true => Ok(()),
        false => Err(RpcError::Version(version.chars().take(64).collect())),
    }
}

/// What a request is about, as the header for it says: the name of a tool or a prompt, or the URI of a resource.
pub fn name<'a>(method: &str, params: &'a Map<String, Value>) -> Option<&'a str> {
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    front::json::text(params, key)
}

/// A name as a header holds it.
pub fn encoded(name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_graphic() || b == b' ';
    let is_trimmed = name.trim() == name;
    match name.bytes().all(is_plain) && is_trimmed && !name.starts_with(WRAPPED) {
        true => name.to_owned(),
        false => format!("{WRAPPED}{}?=", STANDARD.encode(name)),
    }
}

fn differs(header: &str, member: &str) -> RpcError {
    RpcError::Header(format!("{header} is not what `{member}` of the body says"))
}

/// A header that stands there once at most: of two, two readers may take different ones.
fn one<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, RpcError> {
    let found = fields.one(name);
    found.map_err(|_| RpcError::Header(format!("{name} stands there more than once")))
}

/// The value of a header that may be wrapped: `=?base64?…?=` stands for what no header can hold.
fn decoded(value: &str) -> Option<String> {
    let inner = value.strip_prefix(WRAPPED);
    let Some(inner) = inner.and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(method: &str, params: Value) -> Request {
        Request {
            id: json!(1),
            method: method.to_owned(),
            params: params.as_object().unwrap().clone(),
        }
    }

    fn meta(version: &str) -> Value {
        json!({VERSION_KEY: version, CAPABILITIES_KEY: {}})
    }

    fn asked(headers: &[(&str, &str)], request: &Request) -> Result<Era, i32> {
        of_request(&Fields::of(headers), request).map_err(|error| error.code())
    }

    #[test]
    fn without_a_version_or_with_an_older_one_it_is_the_older_way() {
        let list = request("tools/list", json!({}));
        assert_eq!(asked(&[], &list), Ok(Era::Legacy));
        for version in LEGACY {
            assert_eq!(asked(&[(VERSION_HEADER, version)], &list), Ok(Era::Legacy));
        }
        assert_eq!(asked(&[(VERSION_HEADER, "1999-01-01")], &list), Err(-32022));
        assert_eq!(asked(&[(VERSION_HEADER, MODERN[0])], &list), Err(-32602));
    }

    #[test]
    fn headers_and_body_have_to_agree() {
        let call = request("tools/call", json!({"name": "a", "_meta": meta(MODERN[0])}));
        let version = (VERSION_HEADER, MODERN[0]);
        let method = (METHOD_HEADER, "tools/call");
        let name = (NAME_HEADER, "a");
        assert_eq!(asked(&[version, method, name], &call), Ok(Era::Modern));
        let wrapped = (NAME_HEADER, "=?base64?YQ==?=");
        assert_eq!(asked(&[version, method, wrapped], &call), Ok(Era::Modern));
        for headers in [
            &[method, name][..],
            &[version, name],
            &[version, method],
            &[version, method, (NAME_HEADER, "b")],
            &[version, method, (NAME_HEADER, "=?base64?!?=")],
            &[version, (METHOD_HEADER, "tools/list"), name],
            &[(VERSION_HEADER, LEGACY[0]), method, name],
            &[version, version, method, name],
            &[version, method, name, name],
        ] {
            assert_eq!(asked(headers, &call), Err(-32020), "{headers:?}");
        }
    }

    #[test]
    fn a_version_that_is_not_spoken_is_told_with_those_that_are() {
        let list = request("tools/list", json!({"_meta": meta("2099-01-01")}));
        let headers = [
            (VERSION_HEADER, "2099-01-01"),
            (METHOD_HEADER, "tools/list"),
        ];
        assert_eq!(asked(&headers, &list), Err(-32022));
        for params in [
            json!({"_meta": {VERSION_KEY: MODERN[0]}}),
            json!({"_meta": {CAPABILITIES_KEY: {}}}),
            json!({"_meta": {VERSION_KEY: MODERN[0], CAPABILITIES_KEY: 1}}),
        ] {
            let list = request("tools/list", params);
            let headers = [(VERSION_HEADER, MODERN[0]), (METHOD_HEADER, "tools/list")];
            assert_eq!(asked(&headers, &list), Err(-32602));
        }
    }

    #[test]
    fn a_handshake_gets_the_version_that_it_asked_for_or_the_latest() {
        let asks =
            |version: Value| negotiated(json!({"protocolVersion": version}).as_object().unwrap());
        assert_eq!(asks(json!("2025-06-18")), "2025-06-18");
        assert_eq!(asks(json!("2026-07-28")), "2025-11-25");
        assert_eq!(asks(json!(1)), "2025-11-25");
    }

    #[test]
    fn a_notification_is_taken_in_any_version_that_is_spoken() {
        assert!(of_notification(&Fields::of(&[])).is_ok());
        assert!(of_notification(&Fields::of(&[(VERSION_HEADER, MODERN[0])])).is_ok());
        assert!(of_notification(&Fields::of(&[(VERSION_HEADER, "x")])).is_err());
    }

    proptest! {
        #[test]
        fn any_name_is_read_back_from_its_header(name in ".{0,40}") {
            let header = encoded(&name);
            prop_assert!(header.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            prop_assert_eq!(decoded(header.trim()), Some(name));
        }

        #[test]
        fn any_headers_are_judged(version in ".{0,20}", method in ".{0,20}", name in "(=\\?base64\\?)?.{0,20}(\\?=)?") {
            let call = request("tools/call", json!({"name": name, "_meta": meta(&version)}));
            let fields = Fields::of(&[(VERSION_HEADER, &version), (METHOD_HEADER, &method), (NAME_HEADER, &name)]);
            let _ = of_request(&fields, &call);
        }
    }
}
