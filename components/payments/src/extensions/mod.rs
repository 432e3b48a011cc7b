//! Extensions of version 2: what challenges declare of them, and what payments carry.

pub mod bazaar;
pub mod catalogue;
pub mod identifier;
pub mod receipt;

use serde_json::{Map, Value};

use crate::offer::Resource;
use crate::settings::Settings;

/// `extensions` of a challenge.
pub fn declared(settings: &Settings, resource: &Resource) -> Map<String, Value> {
    let identifier = identifier::declared(settings.identifier).map(|it| (identifier::NAME, it));
    let bazaar = bazaar::declared(resource).map(|it| (bazaar::NAME, it));
    let declared = [identifier, bazaar].into_iter().flatten();
    declared
        .map(|(name, declared)| (name.to_owned(), declared))
        .collect()
}
