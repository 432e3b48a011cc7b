//! Names, owners and addresses: what is one and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;

use hypervisor_agents::{Address, Name, NameError, Owner};
use hypervisor_protocol::OwnerKey;
use proptest::prelude::*;

const ID: &str = "00112233445566778899aabbccddeeff";

fn name(text: &str) -> Result<Name, NameError> {
    text.parse()
}

#[test]
fn a_dns_label_is_a_name() {
    for text in ["a", "weather", "weather-2", "a--b", &"a".repeat(63)] {
        assert_eq!(name(text).unwrap().as_str(), text);
    }
}

#[test]
fn what_a_name_may_be_is_said() {
    let cases = [
        ("", "a name is empty; it has 1 to 63 of a-z, 0-9 and -"),
        ("Weather", "a name holds 'W'; it may hold a-z, 0-9 and -"),
        (
            "1st",
            "a name begins with '1'; it must begin with a letter, a-z",
        ),
        (
            "-a",
            "a name begins with '-'; it must begin with a letter, a-z",
        ),
        (
            "a-",
            "a name ends with a hyphen; it must end with a letter or a digit",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(name(text).unwrap_err().to_string(), message);
    }
    let long = name(&"a".repeat(64)).unwrap_err();
    assert_eq!(long.to_string(), "a name has 64 bytes; it may have 63");
}

#[test]
fn paths_encodings_and_look_alikes_are_no_names() {
    let refused = [
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "/a",
        "a/../b",
        "%61",
        "a%2fb",
        "a%00",
        "a\0",
        "a b",
        " a",
        "a ",
        "a\n",
        "a_b",
        "a.b",
        "a:b",
        "a@b",
        "~a",
        "а",
        "wеather",
        "ａ",
        "é",
        "e\u{301}",
        "a\u{200b}",
        "a\u{ad}",
        "ⅰ",
        "a‐b",
        "İ",
        "ß",
        "xn--é",
    ];
    for text in refused {
        assert!(name(text).is_err(), "{text:?}");
        assert!(format!("{text}.operator").parse::<Address>().is_err());
    }
}

#[test]
fn an_owner_is_the_operator_or_the_id_of_a_key() {
    assert_eq!("operator".parse::<Owner>().unwrap(), Owner::Operator);
    let (key, _) = OwnerKey::generate().unwrap();
    let owner = Owner::from(key.public_key());
    assert_eq!(owner.to_string(), key.id());
    assert_eq!(key.id().parse::<Owner>().unwrap(), owner);
    assert_eq!(owner, Owner::Key(key.id()));
}

#[test]
fn an_id_is_32_digits_in_lower_case() {
    for text in [
        "",
        "Operator",
        &ID[1..],
        &format!("{ID}0"),
        &ID.to_uppercase(),
        &format!("0x{}", &ID[2..]),
        &ID.replace('a', "g"),
    ] {
        assert_eq!(text.parse::<Owner>(), Err(NameError::Owner), "{text}");
    }
}

#[test]
fn an_address_is_a_name_and_an_owner() {
    for text in ["weather.operator", &format!("weather.{ID}")] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.name.as_str(), "weather");
        assert_eq!(address.to_string(), text);
    }
    assert_eq!("weather".parse::<Address>(), Err(NameError::NoOwner));
    for text in [
        ".operator",
        "weather.",
        "weather..operator",
        "weather.operator.",
        "a.b.operator",
        "weather.me",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

#[test]
fn a_map_of_names_is_asked_with_text() {
    let map = BTreeMap::from([(name("weather").unwrap(), 1)]);
    assert_eq!(map.get("weather"), Some(&1));
}

#[test]
fn json_holds_a_name_as_text_and_refuses_others() {
    let weather = name("weather").unwrap();
    assert_eq!(serde_json::to_string(&weather).unwrap(), "\"weather\"");
    assert_eq!(
        serde_json::from_str::<Name>("\"weather\"").unwrap(),
        weather
    );
    assert!(serde_json::from_str::<Name>("\"../weather\"").is_err());
}

/// The rule once more, written in another way.
fn is_label(text: &str) -> bool {
    let allowed = "abcdefghijklmnopqrstuvwxyz0123456789-";
    (1..=63).contains(&text.len())
        && text.chars().all(|c| allowed.contains(c))
        && !text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && !text.ends_with('-')
}

proptest! {
    #[test]
    fn arbitrary_text_is_what_it_prints_or_is_refused(text in "\\PC*|[a-z0-9.%/-]{0,70}|[a-z]{1,5}\\.[0-9a-f]{31,33}") {
        if let Ok(parsed) = text.parse::<Name>() {
            prop_assert_eq!(parsed.to_string(), &*text);
        }
        if let Ok(parsed) = text.parse::<Owner>() {
            prop_assert_eq!(parsed.to_string(), &*text);
        }
        if let Ok(parsed) = text.parse::<Address>() {
            prop_assert_eq!(parsed.to_string(), &*text);
        }
    }

    #[test]
    fn a_name_is_a_label_and_nothing_else(text in "[a-z0-9-]{0,66}|[ -~]{0,8}") {
        prop_assert_eq!(name(&text).is_ok(), is_label(&text));
    }

    #[test]
    fn what_was_parsed_prints_back_equal(label in "[a-z]([a-z0-9-]{0,61}[a-z0-9])?", id in "[0-9a-f]{32}") {
        let address: Address = format!("{label}.{id}").parse().unwrap();
        prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
    }
}
