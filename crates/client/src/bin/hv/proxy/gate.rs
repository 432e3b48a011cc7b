//! Who may ask: programs of this machine, and no page of somebody else's in its user's browser, which reaches this address too.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::uri::{Authority, Uri};

use super::problem::Refusal;

/// What browsers say of where a request comes from (Fetch Metadata). Pages can not set it.
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Names that requests may be for.
#[derive(Debug, Default)]
pub(super) struct Gate {
    hosts: Vec<String>,
}

impl Gate {
    /// `hosts` are taken besides this machine's own names and any address.
    pub(super) fn new(hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { hosts }
    }

    /// Checks the `Host`, or `:authority`, and the `Origin` of a request; gives the former. A name that somebody else made to lead here
    /// is not taken, so that no page reaches this by a name of its own.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
        let host = host_of(uri, headers).filter(|host| self.is_here(host.host()));
        let host = host.ok_or_else(|| {
            Refusal::foreign(
                "its Host is no name or address of this machine; --allow-host NAME takes another one",
            )
        })?;
        let mut origins = headers.get_all(ORIGIN).iter();
        let foreign = || Refusal::foreign("it was made by a page of another origin");
        match (origins.next(), origins.next()) {
            (None, _)
                if headers
                    .get(SEC_FETCH_SITE)
                    .is_none_or(|it| it != "cross-site") =>
            {
                Ok(host)
            }
            (Some(origin), None) => {
                let origin = origin.to_str().ok().and_then(|it| it.parse::<Uri>().ok());
                let origin = origin
                    .as_ref()
                    .and_then(|it| Some((it.scheme_str()?, it.host()?)));
                match origin {
                    Some(("http" | "https", name)) if self.is_own(name) => Ok(host),
                    _ => Err(foreign()),
                }
            }
            _ => Err(foreign()),
        }
    }

    /// What leads nowhere else, whatever a name server says.
    fn is_here(&self, host: &str) -> bool {
        address(host).is_some() || self.is_own(host)
    }

    /// Pages of this machine, and of the names that were given.
    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let is_loopback = address(&host).is_some_and(|it| it.is_loopback());
        host == "localhost" || is_loopback || self.hosts.contains(&host)
    }
}

fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut said = headers.get_all(HOST).iter();
    let said = match (said.next(), said.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse::<Authority>().ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    match (said, uri.authority()) {
        (Some(said), Some(asked)) if said != *asked => None,
        (Some(host), _) => Some(host),
        (None, asked) => asked.cloned(),
    }
    .filter(|host| !host.as_str().contains('@'))
}

fn address(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn takes(gate: &Gate, fields: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        gate.check(&Uri::from_static("/a"), &headers).is_ok()
    }

    #[test]
    fn requests_for_this_machine_are_taken() {
        let gate = Gate::default();
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8090",
            "[::1]:8090",
            "192.0.2.1",
        ] {
            assert!(takes(&gate, &[("host", host)]), "{host}");
            assert!(takes(
                &gate,
                &[("host", host), ("origin", "http://localhost:3000")]
            ));
        }
        let absolute = Uri::from_static("http://127.0.0.1:8090/a");
        assert!(gate.check(&absolute, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_name_that_somebody_made_to_lead_here_is_not() {
        let gate = Gate::default();
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a@localhost",
        ] {
            assert!(!takes(&gate, &[("host", host)]), "{host}");
        }
        assert!(!takes(&gate, &[]));
        assert!(!takes(
            &gate,
            &[("host", "localhost"), ("host", "127.0.0.1")]
        ));
        let other = Uri::from_static("http://evil.example/a");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        assert!(gate.check(&other, &headers).is_err());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let gate = Gate::default();
        let asked = |name, value| takes(&gate, &[("host", "127.0.0.1:8090"), (name, value)]);
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1.evil.example",
            "file://",
            "",
            "http://192.0.2.1",
        ] {
            assert!(!asked("origin", origin), "{origin}");
        }
        assert!(!asked("sec-fetch-site", "cross-site"), "an image, say");
        for site in ["none", "same-origin", "same-site"] {
            assert!(asked("sec-fetch-site", site), "{site}");
        }
    }

    #[test]
    fn names_that_were_given_are_taken_and_so_are_their_pages() {
        let gate = Gate::new(&["Proxy".to_owned()]);
        assert!(takes(&gate, &[("host", "proxy:8090")]));
        assert!(takes(
            &gate,
            &[("host", "proxy:8090"), ("origin", "http://proxy:8090")]
        ));
        assert!(!takes(&gate, &[("host", "proxy.evil.example")]));
    }

    proptest! {
        #[test]
        fn no_name_but_its_own_is_taken(host in "[a-z0-9.:\\[\\]-]{0,24}") {
            if takes(&Gate::default(), &[("host", &host)]) {
                let name = host.parse::<Authority>().unwrap();
                prop_assert!(name.host() == "localhost" || address(name.host()).is_some());
            }
        }

        #[test]
        fn any_bytes_are_judged(host: Vec<u8>, origin: Vec<u8>) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [(HOST, host), (ORIGIN, origin)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            let _ = Gate::default().check(&Uri::from_static("/"), &headers);
        }
    }
}
