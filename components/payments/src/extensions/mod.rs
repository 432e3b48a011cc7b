//! Extensions of version 2: what challenges declare of them, and what payments carry.

pub mod bazaar;
pub mod catalogue;
pub mod identifier;
pub mod receipt;
pub mod sign_in;

use serde_json::{Map, Value};

use crate::offer::Resource;
use crate::offered::Offered;
use crate::settings::Settings;

/// `extensions` of a challenge at the time `now`.
pub fn declared(
    settings: &Settings,
    resource: &Resource,
    terms: &[Offered],
    now: u64,
) -> Map<String, Value> {
    let identifier = identifier::declared(settings.identifier).map(|it| (identifier::NAME, it));
    let bazaar = bazaar::declared(resource).map(|it| (bazaar::NAME, it));
    let sign_in = sign_in::declared(settings, resource, terms, now).map(|it| (sign_in::NAME, it));
    let declared = [identifier, bazaar, sign_in].into_iter().flatten();
    declared
        .map(|(name, declared)| (name.to_owned(), declared))
        .collect()
}
