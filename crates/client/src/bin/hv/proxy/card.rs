//! Cards of A2A: where an agent is found, which for clients of this command is here and not at the host.
//!
//! A client goes where the card sends it, and that would be past the seal. A signature over the card does not hold for what was put in its
//! place: it is taken out, and what vouches for the card here is that the host was verified and the answer sealed.

use http::Method;
use http::uri::{Authority, Uri};
use serde_json::Value;
use url::Url;

const PLACE: &str = "/.well-known/agent-card.json";
/// Bytes of a card.
const LARGEST: usize = 1 << 20;

/// Whether a request is for a card.
pub(super) fn is_at(method: &Method, path: &str) -> bool {
    *method == Method::GET && path.ends_with(PLACE)
}

/// The card with its interfaces at `here`: those at the host, and those below what the card is of. None where there is nothing to put in
/// place of another.
pub(super) fn at(card: &[u8], path: &str, server: &str, here: &Authority) -> Option<Vec<u8>> {
    if card.len() > LARGEST {
        return None;
    }
    let mut card: Value = serde_json::from_slice(card).ok()?;
    let base = path.strip_suffix(PLACE)?;
    let host = Url::parse(server).ok()?;
    let interfaces = card.get_mut("supportedInterfaces")?.as_array_mut()?;
    let mut is_other = false;
    for interface in interfaces {
        let Some(Value::String(url)) = interface.get_mut("url") else {
            continue;
        };
        if let Some(local) = local(url, base, &host, here) {
            *url = local;
            is_other = true;
        }
    }
    if !is_other {
        return None;
    }
    card.as_object_mut()?.remove("signatures");
    serde_json::to_vec(&card).ok()
}

fn local(url: &str, base: &str, host: &Url, here: &Authority) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    let is_host = parsed.origin() == host.origin();
    let below = parsed
        .path()
        .strip_prefix(base)
        .filter(|_| !base.is_empty());
    let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !is_host && !is_below {
        return None;
    }
    // A host below a path of its server's is asked at its own paths here.
    let path = parsed.path();
    let path = match is_host {
        true => path
            .strip_prefix(host.path().trim_end_matches('/'))
            .unwrap_or(path),
        false => path,
    };
    let target = match parsed.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let local = Uri::builder().scheme("http").authority(here.clone());
    Some(local.path_and_query(target).build().ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const HERE: &str = "127.0.0.1:8090";

    fn interfaces(path: &str, server: &str, urls: &[&str]) -> Option<(Vec<String>, Value)> {
        let urls: Vec<_> = urls.iter().map(|url| json!({ "url": url })).collect();
        let card = json!({ "name": "n", "supportedInterfaces": urls, "signatures": [{}] });
        let card = at(
            card.to_string().as_bytes(),
            path,
            server,
            &HERE.parse().unwrap(),
        )?;
        let card: Value = serde_json::from_slice(&card).unwrap();
        let urls = card["supportedInterfaces"].as_array().unwrap();
        let urls = urls.iter().map(|it| it["url"].as_str().unwrap().to_owned());
        Some((urls.collect(), card.clone()))
    }

    #[test]
    fn interfaces_of_the_host_are_found_here_and_others_where_they_are() {
        let (urls, card) = interfaces(
            "/a2a/weather/.well-known/agent-card.json",
            "https://host.example",
            &[
                "https://host.example/a2a/weather/",
                "https://other.example/x",
            ],
        )
        .unwrap();
        assert_eq!(
            urls,
            [
                "http://127.0.0.1:8090/a2a/weather/",
                "https://other.example/x"
            ]
        );
        assert_eq!(card.get("signatures"), None, "they do not hold any more");
        assert_eq!(card["name"], "n");
    }

    #[test]
    fn the_name_that_a_host_has_of_itself_may_be_another() {
        let (urls, _) = interfaces(
            "/a2a/weather/.well-known/agent-card.json",
            "http://127.0.0.1:8080",
            &[
                "https://host.example/a2a/weather",
                "https://host.example/a2a/weatherman",
            ],
        )
        .unwrap();
        assert_eq!(
            urls,
            [
                "http://127.0.0.1:8090/a2a/weather",
                "https://host.example/a2a/weatherman"
            ]
        );
    }

    #[test]
    fn a_host_below_a_path_is_at_the_root_here() {
        let (urls, _) = interfaces(
            PLACE,
            "https://one.example/host",
            &["https://one.example/host/a2a/x?tenant=a"],
        )
        .unwrap();
        assert_eq!(urls, ["http://127.0.0.1:8090/a2a/x?tenant=a"]);
    }

    #[test]
    fn what_is_no_card_of_this_host_is_left_as_it_is() {
        assert!(interfaces(PLACE, "https://host.example", &["https://other.example/"]).is_none());
        let here = HERE.parse().unwrap();
        for card in [
            "",
            "[]",
            "{}",
            r#"{"supportedInterfaces": {}}"#,
            r#"{"supportedInterfaces": [1, {"url": 2}]}"#,
        ] {
            assert_eq!(
                at(card.as_bytes(), PLACE, "https://host.example", &here),
                None
            );
        }
        assert!(
            is_at(&Method::GET, PLACE) && !is_at(&Method::POST, PLACE) && !is_at(&Method::GET, "/")
        );
    }

    proptest! {
        #[test]
        fn any_interface_leads_here_or_stays(url in "(https?://)?[a-z0-9.:@\\[\\]/?%#-]{0,60}", base in "/[a-z/]{0,8}") {
            let here: Authority = HERE.parse().unwrap();
            let host = Url::parse("https://host.example/").unwrap();
            if let Some(local) = local(&url, &base, &host, &here) {
                let local: Uri = local.parse().unwrap();
                prop_assert_eq!(local.authority(), Some(&here));
            }
        }
    }
}
