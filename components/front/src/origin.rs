//! Where requests may come from. A page in a browser can send requests to whatever its user reaches, a host on the same machine among it;
//! it can not hide its `Origin`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::Forbidden;
use crate::http::Incoming;

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// An origin as browsers write it: `https://example.org:8443`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_secure = match &*scheme.to_ascii_lowercase() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = authority_parts(authority)?;
        Some(Self {
            is_secure,
            host,
            port: port.unwrap_or(if is_secure { 443 } else { 80 }),
        })
    }

    /// That of a URL.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Self::parse(&format!("{scheme}://{authority}"))
    }
}

/// What only the host sets: who sealed the request.
pub const CALLER: &str = "hypervisor-caller";

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Where clients find the host, where the operator says it.
    pub public: Option<Origin>,
    /// What else the operator allows.
    pub origins: Vec<Origin>,
}

impl Reach {
    /// The origin of a page, where a page asks and may. Who seals requests is no page, and does not go by a name.
    pub fn allowed(&self, incoming: &Incoming) -> Result<Option<String>, Forbidden> {
        if incoming.fields.first(CALLER).is_some() {
            return Ok(None);
        }
        let origin = incoming.fields.one("origin");
        let origin = origin.map_err(|_| Forbidden("there are several Origins"))?;
        let allowed = self.check(incoming.host.as_deref(), origin)?;
        Ok(allowed.map(str::to_owned))
    }

    /// Checks the `Host` and the `Origin` of a request; gives the origin where there was one.
    pub fn check<'a>(
        &self,
        host: Option<&str>,
        origin: Option<&'a str>,
    ) -> Result<Option<&'a str>, Forbidden> {
        let here = host.and_then(authority_parts);
        let here = here.map(|(host, _)| host);
        let is_local = here.as_deref().is_some_and(is_loopback);
        // A host that nobody named is on somebody's own machine, and there a foreign name is a name that was made to lead there.
        let is_private = match &self.public {
            None => true,
            Some(public) => is_loopback(&public.host),
        };
        let is_named = here.as_deref().is_some_and(|it| is_address(it) || is_local);
        if is_private && !is_named {
            return Err(Forbidden(
                "this Host is not taken: the operator sets PUBLIC_URL to be reached under a name",
            ));
        }
        let Some(text) = origin else { return Ok(None) };
        let allowed = Origin::parse(text).is_some_and(|origin| {
            let is_public = (self.public.as_ref()).is_some_and(|public| public.host == origin.host);
            let is_neighbour = is_local && is_loopback(&origin.host);
            is_public || is_neighbour || self.origins.contains(&origin)
        });
        match allowed {
            true => Ok(Some(text)),
            false => Err(Forbidden("this Origin is not taken")),
        }
    }
}

/// The host, in lower case, and the port of `host:port`.
fn authority_parts(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            inner.parse::<Ipv6Addr>().ok()?;
            (
                format!("[{inner}]"),
                port.strip_prefix(':')
                    .or_else(|| port.is_empty().then_some(""))?,
            )
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (host.to_owned(), port)
        }
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(is_plain) {
        return None;
    }
    let port = match port {
        "" => None,
        port if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok()?),
        _ => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// An address leads where it says, whatever a name server says.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
        || inner.parse::<Ipv6Addr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fields::Fields;
    use crate::http::Body;

    fn reach(public: Option<&str>, origins: &[&str]) -> Reach {
        Reach {
            public: public.map(|url| Origin::of_url(url).unwrap()),
            origins: origins
                .iter()
                .map(|it| Origin::parse(it).unwrap())
                .collect(),
        }
    }

    #[test]
    fn who_seals_requests_goes_by_no_name_and_is_no_page() {
        let local = reach(None, &[]);
        let of = |caller: &[(&str, &str)]| Incoming {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            host: Some("_.protocol.agent.internal".to_owned()),
            fields: Fields::of(caller),
            body: Body::Whole(Vec::new()),
        };
        let plain = [("origin", "http://evil.example")];
        assert!(local.allowed(&of(&plain)).is_err());
        assert!(local.allowed(&of(&[])).is_err());
        let sealed = [plain[0], (CALLER, "anonymous")];
        assert_eq!(local.allowed(&of(&sealed)), Ok(None));
    }

    #[test]
    fn on_ones_own_machine_only_it_itself_may_call() {
        let local = reach(None, &[]);
        for host in ["localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"] {
            assert!(local.check(Some(host), None).is_ok(), "{host}");
            assert!(
                local
                    .check(Some(host), Some("http://localhost:3000"))
                    .is_ok()
            );
            for origin in [
                "http://evil.example",
                "null",
                "http://127.0.0.1.evil.example",
                "file://",
            ] {
                assert!(local.check(Some(host), Some(origin)).is_err(), "{origin}");
            }
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "",
        ] {
            assert!(local.check(Some(host), None).is_err(), "{host}");
        }
        assert!(local.check(None, None).is_err());
        // Over a network by its address: nobody's name, but no page either.
        assert!(local.check(Some("192.0.2.1:8080"), None).is_ok());
        assert!(
            local
                .check(Some("192.0.2.1:8080"), Some("http://192.0.2.1:8080"))
                .is_err()
        );
    }

    #[test]
    fn a_public_host_takes_its_own_pages_and_those_that_are_listed() {
        let public = reach(Some("https://host.example/"), &["https://app.example"]);
        let check = |origin| public.check(Some("host.example"), origin).is_ok();
        assert!(check(None) && check(Some("https://host.example")));
        assert!(check(Some("https://app.example")) && check(Some("https://app.example:443")));
        assert!(!check(Some("http://app.example")) && !check(Some("https://app.example:8443")));
        assert!(!check(Some("https://host.example.evil.example")));
        assert!(!check(Some("http://localhost")));
        // Behind a proxy the host has any name.
        assert!(public.check(Some("backend"), None).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_the_machine_itself_but_its_names(host in "[a-z0-9.:\\[\\]-]{0,24}") {
            if let Some((host, _)) = authority_parts(&host)
                && is_loopback(&host)
            {
                prop_assert!(host == "localhost" || host.starts_with("127.") || host.starts_with('['));
            }
        }

        #[test]
        fn any_text_is_judged(host in ".{0,40}", origin in ".{0,40}") {
            let _ = reach(None, &[]).check(Some(&host), Some(&origin));
        }
    }
}
