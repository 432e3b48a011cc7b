//! Origins as URLs name them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::net::{IpAddr, Ipv4Addr};

use hypervisor_egress::{Origin, OriginPattern, PatternError};
use proptest::prelude::*;

fn origin(url: &str) -> Option<Origin> {
    Origin::of(&url.parse().unwrap())
}

/// What is wrong with a host and port in a list.
fn wrong(authority: &str) -> PatternError {
    let listed = format!("http://{authority}").parse::<OriginPattern>();
    listed.expect_err(authority)
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    assert_eq!(
        origin("https://a.example/x"),
        origin("https://A.example:443/y?z")
    );
    assert_ne!(origin("https://a.example"), origin("http://a.example"));
    assert_ne!(origin("http://a.example"), origin("http://a.example:81"));
    assert_ne!(origin("http://a.example"), origin("http://a.example.org"));
    assert_eq!(origin("ftp://a.example"), None);
    assert_eq!(origin("/path"), None);
}

#[test]
fn user_information_does_not_hide_the_host() {
    assert_eq!(
        origin("http://allowed.example@evil.example/"),
        origin("http://evil.example/")
    );
    assert_eq!(
        origin("http://user:allowed.example@evil.example/"),
        origin("http://evil.example/")
    );
}

#[test]
fn its_parts_are_in_normal_form() {
    let origin = origin("HTTPS://API.Example.org:8443/").unwrap();
    assert!(origin.is_tls());
    assert_eq!(origin.host(), "api.example.org");
    assert_eq!(origin.port(), 8443);
    assert_eq!(origin.ip(), None);
    assert_eq!(origin.authority(), "api.example.org:8443");
    assert_eq!(origin.to_string(), "https://api.example.org:8443");
}

#[test]
fn the_schemes_own_port_is_not_shown() {
    assert_eq!(
        origin("http://a.example:80/").unwrap().to_string(),
        "http://a.example"
    );
    assert_eq!(
        origin("https://a.example:80/").unwrap().to_string(),
        "https://a.example:80"
    );
}

#[test]
fn a_dot_at_the_end_makes_no_other_host() {
    assert_eq!(origin("http://a.example./"), origin("http://a.example/"));
    assert_eq!(origin("http://localhost./"), origin("http://localhost/"));
    assert_eq!(origin("http://a.example../"), None);
}

#[test]
fn ipv6_literals_are_shortened_and_keep_their_brackets() {
    let origin = origin("http://[2001:DB8:0:0::1]:8080/").unwrap();
    assert_eq!(origin.host(), "[2001:db8::1]");
    assert_eq!(origin.port(), 8080);
    assert_eq!(origin.ip(), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(origin.to_string(), "http://[2001:db8::1]:8080");
}

#[test]
fn ipv4_literals_have_four_decimal_numbers() {
    assert_eq!(
        origin("http://127.0.0.1/").unwrap().ip(),
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    );
    for other in [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.0x1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://1.2.3.4.5/",
        "http://a.example.1/",
        "http://256.1.1.1/",
    ] {
        assert_eq!(origin(other), None, "{other}");
    }
}

#[test]
fn odd_ports_are_no_origin() {
    for other in ["http://a.example:65536/", "http://a.example:0/"] {
        assert_eq!(origin(other), None, "{other}");
    }
    for authority in ["a.example:", "a.example:+80", "[::1]:8o"] {
        assert_eq!(wrong(authority), PatternError::Port, "{authority}");
    }
}

#[test]
fn percent_signs_unicode_and_zones_are_no_origin() {
    for host in [
        "a%2eexample",
        "b\u{fc}cher.example",
        "a\u{3002}example",
        "a b",
        "a\0b",
        "[fe80::1%25eth0]",
        "[::1",
        "::1",
        "1::2:80",
        "a.example:80:80",
        "[::1]a",
        "",
        ".",
        ".a",
        "a..b",
        "a.b..",
        "-a.b",
    ] {
        assert_eq!(wrong(host), PatternError::Host, "{host:?}");
    }
}

#[test]
fn names_are_bounded() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(origin(&format!("http://{longest}")).is_some());
    for long in [format!("{longest}a"), "a".repeat(64)] {
        assert_eq!(origin(&format!("http://{long}")), None);
        assert_eq!(wrong(&long), PatternError::Host);
    }
}

proptest! {
    #[test]
    fn the_text_of_an_origin_is_its_own_url(
        authority in "([a-zA-Z0-9_.-]{1,40}|[0-9]{1,3}\\.[0-9.x]{1,12}|\\[[0-9a-fA-F:.]{2,30}\\])(:[0-9]{1,6})?",
    ) {
        if let Ok(uri) = format!("https://{authority}").parse::<http::Uri>()
            && let Some(origin) = Origin::of(&uri)
        {
            prop_assert!(origin.host().bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()));
            prop_assert!(!origin.host().ends_with('.'));
            let uri: http::Uri = origin.to_string().parse().unwrap();
            prop_assert_eq!(Origin::of(&uri), Some(origin));
        }
    }

    #[test]
    fn what_a_url_parser_takes_for_the_host_is_the_host(
        url in "https?://([a-z@:.\\[\\]0-9A-Z%-]{0,20}@)?[a-zA-Z0-9.\\[\\]:-]{1,30}(/[a-z]*)?",
    ) {
        if let Ok(uri) = url.parse::<http::Uri>()
            && let Some(origin) = Origin::of(&uri)
            && origin.ip().is_none()
        {
            let host = uri.host().unwrap().to_ascii_lowercase();
            prop_assert_eq!(origin.host(), host.strip_suffix('.').unwrap_or(&host));
        }
    }
}
