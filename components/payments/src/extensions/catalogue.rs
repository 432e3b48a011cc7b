//! What is sold here, as lists of it are read: `/.well-known/x402` and `/discovery/resources`.

use serde_json::{Map, Value, json};

use crate::catalogue_api::{Item, Page};
use crate::error::Error;
use crate::extensions::bazaar;
use crate::offer::Resource;
use crate::offered::{self, Offered};
use crate::time::instant;

/// Where a host says what it sells: the path that is in use, and the one of the draft.
const WELL_KNOWN: [&str; 2] = ["/.well-known/x402", "/.well-known/x402.json"];
/// Where the bazaar's clients ask for lists.
const DISCOVERY: &str = "/discovery/resources";
/// Items on a page, where the request does not say, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Where there is something to be seen.
pub fn paths() -> Vec<String> {
    let [now, draft] = WELL_KNOWN;
    [now, draft, DISCOVERY].map(str::to_owned).to_vec()
}

/// One item, checked.
struct Listed {
    resource: Resource,
    terms: Vec<Offered>,
    updated: u64,
}

/// The part of the list that a query asks for.
struct Part {
    offset: usize,
    limit: usize,
    /// A kind of resource that is not sold here is asked for.
    is_of_another_kind: bool,
}

impl Part {
    /// Reads `limit`, `offset` and `type`. What is not a number is taken for not said.
    fn read(query: &str, usual: usize) -> Self {
        let said = |wanted: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(key, _)| *key == wanted)
                .map(|(_, value)| value)
        };
        let number = |wanted: &str| said(wanted).and_then(|text| text.parse().ok());
        Self {
            offset: number("offset").unwrap_or(0),
            limit: number("limit").unwrap_or(usual).clamp(1, LONGEST_PAGE),
            is_of_another_kind: said("type").is_some_and(|kind| kind != "http"),
        }
    }
}

/// What is to be seen at a path.
pub fn page(path: &str, query: &str, items: &[Item]) -> Result<Page, Error> {
    let is_discovery = path == DISCOVERY;
    let part = Part::read(query, if is_discovery { PAGE } else { LONGEST_PAGE });
    let items = if part.is_of_another_kind { &[] } else { items };
    let shown = items.iter().skip(part.offset).take(part.limit);
    // What cannot be described is not listed, and the others are.
    let shown: Vec<Listed> = shown.filter_map(|item| listed(item).ok()).collect();
    let mut body = json!({
        "x402Version": 2,
        "pagination": {"limit": part.limit, "offset": part.offset, "total": items.len()},
    });
    if let Some(members) = body.as_object_mut() {
        if is_discovery {
            members.insert("items".to_owned(), shown.iter().map(discovered).collect());
        } else {
            let urls = shown.iter().map(|it| it.resource.url());
            members.insert("version".to_owned(), 1.into());
            members.insert("resources".to_owned(), urls.collect());
            let newest = items.iter().map(|item| item.updated).max();
            members.insert("lastUpdated".to_owned(), newest.unwrap_or(0).into());
            members.insert("items".to_owned(), shown.iter().map(well_known).collect());
        }
    }
    Ok(Page {
        media_type: "application/json".to_owned(),
        body: serde_json::to_vec(&body)?,
    })
}

fn listed(item: &Item) -> Result<Listed, Error> {
    Ok(Listed {
        resource: Resource::new(&item.info)?,
        terms: offered::check(&item.offers)?,
        updated: item.updated,
    })
}

fn accepts(listed: &Listed) -> Value {
    listed.terms.iter().map(Offered::v2).collect()
}

/// As `/.well-known/x402` has it: the resource in full, and how it is called.
fn well_known(listed: &Listed) -> Value {
    let mut item = json!({
        "resource": listed.resource.v2(),
        "type": "http",
        "accepts": accepts(listed),
    });
    if let Some(members) = item.as_object_mut() {
        let input = bazaar::input(&listed.resource);
        members.extend(input.map(|input| ("input".to_owned(), input)));
        let media_type = listed.resource.mime_type();
        members.extend(media_type.map(|it| ("output".to_owned(), json!({"mimeType": it}))));
    }
    item
}

/// As `/discovery/resources` has it: the resource's members beside its offers.
fn discovered(listed: &Listed) -> Value {
    let mut members = match listed.resource.v2() {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    members.remove("url");
    let mut add = |key: &str, value: Value| members.insert(key.to_owned(), value);
    add("resource", listed.resource.url().into());
    add("type", "http".into());
    add("x402Version", 2.into());
    add("accepts", accepts(listed));
    add("lastUpdated", instant(listed.updated).into());
    if let Some(declared) = bazaar::declared(&listed.resource) {
        add("extensions", json!({bazaar::NAME: declared}));
    }
    Value::Object(members)
}
