//! Finding agents by what they do.

use hypervisor_client::protocol::{AgentInfo, Found, SearchResponse};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{owner, reference};
use hypervisor_tests::programs::component;
use hypervisor_tests::raw::post;

/// A command that compiles at once.
fn small() -> Vec<u8> {
    component(r#"(func (export "run") (result i32) (i32.const 0))"#)
}

fn manifest(name: &str, description: &str, more: &str) -> String {
    format!("name = '{name}'\ndescription = '{description}'\nversion = '1.0.0'\n{more}\n")
}

/// Deploys an agent with words to be found by.
async fn deployed(host: &Host, name: &str, description: &str, more: &str) -> AgentInfo {
    let manifest = manifest(name, description, more);
    let deployed = host.try_deploy(&owner(), &small(), &manifest).await;
    deployed.unwrap().info
}

/// Puts one into the registry.
fn registered(host: &Host, name: &str, description: &str, more: &str) {
    host.register(name, &small(), &manifest(name, description, more));
}

async fn search(host: &Host, text: &str, limit: Option<u32>) -> SearchResponse {
    host.client().search(text, limit).await.unwrap()
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|agent| agent.name.as_str()).collect()
}

#[tokio::test]
async fn agents_are_ranked_with_the_best_in_the_message() {
    let host = Host::start();
    deployed(
        &host,
        "tourist",
        "Plans trips by train, in any weather.",
        "",
    )
    .await;
    deployed(
        &host,
        "umbrella",
        "Says whether to take one.",
        "skills = ['weather', 'rain']",
    )
    .await;
    deployed(&host, "weather", "Tells the forecast of a city.", "").await;
    deployed(&host, "sums", "Adds up numbers.", "").await;
    let answer = search(&host, "What will the weather be?", None).await;
    assert_eq!(answer.message, "weather");
    assert_eq!(names(&answer.agents), ["weather", "umbrella", "tourist"]);
    let scores: Vec<f64> = answer.agents.iter().map(|agent| agent.score).collect();
    assert!(scores.iter().all(|score| *score > 0.0), "{scores:?}");
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[tokio::test]
async fn what_is_found_is_said_in_full_deployed_or_not() {
    let host = Host::start();
    registered(
        &host,
        "rain",
        "Tells of rain.",
        "skills = ['drizzle']\nprice = '0.01 USDC'",
    );
    let info = deployed(&host, "drizzle", "Tells of rain.", "").await;
    let answer = search(&host, "drizzle", None).await;
    assert_eq!(names(&answer.agents), ["drizzle", "rain"]);
    let [deployed, registered] = answer.agents.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(deployed.address, info.address);
    assert!(deployed.deployed && deployed.price.is_none());
    assert_eq!(registered.address, "rain.operator");
    assert_eq!(registered.description, "Tells of rain.");
    assert_eq!(registered.version, "1.0.0");
    assert_eq!(registered.skills, ["drizzle"]);
    assert_eq!(registered.price.as_deref(), Some("0.01 USDC"));
    assert!(!registered.deployed);
    assert_eq!(deployed.digest, info.digest);
    assert_eq!(registered.digest, info.digest);
}

#[tokio::test]
async fn an_agent_that_is_deployed_from_the_registry_is_found_once() {
    let host = Host::start();
    registered(&host, "weather", "Tells the weather.", "");
    for is_deployed in [false, true] {
        let answer = search(&host, "weather", Some(1)).await;
        assert_eq!(names(&answer.agents), ["weather"]);
        assert_eq!(answer.agents[0].deployed, is_deployed);
        host.client().deploy_registered("weather").await.unwrap();
    }
    let answer = search(&host, "weather", None).await;
    assert_eq!(names(&answer.agents), ["weather"]);
}

#[tokio::test]
async fn who_finds_nothing_is_told_so() {
    let host = Host::start();
    for text in ["weather", "", "   ", "!?"] {
        let answer = search(&host, text, None).await;
        assert_eq!(answer.message, "no agent found");
        assert!(answer.agents.is_empty());
    }
    deployed(&host, "sums", "Adds up numbers.", "").await;
    let answer = search(&host, "weather", None).await;
    assert_eq!(
        (answer.message.as_str(), answer.agents.len()),
        ("no agent found", 0)
    );
}

#[tokio::test]
async fn what_is_removed_or_replaced_is_found_no_more() {
    let host = Host::start();
    let owner = owner();
    let deploy = async |description| {
        let manifest = manifest("agent", description, "");
        host.try_deploy(&owner, &small(), &manifest).await.unwrap();
    };
    deploy("Tells the weather.").await;
    deploy("Adds up numbers.").await;
    assert!(search(&host, "weather", None).await.agents.is_empty());
    assert_eq!(search(&host, "numbers", None).await.message, "agent");
    let session = host.session().await;
    session
        .remove_agent(&reference("agent"), &owner)
        .await
        .unwrap();
    assert!(search(&host, "numbers", None).await.agents.is_empty());
}

#[tokio::test]
async fn private_agents_are_not_found_and_take_no_places() {
    let host = Host::start();
    for n in 0..5 {
        let name = format!("weather{n}");
        deployed(&host, &name, "weather weather weather", "private = true").await;
        let name = format!("weather-{n}");
        registered(&host, &name, "weather weather weather", "private = true");
    }
    registered(
        &host,
        "umbrella",
        "Says whether to take one in this weather.",
        "",
    );
    let answer = search(&host, "weather", Some(1)).await;
    assert_eq!(names(&answer.agents), ["umbrella"]);
    let answer = search(&host, "weather0", None).await;
    assert_eq!(answer.message, "no agent found");
}

#[tokio::test]
async fn agents_of_one_name_are_told_apart_by_their_addresses() {
    let host = Host::start();
    let one = deployed(&host, "weather", "Tells the weather.", "").await;
    let two = deployed(&host, "weather", "Tells the weather.", "").await;
    let answer = search(&host, "weather", None).await;
    let addresses: Vec<&str> = answer.agents.iter().map(|a| a.address.as_str()).collect();
    assert_eq!(addresses, [one.address, two.address]);
}

#[tokio::test]
async fn an_answer_has_as_many_agents_as_asked_for_and_ten_by_default() {
    let host = Host::start();
    for n in 0..120 {
        registered(&host, &format!("weather-{n}"), "Tells the weather.", "");
    }
    for (limit, count) in [
        (None, 10),
        (Some(0), 1),
        (Some(1), 1),
        (Some(30), 30),
        (Some(100), 100),
        (Some(u32::MAX), 100),
    ] {
        let answer = search(&host, "weather", limit).await;
        assert_eq!(answer.agents.len(), count, "{limit:?}");
        assert!(names(&answer.agents).contains(&answer.message.as_str()));
    }
}

#[tokio::test]
async fn the_language_of_the_index_means_nothing_in_a_query() {
    let host = Host::start();
    deployed(&host, "weather", "Tells the weather.", "").await;
    deployed(&host, "sums", "Adds up numbers.", "").await;
    for text in [
        "\"weather",
        "weather\"",
        "\"weather\" AND \"numbers\"",
        "weather AND",
        "NOT weather",
        "NEAR(weather",
        "NEAR(weather numbers, 2)",
        "name:weather",
        "{name skills}: weather",
        "- weather",
        "^weather",
        "weather*",
        "weather + ",
        "(((weather",
        "weather)))",
        "weather\0",
        "'; DROP TABLE agents; -- weather",
        "weather' OR 1=1 --",
        "\\weather",
        "%weather%",
        "weather 😀 \u{202e}",
    ] {
        let answer = search(&host, text, None).await;
        assert!(
            names(&answer.agents).contains(&"weather"),
            "{text:?}: {answer:?}"
        );
    }
    for text in [
        "weathe*", "weath", "\"", "*", "rowid:1", "a OR b", "()", "^", "\\",
    ] {
        let answer = search(&host, text, None).await;
        assert_eq!(answer.message, "no agent found", "{text:?}");
    }
    assert_eq!(search(&host, "numbers", None).await.message, "sums");
}

#[tokio::test]
async fn a_description_may_be_long_and_not_too_long() {
    let host = Host::start();
    deployed(&host, "weather", "Tells the weather.", "").await;
    let words = "weather ".repeat(1250);
    assert_eq!(search(&host, &words, None).await.message, "weather");
    let (http, url) = (reqwest::Client::new(), format!("{}/search", host.url()));
    let long = format!("{words}x");
    for (body, word) in [
        (format!(r#"{{"description": "{long}"}}"#), "`description`"),
        ("{}".to_owned(), "description"),
        (r#"{"description": 1}"#.to_owned(), ""),
        (r#"{"description": "x", "limit": -1}"#.to_owned(), ""),
        (r#"{"description": "x", "limti": 1}"#.to_owned(), "limti"),
        ("weather".to_owned(), ""),
    ] {
        let answer = post(&http, &url, "application/json", body.into_bytes()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "malformed-request")
        );
        assert!(answer.detail().contains(word), "{}", answer.detail());
    }
}
