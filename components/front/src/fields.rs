//! Header fields, as they came.

/// A field that may stand there once stands there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it stands there more than once")]
pub struct Repeated;

/// The fields of a request or a response: names in lower case, values that are text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Those with these names and values; a value that is not UTF-8 is left out.
    pub fn new(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let text = |(name, value): (String, Vec<u8>)| {
            let value = String::from_utf8(value).ok()?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Self(entries.into_iter().filter_map(text).collect())
    }

    /// Those with these names and values.
    pub fn of(entries: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Self::new(entries.iter().map(owned))
    }

    /// The first value under a name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The value under a name, where there is one; an error where there are more.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        match *self.all(name) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(Repeated),
        }
    }

    /// All values under a name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(own, _)| own == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The media type of `content-type`, without parameters and in lower case.
pub fn essence(value: &str) -> String {
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_any_case_of_their_names() {
        let fields = Fields::of(&[("Accept", " a "), ("accept", "b"), ("x", "c")]);
        assert_eq!(fields.first("accept"), Some("a"));
        assert_eq!(fields.one("accept"), Err(Repeated));
        assert_eq!(fields.one("x"), Ok(Some("c")));
        assert_eq!(fields.one("y"), Ok(None));
        let binary = Fields::new([("x".to_owned(), vec![0xff])]);
        assert_eq!(binary.first("x"), None);
    }

    #[test]
    fn the_essence_of_a_media_type_has_no_parameters() {
        assert_eq!(
            essence("Application/JSON ; charset=utf-8"),
            "application/json"
        );
        assert_eq!(essence(""), "");
    }
}
