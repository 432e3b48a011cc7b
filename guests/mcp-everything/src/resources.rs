//! Resources.

use serde_json::{Value, json};

use crate::Refusal;
use crate::kinds::IMAGE;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
/// What stands around the variable of the template.
const TEMPLATE: (&str, &str) = ("test://template/", "/data");

pub fn list() -> Value {
    json!([
        {"uri": TEXT, "name": "static-text", "description": "A text", "mimeType": "text/plain"},
        {"uri": BINARY, "name": "static-binary", "description": "An image", "mimeType": "image/png"},
    ])
}

pub fn templates() -> Value {
    let (before, behind) = TEMPLATE;
    let uri = format!("{before}{{id}}{behind}");
    json!([{"uriTemplate": uri, "name": "template", "description": "Data by its id", "mimeType": "application/json"}])
}

pub fn read(uri: &Value) -> Result<Value, Refusal> {
    let unknown = || Refusal::unknown("there is no such resource", json!({"uri": uri}));
    let content = match uri.as_str().ok_or_else(unknown)? {
        TEXT => {
            json!({"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."})
        }
        BINARY => json!({"uri": uri, "mimeType": "image/png", "blob": IMAGE}),
        other => {
            let (before, behind) = TEMPLATE;
            let id = other
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(behind));
            let id = id.ok_or_else(unknown)?;
            let data =
                json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            json!({"uri": uri, "mimeType": "application/json", "text": data.to_string()})
        }
    };
    Ok(json!({"contents": [content], "ttlMs": 1000, "cacheScope": "public"}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_read_by_its_uri_or_by_the_template() {
        for resource in list().as_array().unwrap() {
            assert!(read(&resource["uri"]).is_ok());
        }
        let read_one = |uri: &str| read(&json!(uri)).ok();
        let data = read_one("test://template/7/data").unwrap();
        assert!(
            data["contents"][0]["text"]
                .as_str()
                .unwrap()
                .contains("ID: 7")
        );
        assert!(read_one("test://other").is_none());
        assert!(read(&json!(1)).is_err());
    }
}
