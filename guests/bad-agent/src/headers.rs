//! Heads that are too large, wrong, or do not fit the body.

use http_kit::{Error, header_error_name, json, respond};
use serde_json::{Value, json};
use wasip2::http::types::{Fields, ResponseOutparam};

/// What no host should let into a response.
const BAD: &[(&str, &str)] = &[
    ("x-split", "one\r\nx-injected: two"),
    ("x-newline", "one\ntwo"),
    ("x-zero", "one\0two"),
    ("x-name with spaces", "value"),
    ("x-name:colon", "value"),
    ("", "value"),
    ("connection", "close"),
    ("keep-alive", "timeout=5"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "websocket"),
    ("host", "example.org"),
    ("proxy-connection", "keep-alive"),
    ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
];

/// A thousand header fields, each with a value of so many bytes.
pub fn thousand(out: ResponseOutparam, bytes: u64) -> Result<(), Error> {
    let value = "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX));
    let names: Vec<String> = (0..1000).map(|index| format!("x-header-{index}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), &*value)).collect();
    respond(out, 200, &headers, b"a thousand headers\n")
}

/// Tries each of [`BAD`] on header fields of its own.
pub fn bad(out: ResponseOutparam) -> Result<(), Error> {
    let tried: Vec<Value> = BAD
        .iter()
        .map(|(name, value)| {
            let said = match Fields::new().append(name, value.as_bytes()) {
                Ok(()) => "ok",
                Err(error) => header_error_name(&error),
            };
            json!({ "name": name, "value": value, "said": said })
        })
        .collect();
    json(out, 200, &tried)
}

/// A page that speaks for the whole origin, as far as a browser believes it.
pub fn origin(out: ResponseOutparam) -> Result<(), Error> {
    let headers = [
        ("content-type", "text/html"),
        ("service-worker-allowed", "/"),
        ("set-cookie", "a=b; Path=/; Domain=example.org; HttpOnly"),
        ("set-cookie", "__Host-c=d; Path=/; Secure"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=1"),
        ("alt-svc", "h2=\"evil.example:443\""),
        ("nel", "{}"),
        ("report-to", "{}"),
        ("x-own", "stays"),
    ];
    respond(out, 200, &headers, b"<!doctype html>\n")
}

/// A body of ten bytes that is declared to be longer, or shorter.
pub fn wrong_length(out: ResponseOutparam, declared: u64) -> Result<(), Error> {
    respond(
        out,
        200,
        &[("content-length", &declared.to_string())],
        b"ten bytes\n",
    )
}
