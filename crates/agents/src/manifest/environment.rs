//! `[environment]`: variables, whose values may be secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use zeroize::Zeroize;

use super::check::{shown, wrong};
use crate::error::ManifestError;

/// Most variables.
pub const MAX_VARIABLES: usize = 64;

/// Most bytes of all names and values together.
pub const MAX_ENVIRONMENT: usize = 32 << 10;

/// The environment variables of an agent, by name. Values are erased on drop and not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The operator's own, who may say what they like.
    pub fn of(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }

    /// Takes the variables out of a table, and checks their bounds. No message holds a value.
    pub(super) fn read(value: Option<toml::Value>) -> Result<Self, ManifestError> {
        let mut environment = Self::default();
        let table = match value {
            None => return Ok(environment),
            Some(toml::Value::Table(table)) => table,
            Some(_) => return Err(wrong("environment", "it must be a table of variables")),
        };
        if table.len() > MAX_VARIABLES {
            let message = format!("{} variables, at most {MAX_VARIABLES}", table.len());
            return Err(wrong("environment", message));
        }
        let mut length: usize = 0;
        for (name, value) in table {
            let key = || format!("environment.{}", shown(&name));
            if !is_variable(&name) {
                let message = "a variable's name is a letter or _, then letters, digits and _";
                return Err(wrong(key(), message));
            }
            let toml::Value::String(value) = value else {
                return Err(wrong(key(), "it must be a string"));
            };
            // A variable ends at it in C, and what follows would be lost without a word.
            if value.contains('\0') {
                return Err(wrong(key(), "it holds the character NUL"));
            }
            length = length
                .saturating_add(name.len())
                .saturating_add(value.len());
            environment.0.insert(name, value);
        }
        if length > MAX_ENVIRONMENT {
            let message = format!("{length} bytes together, at most {MAX_ENVIRONMENT}");
            return Err(wrong("environment", message));
        }
        Ok(environment)
    }
}

/// `[A-Za-z_][A-Za-z0-9_]*`
fn is_variable(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|b| is_letter(b) || b.is_ascii_digit())
}

impl Deref for Environment {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Environment {
    /// The names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}
