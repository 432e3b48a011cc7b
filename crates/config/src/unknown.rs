//! The nearest known configuration key to a misspelt one.

use crate::Config;

/// Every dotted key path of a table, sorted.
pub(crate) fn key_paths(table: &toml::Table) -> Vec<String> {
    let mut paths = Vec::new();
    collect(table, "", &mut paths);
    paths.sort();
    paths
}

fn collect(table: &toml::Table, prefix: &str, paths: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        if let toml::Value::Table(inner) = value {
            collect(inner, &path, paths);
        }
        paths.push(path);
    }
}

/// The known key nearest to `key`, unless nothing is near.
pub(crate) fn nearest_key(key: &str, defaults: &Config) -> Option<String> {
    /// Below this similarity (0 to 1) a suggestion would be a guess.
    const NEAR: f64 = 0.6;
    let known = toml::Table::try_from(defaults).ok()?;
    key_paths(&known)
        .into_iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(key, &candidate),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
