//! Contents of each kind.

use serde_json::{Value, json};

/// A red dot, as PNG.
pub const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// No sound, as WAV.
const AUDIO: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

pub fn text(text: impl Into<String>) -> Value {
    json!({"type": "text", "text": text.into()})
}

pub fn image() -> Value {
    json!({"type": "image", "data": IMAGE, "mimeType": "image/png"})
}

pub fn audio() -> Value {
    json!({"type": "audio", "data": AUDIO, "mimeType": "audio/wav"})
}

pub fn resource(uri: &str, media_type: &str, text: &str) -> Value {
    json!({"type": "resource", "resource": {"uri": uri, "mimeType": media_type, "text": text}})
}
