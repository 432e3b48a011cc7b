//! Origins as lists name them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hypervisor_egress::{AllowList, Origin, OriginPattern, PatternError};
use proptest::prelude::*;

fn pattern(text: &str) -> OriginPattern {
    text.parse().unwrap()
}

fn origin(url: &str) -> Origin {
    Origin::of(&url.parse().unwrap()).unwrap()
}

fn refused(text: &str) -> PatternError {
    text.parse::<OriginPattern>().unwrap_err()
}

#[test]
fn a_bare_origin_matches_itself_alone() {
    let one = pattern("https://api.example.org");
    assert!(one.matches(&origin("https://api.example.org/any/path?query")));
    assert!(one.matches(&origin("https://API.example.org:443/")));
    assert!(one.matches(&origin("https://api.example.org./")));
    assert!(!one.matches(&origin("http://api.example.org/")));
    assert!(!one.matches(&origin("https://api.example.org:8443/")));
    assert!(!one.matches(&origin("https://www.api.example.org/")));
    assert!(!one.matches(&origin("https://api.example.org.evil.example/")));
}

#[test]
fn a_wildcard_matches_one_or_more_labels_in_front() {
    let below = pattern("https://*.example.com");
    assert!(below.matches(&origin("https://a.example.com/")));
    assert!(below.matches(&origin("https://a.b.example.com/")));
    assert!(!below.matches(&origin("https://example.com/")));
    assert!(!below.matches(&origin("https://evilexample.com/")));
    assert!(!below.matches(&origin("https://a.example.com.evil.example/")));
    assert!(!below.matches(&origin("http://a.example.com/")));
    assert!(!below.matches(&origin("https://a.example.com:444/")));
}

#[test]
fn a_wildcard_keeps_its_port() {
    let below = pattern("http://*.example.com:8080");
    assert!(below.matches(&origin("http://a.example.com:8080/")));
    assert!(!below.matches(&origin("http://a.example.com/")));
}

#[test]
fn an_asterisk_matches_any_origin() {
    assert!(pattern("*").matches(&origin("http://a.example:81/")));
    assert!(pattern("*").matches(&origin("https://[2001:db8::1]/")));
}

#[test]
fn patterns_are_read_in_any_case_and_shown_in_one() {
    for (text, shown) in [
        ("HTTPS://API.Example.ORG:443", "https://api.example.org"),
        ("https://*.Example.com.", "https://*.example.com"),
        ("http://*.example.com:8080", "http://*.example.com:8080"),
        ("http://[::FFFF:7f00:1]:81", "http://[::ffff:127.0.0.1]:81"),
        ("http://echo.agent.internal", "http://echo.agent.internal"),
        ("*", "*"),
    ] {
        assert_eq!(pattern(text).to_string(), shown);
    }
}

#[test]
fn what_is_no_pattern_is_refused_by_name() {
    for (text, error) in [
        ("", PatternError::Scheme),
        ("api.example.org", PatternError::Scheme),
        ("ftp://api.example.org", PatternError::Scheme),
        ("//api.example.org", PatternError::Scheme),
        (" https://api.example.org", PatternError::Scheme),
        ("*://api.example.org", PatternError::Scheme),
        ("https://api.example.org/", PatternError::Path),
        ("https://api.example.org/v1", PatternError::Path),
        ("https://api.example.org?x", PatternError::Path),
        ("https://api.example.org#x", PatternError::Path),
        ("https://api.example.org\\@evil", PatternError::Path),
        (
            "https://user@api.example.org",
            PatternError::UserInformation,
        ),
        ("https://api.example.org:", PatternError::Port),
        ("https://api.example.org:*", PatternError::Port),
        ("https://api.example.org:0", PatternError::Port),
        ("https://*", PatternError::Wildcard),
        ("https://*api.example.org", PatternError::Wildcard),
        ("https://api.*.org", PatternError::Wildcard),
        ("https://*.*.org", PatternError::Wildcard),
        ("https://*.0.0.1", PatternError::Host),
        ("https://*.127.0.0.1", PatternError::Wildcard),
        ("https://*.[::1]", PatternError::Wildcard),
        ("https://b\u{fc}cher.example", PatternError::Host),
        ("https://api%2eexample", PatternError::Host),
        ("https://", PatternError::Host),
        ("https://*.", PatternError::Host),
    ] {
        assert_eq!(refused(text), error, "{text}");
    }
}

#[test]
fn a_list_allows_what_one_of_its_patterns_matches() {
    let list: AllowList = ["https://a.example", "http://*.b.example"]
        .into_iter()
        .map(pattern)
        .collect();
    assert!(list.allows(&origin("https://a.example/")));
    assert!(list.allows(&origin("http://x.b.example/")));
    assert!(!list.allows(&origin("https://x.b.example/")));
}

#[test]
fn an_empty_list_allows_nothing() {
    assert!(!AllowList::default().allows(&origin("https://a.example/")));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
        let _ = text.parse::<OriginPattern>();
    }

    #[test]
    fn the_text_of_a_pattern_is_the_same_pattern(
        text in "(https?|HTTP)://(\\*\\.)?([a-zA-Z0-9_.-]{1,40}|\\[[0-9a-fA-F:.]{2,30}\\])(:[0-9]{1,6})?",
    ) {
        if let Ok(pattern) = text.parse::<OriginPattern>() {
            prop_assert_eq!(pattern.to_string().parse::<OriginPattern>(), Ok(pattern));
        }
    }

    #[test]
    fn a_wildcard_matches_exactly_what_ends_in_its_name(
        front in "([a-z]{1,5}\\.){0,3}",
        name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}",
        other in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}",
    ) {
        let below = pattern(&format!("http://*.{other}"));
        let host = format!("{front}{name}");
        let expected = host.ends_with(&format!(".{other}"));
        prop_assert_eq!(below.matches(&origin(&format!("http://{host}/"))), expected);
    }
}
