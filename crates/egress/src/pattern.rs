//! Lists of origins, as manifests and configurations write them.

use std::fmt;
use std::str::FromStr;

use crate::error::PatternError;
use crate::origin::{Host, Origin, Scheme, split_port};

/// Origins that may be sent to: one, all below a name, or any.
///
/// ```
/// use hypervisor_egress::{Origin, OriginPattern};
///
/// let below: OriginPattern = "https://*.example.com".parse()?;
/// let origin = |url: &'static str| Origin::of(&http::Uri::from_static(url));
/// assert!(origin("https://a.b.example.com/path").is_some_and(|o| below.matches(&o)));
/// assert!(origin("https://example.com/").is_some_and(|o| !below.matches(&o)));
/// # Ok::<_, hypervisor_egress::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// `*`
    Any,
    /// `https://api.example.org`
    One(Origin),
    /// `https://*.example.com`: one or more labels in front of the name.
    Below {
        scheme: Scheme,
        name: String,
        port: u16,
    },
}

impl OriginPattern {
    /// The pattern `*`, which every origin matches.
    pub fn any() -> Self {
        Self(Kind::Any)
    }

    /// Whether requests to `origin` are meant.
    pub fn matches(&self, origin: &Origin) -> bool {
        match &self.0 {
            Kind::Any => true,
            Kind::One(one) => one == origin,
            Kind::Below { scheme, name, port } => {
                (*scheme, *port) == origin.scheme_and_port()
                    && origin
                        .host()
                        .strip_suffix(name.as_str())
                        .and_then(|front| front.strip_suffix('.'))
                        .is_some_and(|front| !front.is_empty())
            }
        }
    }
}

impl From<Origin> for OriginPattern {
    fn from(origin: Origin) -> Self {
        Self(Kind::One(origin))
    }
}

impl FromStr for OriginPattern {
    type Err = PatternError;

    /// Reads `*`, `https://api.example.org`, `http://127.0.0.1:8081` or `https://*.example.com`.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::any());
        }
        let (scheme, authority) = text.split_once("://").ok_or(PatternError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(PatternError::Scheme)?;
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(PatternError::Path);
        }
        if authority.contains('@') {
            return Err(PatternError::UserInformation);
        }
        let Some(below) = authority.strip_prefix("*.") else {
            return Origin::parse(scheme, authority).map(Self::from);
        };
        let (name, port) = split_port(below)?;
        let name = Host::parse(name)?;
        if name.ip.is_some() {
            return Err(PatternError::Wildcard);
        }
        Ok(Self(Kind::Below {
            scheme,
            name: name.text,
            port: port.unwrap_or(scheme.port()),
        }))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::One(origin) => origin.fmt(f),
            Kind::Below { scheme, name, port } => {
                write!(f, "{}://*.{name}", scheme.as_str())?;
                if *port == scheme.port() {
                    Ok(())
                } else {
                    write!(f, ":{port}")
                }
            }
        }
    }
}

/// Origins that may be sent to; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<OriginPattern>);

impl AllowList {
    /// Whether requests to `origin` are allowed: one of the patterns matches.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.0.iter().any(|pattern| pattern.matches(origin))
    }

    /// The patterns, in the order given.
    pub fn patterns(&self) -> &[OriginPattern] {
        &self.0
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<OriginPattern>> for AllowList {
    fn from(patterns: Vec<OriginPattern>) -> Self {
        Self(patterns)
    }
}

impl FromIterator<OriginPattern> for AllowList {
    fn from_iter<I: IntoIterator<Item = OriginPattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            ("https://*.0.0.1", PatternError::HostAddress),
            ("https://*.127.0.0.1", PatternError::Wildcard),
            ("https://*.[::1]", PatternError::Wildcard),
            ("https://b\u{fc}cher.example", PatternError::HostCharacter),
            ("https://api%2eexample", PatternError::HostCharacter),
            ("https://", PatternError::HostLength),
            ("https://*.", PatternError::HostLength),
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
        assert!(AllowList::default().is_empty());
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
}
