//! JSON-RPC 2.0, one message at a time.

use front::json;
use serde_json::{Map, Value, json};

use crate::error::RpcError;

/// The longest name of a method, and the longest id, in bytes.
const LONGEST: usize = 256;

/// What a client sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// It wants an answer.
    Request(Request),
    /// It wants none.
    Notification,
    /// It answers a request of the server's: its members.
    Response(Map<String, Value>),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What the answer is to carry: text or a whole number.
    pub id: Value,
    /// The method.
    pub method: String,
    /// Its parameters; empty where there are none.
    pub params: Map<String, Value>,
}

impl Request {
    /// `params._meta`, where it is an object.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.params.get("_meta").and_then(Value::as_object)
    }
}

impl Message {
    /// Reads the body of a POST.
    pub fn read(body: &[u8]) -> Result<Self, RpcError> {
        let members = match json::parse(body).map_err(RpcError::Parse)? {
            Value::Object(members) => members,
            Value::Array(_) => return Err(RpcError::Request("batches are not taken")),
            _ => return Err(RpcError::Request("the body has to be a JSON object")),
        };
        Self::of(members)
    }

    fn of(mut members: Map<String, Value>) -> Result<Self, RpcError> {
        if json::text(&members, "jsonrpc") != Some("2.0") {
            return Err(RpcError::Request("`jsonrpc` has to be \"2.0\""));
        }
        let is_response = members.contains_key("result") || members.contains_key("error");
        let method = match members.remove("method") {
            Some(Value::String(method)) if method.len() <= LONGEST && !is_response => method,
            None if is_response => return Ok(Self::Response(members)),
            _ => return Err(RpcError::Request("`method` has to be text")),
        };
        let params = match members.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(RpcError::Request("`params` has to be an object")),
        };
        let id = match members.remove("id") {
            None => return Ok(Self::Notification),
            Some(Value::String(id)) if id.len() <= LONGEST => Value::String(id),
            Some(Value::Number(id)) if !id.is_f64() => Value::Number(id),
            Some(_) => {
                return Err(RpcError::Request(
                    "`id` has to be text of at most 256 bytes or a whole number",
                ));
            }
        };
        Ok(Self::Request(Request { id, method, params }))
    }
}

/// The answer to the request with this id.
pub fn answer(id: &Value, result: Result<Value, &RpcError>) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error.to_value()}),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Message, RpcError> {
        Message::read(text.as_bytes())
    }

    #[test]
    fn a_request_has_an_id_and_a_notification_none() {
        let text = r#"{"jsonrpc":"2.0","id":"a","method":"ping","params":{"_meta":{"b":1}}}"#;
        let Ok(Message::Request(request)) = read(text) else {
            panic!("{text}");
        };
        assert_eq!((&request.id, &*request.method), (&json!("a"), "ping"));
        assert_eq!(request.meta(), json!({"b": 1}).as_object());
        let text = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(read(text), Ok(Message::Notification));
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(matches!(read(text), Ok(Message::Response(it)) if it["id"] == 1));
    }

    #[test]
    fn what_is_no_single_message_is_refused() {
        for text in [
            "1",
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":1}"#,
        ] {
            assert!(matches!(read(text), Err(RpcError::Request(_))), "{text}");
        }
        assert!(matches!(read("{"), Err(RpcError::Parse(_))));
    }

    #[test]
    fn an_answer_has_the_id_and_one_of_result_and_error() {
        assert_eq!(
            answer(&json!(1), Ok(json!({}))),
            json!({"jsonrpc": "2.0", "id": 1, "result": {}})
        );
        let error = RpcError::Version("1".to_owned());
        assert_eq!(
            answer(&Value::Null, Err(&error)),
            json!({"jsonrpc": "2.0", "id": null, "error": {
                "code": -32022, "message": "Unsupported protocol version",
                "data": {"supported": ["2026-07-28"], "requested": "1"},
            }})
        );
    }

    proptest! {
        #[test]
        fn any_member_of_any_kind_is_read_or_refused(
            id in "(1|-1|\"a\"|null|\\[\\]|1\\.5|true)", method in "(1|\"[a-z/]{0,8}\"|null|\\{\\})",
            params in "(1|\\[\\]|null|\\{\\}|\\{\"_meta\":1\\}|\\{\"_meta\":\\{\\}\\})",
        ) {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#);
            if let Ok(Message::Request(request)) = read(&text) {
                let _ = request.meta();
                prop_assert!(request.id.is_string() || request.id.is_i64());
            }
        }
    }
}
