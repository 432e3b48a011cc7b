//! The nearest known key to a misspelt one.

use super::check::shown;
use crate::error::ManifestError;

/// Every key of a manifest. Below `environment` any is known.
const KEYS: [&str; 21] = [
    "name",
    "description",
    "version",
    "world",
    "skills",
    "private",
    "price",
    "pay_to",
    "media_type",
    "reuse",
    "outgoing",
    "environment",
    "limits",
    "limits.cpu",
    "limits.wall",
    "limits.memory",
    "limits.output",
    "tool",
    "tool.description",
    "tool.path",
    "tool.input_schema",
];

/// The refusal of a key.
pub(super) fn error(key: &str) -> ManifestError {
    let key = shown(key);
    let nearest = nearest(&key);
    ManifestError::UnknownKey(key, nearest)
}

/// The known key nearest to `key`, unless nothing is near.
fn nearest(key: &str) -> Option<&'static str> {
    /// Below this similarity (0 to 1) a suggestion would be a guess.
    const NEAR: f64 = 0.6;
    KEYS.into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(key, known), known))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
