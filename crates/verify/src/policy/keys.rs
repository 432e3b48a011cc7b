//! Unknown keys of a policy file, with the nearest known one.

use crate::error::PolicyError;

/// The file that has every key, which is the list of them.
pub(super) const REFERENCE: &str = include_str!("../../policy/reference.toml");

/// Keys that the reference can not have beside the others.
const OTHERS: [&str; 1] = ["roots.simulated"];

/// Below this similarity (0 to 1) a suggestion would be a guess.
const NEAR: f64 = 0.6;

/// Every dotted key path of a table; elements of lists share their list's path.
pub(super) fn paths(table: &toml::Table) -> Vec<String> {
    let mut paths = Vec::new();
    collect(table, "", &mut paths);
    paths.sort();
    paths.dedup();
    paths
}

fn collect(table: &toml::Table, prefix: &str, paths: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        descend(value, &path, paths);
        paths.push(path);
    }
}

fn descend(value: &toml::Value, path: &str, paths: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => collect(table, path, paths),
        toml::Value::Array(list) => {
            for element in list {
                descend(element, path, paths);
            }
        }
        _ => {}
    }
}

/// Refuses the first key that the reference does not have.
pub(super) fn check(table: &toml::Table) -> Result<(), PolicyError> {
    let reference: toml::Table = REFERENCE.parse().map_err(|error| PolicyError::Invalid {
        reason: format!("the reference of keys can not be read: {error}"),
    })?;
    let mut known = paths(&reference);
    known.extend(OTHERS.map(str::to_owned));
    let Some(unknown) = paths(table).into_iter().find(|path| !known.contains(path)) else {
        return Ok(());
    };
    let hint = nearest(&unknown, known.iter().map(String::as_str)).map_or_else(
        || "; see policy/reference.toml for every key".to_owned(),
        |near| format!("; did you mean `{near}`?"),
    );
    Err(PolicyError::Invalid {
        reason: format!("unknown key `{unknown}`{hint}"),
    })
}

/// Refuses the first value of a list that is not among those that are known.
pub(super) fn known(
    key: &str,
    values: &[String],
    what: &str,
    names: &[&str],
) -> Result<(), PolicyError> {
    let Some(unknown) = values.iter().find(|value| !names.contains(&value.as_str())) else {
        return Ok(());
    };
    let hint = nearest(unknown, names.iter().copied())
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(PolicyError::Invalid {
        reason: format!("`{key}` names `{unknown}`, which is no {what}{hint}"),
    })
}

/// The nearest of some names, unless nothing is near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
