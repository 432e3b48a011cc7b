//! Extensions: what is declared of them, and what is read.

use serde_json::{Value, json};

use super::kit::{NOW, Purse, Shop, decode, usdc, valid};
use crate::api::Verification;
use crate::catalogue_api::Item;
use crate::challenge::challenge;
use crate::extensions::{catalogue, identifier};
use crate::payment;

const ID: &str = "pay_7d5d747be160e280504c099d984bcfe0";

fn purse(id: Value) -> Purse {
    let mut purse = Purse::new(&usdc());
    purse.edit = Box::new(move |payment| {
        payment["extensions"] = json!({identifier::NAME: {"info": {"required": false, "id": id}}});
    });
    purse
}

fn shop(policy: &str) -> Shop {
    let mut shop = Shop::new();
    shop.variables
        .push(("PAYMENT_IDENTIFIER", policy.to_owned()));
    shop
}

#[test]
fn an_identifier_is_read_as_the_payment_carries_it() {
    for (policy, found) in [
        (identifier::Policy::Optional, Some(ID)),
        (identifier::Policy::Required, Some(ID)),
        (identifier::Policy::Off, None),
    ] {
        let payment = payment::read(&purse(json!(ID)).v2()).unwrap().unwrap();
        assert_eq!(identifier::of(&payment, policy).unwrap(), found);
    }
}

#[test]
fn an_identifier_that_is_none_is_refused_as_malformed() {
    for id in [
        json!("fifteen-letters"),
        json!("a".repeat(129)),
        json!("with a space in it"),
        json!("ümlaute-sind-nichts"),
        json!(7),
        json!({"a": 1}),
    ] {
        let refusal = shop("optional").refused_offline(&purse(id.clone()).v2());
        assert_eq!(refusal.challenge.status, 400, "{id}");
    }
    let (read, _) = shop("off").verify(&purse(json!("short")).v2(), vec![valid()]);
    assert!(matches!(read, Ok(Verification::Authorized(_))));
}

#[test]
fn where_one_is_required_a_payment_without_is_answered_400() {
    let shop = shop("required");
    for headers in [Purse::new(&usdc()).v2(), purse(Value::Null).v2()] {
        let refusal = shop.refused_offline(&headers);
        assert_eq!(refusal.challenge.status, 400);
        assert!(refusal.message.unwrap().contains("payment-identifier"));
        let asked = decode(&refusal.challenge.headers, "payment-required");
        let declared = &asked["extensions"][identifier::NAME]["info"];
        assert_eq!(declared, &json!({"required": true}));
    }
    let (good, _) = shop.verify(&purse(json!(ID)).v2(), vec![valid()]);
    assert!(matches!(good, Ok(Verification::Authorized(_))));
    assert!(self::shop("sometimes").settings().is_err());
}

#[test]
fn what_the_host_says_of_an_agent_becomes_the_protocols_own_members() {
    let mut shop = Shop::new();
    let skills = json!(["a", "ä", "b", "x".repeat(33), "c", "d", "e", "f"]);
    let metadata = json!({"method": "GET", "name": "weather", "skills": skills});
    shop.info.metadata = Some(metadata.to_string());
    let settings = shop.settings().unwrap();
    let challenge = challenge(&settings, &shop.info, &shop.offers, NOW).unwrap();
    let asked = decode(&challenge.headers, "payment-required");
    let resource = &asked["resource"];
    assert_eq!(resource["serviceName"], "weather");
    assert_eq!(resource["tags"], json!(["a", "b", "c", "d", "e"]));
    assert_eq!(resource["method"], Value::Null);
    let info = &asked["extensions"]["bazaar"]["info"];
    assert_eq!(info["input"], json!({"type": "http", "method": "GET"}));
    assert_eq!(info["output"]["type"], "json");
}

fn listed(count: u64) -> Vec<Item> {
    let shop = Shop::new();
    let item = |at: u64| {
        let mut info = shop.info.clone();
        info.url = format!("https://host.example/agents/{at}/");
        info.metadata = Some(json!({"method": "POST"}).to_string());
        Item {
            info,
            offers: shop.offers.clone(),
            updated: at,
        }
    };
    (0..count).map(item).collect()
}

fn page(path: &str, query: &str, items: &[Item]) -> Value {
    let page = catalogue::page(path, query, items).unwrap();
    serde_json::from_slice(&page.body).unwrap()
}

#[test]
fn a_part_of_the_catalogue_is_chosen_by_its_query() {
    let items = listed(250);
    for (query, part, first, shown) in [
        ("", (100, 0), Some(0), 100),
        ("limit=20&offset=240", (20, 240), Some(240), 10),
        ("offset=250", (100, 250), None, 0),
        ("limit=0&offset=-1", (1, 0), Some(0), 1),
        ("limit=999999&type=http", (1000, 0), Some(0), 250),
        (
            "limit=18446744073709551616&offset=x",
            (100, 0),
            Some(0),
            100,
        ),
    ] {
        let page = page("/discovery/resources", query, &items);
        let (limit, offset) = part;
        let pagination = json!({"limit": limit, "offset": offset, "total": 250});
        assert_eq!(page["pagination"], pagination, "{query}");
        let found = page["items"].as_array().unwrap();
        assert_eq!(found.len(), shown, "{query}");
        let url = first.map(|at| format!("https://host.example/agents/{at}/"));
        let resource = found.first().map(|it| it["resource"].as_str().unwrap());
        assert_eq!(resource, url.as_deref());
    }
    let tools = page("/discovery/resources", "type=mcp", &items);
    assert_eq!(tools["pagination"]["total"], 0);
}

#[test]
fn one_that_cannot_be_described_hides_no_other() {
    let mut items = listed(3);
    items[0].info.description = Some("ü".repeat(2000));
    items[1].info.metadata = Some("no JSON".to_owned());
    let page = page("/discovery/resources", "", &items);
    let found = page["items"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["description"], "ü".repeat(1024));
}

#[test]
fn the_well_known_path_names_every_resource_and_how_it_is_called() {
    for path in ["/.well-known/x402", "/.well-known/x402.json"] {
        let page = page(path, "", &listed(2));
        assert_eq!(page["resources"].as_array().unwrap().len(), 2);
        assert_eq!(page["lastUpdated"], 1);
        let item = &page["items"][1];
        assert_eq!(item["resource"]["url"], page["resources"][1]);
        assert_eq!(item["input"]["method"], "POST");
        assert_eq!(item["output"]["mimeType"], "application/json");
        assert_eq!(item["accepts"][0]["amount"], "10000");
    }
}
