//! What a host says of what it sells.

use hypervisor_tests::agents::{owner, reference};
use hypervisor_tests::payments::official;
use serde_json::{Value, json};

use crate::payments::agents::COSTS;
use crate::payments::kit::Shop;

fn urls(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["resource"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_official_client_of_the_bazaar_finds_what_is_public_and_has_a_price_until_it_is_taken_down()
 {
    let shop = Shop::with("public_url = 'https://shop.example'");
    let seller = owner();
    let manifest = format!("{COSTS}\nmedia_type = 'text/plain'");
    shop.host
        .deploy(&seller, "http-hello", "http-hello", &manifest)
        .await;
    shop.host
        .deploy(&seller, "http-hello", "free-one", "")
        .await;
    shop.host
        .deploy(&seller, "http-echo", "secret-one", "private = true")
        .await;
    let everything = official::discover(shop.host.url(), &json!({})).await;
    let sealed = "https://shop.example/x402_execute/test/wasm";
    let agent = "https://shop.example/agents/http-hello/";
    let found = urls(&everything);
    assert!(
        found.contains(&sealed) && found.contains(&agent),
        "{found:?}"
    );
    assert!(
        !everything.to_string().contains("secret-one"),
        "{everything}"
    );
    assert!(!everything.to_string().contains("free-one"), "{everything}");
    let at = found.iter().position(|url| *url == agent).unwrap();
    let item = &everything["items"][at];
    assert_eq!(item["accepts"][0]["amount"], "20000");
    assert_eq!(item["mimeType"], "text/plain");
    let none: [&str; 0] = [];
    let declared = &item["extensions"];
    let identifier = json!({"info": {"required": false}});
    let judged = json!({"bazaar": declared["bazaar"], "payment-identifier": identifier});
    assert_eq!(official::problems(&judged).await, none);

    let total = everything["pagination"]["total"].as_u64().unwrap();
    let last = json!({"type": "http", "limit": 1, "offset": total - 1});
    let last = official::discover(shop.host.url(), &last).await;
    assert_eq!(urls(&last), [agent]);
    assert_eq!(
        last["pagination"],
        json!({"limit": 1, "offset": total - 1, "total": total})
    );

    for path in ["/.well-known/x402", "/.well-known/x402.json"] {
        let url = format!("{}{path}", shop.host.url());
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "public, max-age=60");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let page: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(
            page["resources"]
                .as_array()
                .unwrap()
                .contains(&agent.into())
        );
        let posted = reqwest::Client::new().post(&url).send().await.unwrap();
        assert_eq!(posted.status(), 405);
    }

    let session = shop.host.session().await;
    session
        .remove_agent(&reference("http-hello"), &seller)
        .await
        .unwrap();
    let after = official::discover(shop.host.url(), &json!({})).await;
    assert!(!urls(&after).contains(&agent));
}

#[tokio::test]
async fn a_host_that_sells_nothing_has_no_catalogue() {
    let host = hypervisor_tests::Host::start();
    let answer = reqwest::get(format!("{}/.well-known/x402", host.url())).await;
    assert_eq!(answer.unwrap().status(), 404);
}
