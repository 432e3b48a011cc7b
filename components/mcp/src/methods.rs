//! The methods of MCP that there are: those about tools, and how a client gets to know the server.

use front::ports::Ports;
use front::words::words;
use serde_json::{Map, Value, json};

use crate::error::RpcError;
use crate::message::Request;
use crate::settings::Settings;
use crate::tools;
use crate::version::{Era, MODERN, negotiated};

/// How long a client may keep what it was told of the server, and of the tools: agents come and go.
const TTL_DISCOVER_MS: u64 = 3_600_000;
const TTL_TOOLS_MS: u64 = 60_000;

/// The result of a request.
pub fn result(
    ports: &impl Ports,
    settings: &Settings,
    era: Era,
    mut request: Request,
) -> Result<Value, RpcError> {
    let method = request.method.clone();
    let result = match (&*method, era) {
        ("server/discover", Era::Modern) => cached(
            json!({
                "supportedVersions": MODERN,
                "capabilities": capabilities(),
                "instructions": settings.instructions,
            }),
            TTL_DISCOVER_MS,
        ),
        ("initialize", Era::Legacy) => members(json!({
            "protocolVersion": negotiated(&request.params),
            "capabilities": capabilities(),
            "serverInfo": server_info(),
            "instructions": settings.instructions,
        })),
        ("ping", Era::Legacy) => Map::new(),
        ("tools/list", era) => {
            // All are on the first page, and no cursor was given out.
            if request.params.get("cursor").is_some_and(|it| !it.is_null()) {
                return Err(RpcError::Params("there is no such cursor".to_owned()));
            }
            let tools = json!({"tools": tools::list(ports, settings)});
            match era {
                Era::Modern => cached(tools, TTL_TOOLS_MS),
                Era::Legacy => members(tools),
            }
        }
        ("tools/call", _) => tools::call(ports, settings, &mut request)?.into_result(),
        _ => return Err(RpcError::Method(words(&method, 128))),
    };
    Ok(match era {
        Era::Modern => complete(result),
        Era::Legacy => result.into(),
    })
}

fn capabilities() -> Value {
    json!({"tools": {}})
}

fn server_info() -> Value {
    json!({"name": "hypervisor", "title": "Hypervisor", "version": env!("CARGO_PKG_VERSION")})
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn cached(value: Value, ttl_ms: u64) -> Map<String, Value> {
    let mut result = members(value);
    result.insert("ttlMs".to_owned(), ttl_ms.into());
    result.insert("cacheScope".to_owned(), "public".into());
    result
}

/// What each result has that is in a revision without a handshake.
fn complete(mut result: Map<String, Value>) -> Value {
    result.insert("resultType".to_owned(), "complete".into());
    let meta = result.entry("_meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert(
            "io.modelcontextprotocol/serverInfo".to_owned(),
            server_info(),
        );
    }
    result.into()
}
