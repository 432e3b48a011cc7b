//! What the operator sets, by environment variables.

use crate::error::WrongVariable;
use crate::origin::{Origin, Reach};

/// Seconds that a request may take where the operator says nothing: a little less than the wall-clock time that a host gives it then.
const TIMEOUT_SECONDS: u64 = 55;
const MOST_SECONDS: u64 = 24 * 3600;

/// The variables of one component; empty ones count as missing.
pub struct Variables<F>(pub F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    /// The text of one.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// A number up to `most`.
    pub fn number(
        &self,
        name: &'static str,
        default: u64,
        most: u64,
    ) -> Result<u64, WrongVariable> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse() {
                Ok(number) if number <= most => Ok(number),
                _ => Err(wrong(name, format!("is no number from 0 to {most}"))),
            },
        }
    }

    /// Milliseconds that a request may take, of the seconds in this variable.
    pub fn timeout_ms(&self, name: &'static str) -> Result<u64, WrongVariable> {
        let seconds = self.number(name, TIMEOUT_SECONDS, MOST_SECONDS)?;
        Ok(seconds.saturating_mul(1000))
    }

    /// Who may call: `PUBLIC_URL`, and the origins in the variable of this name.
    pub fn reach(&self, origins: &'static str) -> Result<Reach, WrongVariable> {
        let public = self.text("PUBLIC_URL").map(|url| {
            Origin::of_url(&url).ok_or_else(|| wrong("PUBLIC_URL", "is no URL of http or https"))
        });
        let listed = self.text(origins).unwrap_or_default();
        let listed = words(&listed)
            .map(Origin::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong(origins, "has something that is no origin"))?;
        Ok(Reach {
            public: public.transpose()?,
            origins: listed,
        })
    }
}

/// An error about the variable of this name.
pub fn wrong(name: &'static str, what: impl Into<String>) -> WrongVariable {
    WrongVariable {
        name,
        what: what.into(),
    }
}

/// What stands in a list, apart by spaces or commas.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t', '\n'])
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(
        name: &'static str,
        value: &'static str,
    ) -> Variables<impl Fn(&str) -> Option<String>> {
        Variables(move |asked: &str| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_empty_is_missing() {
        assert_eq!(variables("A", " ").text("A"), None);
        assert_eq!(variables("A", "").number("A", 7, 9), Ok(7));
    }

    #[test]
    fn a_request_may_take_as_long_as_the_operator_says() {
        assert_eq!(variables("A", "").timeout_ms("A"), Ok(55_000));
        assert_eq!(variables("A", "7").timeout_ms("A"), Ok(7_000));
        assert!(variables("A", "86401").timeout_ms("A").is_err());
    }

    #[test]
    fn a_mistake_names_its_variable_and_not_its_value() {
        let error = variables("A", "secret").number("A", 7, 9).unwrap_err();
        assert_eq!(error.to_string(), "A is no number from 0 to 9");
        let error = variables("A", "secret").reach("A").unwrap_err();
        assert_eq!(error.to_string(), "A has something that is no origin");
        let error = variables("PUBLIC_URL", "secret").reach("A").unwrap_err();
        assert_eq!(error.to_string(), "PUBLIC_URL is no URL of http or https");
    }

    #[test]
    fn lists_are_apart_by_spaces_or_commas() {
        let reach = variables("A", "https://a.example, http://b.example:8080").reach("A");
        assert_eq!(reach.unwrap().origins.len(), 2);
    }
}
