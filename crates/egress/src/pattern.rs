//! Lists of origins, as manifests and configurations write them.

use std::fmt;
use std::str::FromStr;

use http::uri::Scheme;

use crate::error::PatternError;
use crate::origin::Origin;

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
pub enum OriginPattern {
    /// `*`
    Any,
    /// `https://api.example.org`
    One(Origin),
    /// `https://*.example.com`: one or more labels in front of the name.
    Below(Origin),
}

impl OriginPattern {
    /// Whether requests to `origin` are meant.
    pub fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == origin,
            Self::Below(name) => origin.is_below(name),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = PatternError;

    /// Reads `*`, `https://api.example.org`, `http://127.0.0.1:8081` or `https://*.example.com`.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or(PatternError::Scheme)?;
        let scheme: Scheme = scheme
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| PatternError::Scheme)?;
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(PatternError::Path);
        }
        if authority.contains('@') {
            return Err(PatternError::UserInformation);
        }
        let Some(name) = authority.strip_prefix("*.") else {
            return Origin::parse(&scheme, authority).map(Self::One);
        };
        let below = Origin::parse(&scheme, name)?;
        if below.ip().is_some() {
            return Err(PatternError::Wildcard);
        }
        Ok(Self::Below(below))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => origin.fmt(f),
            Self::Below(name) => f.write_str(&name.to_string().replacen("://", "://*.", 1)),
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

    /// Whether this list allows anything of what a pattern means.
    pub fn overlaps(&self, pattern: &OriginPattern) -> bool {
        use OriginPattern::{Any, Below, One};
        self.0.iter().any(|own| match (own, pattern) {
            (Any, _) | (_, Any) => true,
            (own, One(origin)) | (One(origin), own) => own.matches(origin),
            (Below(a), Below(b)) => a == b || a.is_below(b) || b.is_below(a),
        })
    }
}

impl FromIterator<OriginPattern> for AllowList {
    fn from_iter<I: IntoIterator<Item = OriginPattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}
