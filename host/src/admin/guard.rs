//! Who may ask the admin port for what. A web page in the operator's browser may not ask for anything: it reaches the port through a
//! tunnel, or by a name of its own that leads to the loopback interface.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::token::Token;

/// Set by browsers: how the page that asks relates to the host that is asked.
const FETCH_SITE: &str = "sec-fetch-site";

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The host's own user, or root.
    Socket,
    /// A machine.
    Address(IpAddr),
}

/// What the admin port asks of a request.
#[derive(Debug)]
pub(super) struct Guard {
    /// The port's own address; none for a socket in the file system.
    pub(super) address: Option<SocketAddr>,
    /// Further names that it may be called by, with or without a port.
    pub(super) hosts: Vec<String>,
    /// None where the socket's permissions decide, or a client's certificate.
    pub(super) token: Option<Token>,
}

/// Refuses what a browser sends, what is meant for another host, and changes without the token.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.refuses(&request) {
        Some((status, why)) => {
            (status, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response()
        }
        None => next.run(request).await,
    }
}

impl Guard {
    fn refuses(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let fields = request.headers();
        if is_of_a_page(request) {
            return Some((
                StatusCode::FORBIDDEN,
                "the admin port does not answer web pages\n",
            ));
        }
        if !self.is_meant(request) {
            return Some((
                StatusCode::MISDIRECTED_REQUEST,
                "the Host field does not name this port: use its own address, or list the name in [admin] hosts\n",
            ));
        }
        if self.needs_token(request) && !self.shows_token(fields) {
            return Some((
                StatusCode::UNAUTHORIZED,
                "this needs `Authorization: Bearer` with the token in the file [admin] token_file\n",
            ));
        }
        None
    }

    /// Probes need none, and who is on this machine may read the counters. What has names of agents and owners needs it.
    fn needs_token(&self, request: &Request) -> bool {
        let is_near = match request.extensions().get::<Peer>() {
            Some(Peer::Address(address)) => address.to_canonical().is_loopback(),
            Some(Peer::Socket) | None => true,
        };
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" | "/readyz" if is_read => false,
            "/metrics" if is_read => !is_near,
            _ => true,
        }
    }

    fn shows_token(&self, fields: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let mut shown = fields.get_all(header::AUTHORIZATION).iter();
        match (shown.next(), shown.next()) {
            (Some(shown), None) => token.is_shown_by(shown.as_bytes()),
            _ => false,
        }
    }

    /// Whether the request is for this port: a page can have a name of its own lead here, but it cannot change what it is called.
    fn is_meant(&self, request: &Request) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (named, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return false;
        }
        let authority = match (named, request.uri().authority()) {
            (Some(host), _) => Authority::try_from(host.as_bytes()).ok(),
            (None, authority) => authority.cloned(),
        };
        authority.is_some_and(|authority| self.is_named(&authority))
    }

    fn is_named(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let is_listed = self.hosts.iter().any(|listed| {
            listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(authority.as_str())
        });
        if is_listed {
            return true;
        }
        let address: Option<IpAddr> = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok();
        let address = address.map(|address| address.to_canonical());
        let Some(own) = self.address else {
            // A tunnel to the socket has a port that it does not know.
            return address.map_or_else(
                || host.eq_ignore_ascii_case("localhost"),
                |address| address.is_loopback(),
            );
        };
        let is_own = match address {
            None => host.eq_ignore_ascii_case("localhost"),
            // Bound to every address, it does not know which they are; a name is what an attacker would need.
            Some(address) => {
                address.is_loopback() || address == own.ip() || own.ip().is_unspecified()
            }
        };
        is_own && authority.port_u16().unwrap_or(80) == own.port()
    }
}

/// Whether a browser sends it for a page; the operator's own may load itself again and send its form.
fn is_of_a_page(request: &Request) -> bool {
    let fields = request.headers();
    let path = request.uri().path();
    let (loads, sends) = match *request.method() {
        Method::GET => (path == "/", false),
        Method::POST => (false, path == "/take-down"),
        _ => (false, false),
    };
    let site = fields.get(FETCH_SITE).map(AsRef::<[u8]>::as_ref);
    let is_near = match site {
        None | Some(b"none") => true,
        Some(b"same-origin") => loads || sends,
        Some(_) => false,
    };
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| {
            let http = origin.strip_prefix("http://");
            http.or_else(|| origin.strip_prefix("https://"))
        });
        let host = fields.get(header::HOST).and_then(|host| host.to_str().ok());
        sends && host.is_some() && authority == host
    };
    !is_near
        || fields
            .get_all(header::ORIGIN)
            .iter()
            .any(|origin| !is_own(origin))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn guard(address: &str) -> Guard {
        Guard {
            address: Some(address.parse().unwrap()),
            hosts: vec!["tunnel:9000".to_owned(), "admin.example".to_owned()],
            token: None,
        }
    }

    fn status(guard: &Guard, fields: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::get("/metrics").body(Body::empty()).unwrap();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        guard.refuses(&request).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn own_names_are_answered_and_others_are_not() {
        let guard = guard("127.0.0.1:8081");
        for host in [
            "127.0.0.1:8081",
            "localhost:8081",
            "LOCALHOST:8081",
            "[::1]:8081",
            "tunnel:9000",
            "admin.example",
            "admin.example:1234",
        ] {
            assert_eq!(status(&guard, &[("host", host)]), None, "{host}");
        }
        for host in [
            "attacker.example:8081",
            "localhost",
            "localhost:8080",
            "127.0.0.1",
            "localhost.attacker.example:8081",
            "192.0.2.1:8081",
            "tunnel:9001",
            "",
        ] {
            assert_eq!(status(&guard, &[("host", host)]), Some(421), "{host}");
        }
        assert_eq!(status(&guard, &[]), Some(421));
        let two = [("host", "localhost:8081"), ("host", "localhost:8081")];
        assert_eq!(status(&guard, &two), Some(421));
    }

    #[test]
    fn a_socket_is_called_by_this_machine_alone() {
        let guard = Guard {
            address: None,
            ..guard("127.0.0.1:8081")
        };
        for host in [
            "localhost",
            "localhost:9000",
            "127.0.0.1:9000",
            "[::1]",
            "tunnel:9000",
        ] {
            assert_eq!(status(&guard, &[("host", host)]), None, "{host}");
        }
        for host in [
            "attacker.example:9000",
            "192.0.2.1",
            "localhost.example",
            "",
        ] {
            assert_eq!(status(&guard, &[("host", host)]), Some(421), "{host}");
        }
        assert_eq!(status(&guard, &[]), Some(421));
    }

    #[test]
    fn the_page_loads_itself_again_and_sends_its_form_and_does_nothing_else() {
        let guard = guard("127.0.0.1:8081");
        let asked = |method: &str, path: &str, fields: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(path);
            request = request.header("host", "127.0.0.1:8081");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let refused = guard.refuses(&request.body(Body::empty()).unwrap());
            refused.map(|(status, _)| status.as_u16())
        };
        let near = ("sec-fetch-site", "same-origin");
        let own = ("origin", "http://127.0.0.1:8081");
        assert_eq!(asked("GET", "/", &[near]), None);
        assert_eq!(asked("POST", "/take-down", &[near, own]), None);
        for (method, path, fields) in [
            ("GET", "/", &[near, own][..]),
            ("GET", "/status", &[near]),
            ("POST", "/drain", &[near, own]),
            ("DELETE", "/agents/a", &[near, own]),
            (
                "POST",
                "/take-down",
                &[near, ("origin", "http://127.0.0.1:8082")],
            ),
            ("POST", "/take-down", &[near, ("origin", "null")]),
            (
                "POST",
                "/take-down",
                &[near, own, ("origin", "http://attacker.example")],
            ),
            (
                "POST",
                "/take-down",
                &[("sec-fetch-site", "same-site"), own],
            ),
            (
                "POST",
                "/take-down",
                &[("sec-fetch-site", "cross-site"), own],
            ),
            ("GET", "/", &[("sec-fetch-site", "cross-site")]),
        ] {
            assert_eq!(
                asked(method, path, fields),
                Some(403),
                "{method} {path} {fields:?}"
            );
        }
    }

    #[test]
    fn a_port_on_every_interface_is_named_by_an_address_and_not_by_a_name() {
        let guard = guard("0.0.0.0:8081");
        assert_eq!(status(&guard, &[("host", "192.0.2.1:8081")]), None);
        let rebound = [("host", "attacker.example:8081")];
        assert_eq!(status(&guard, &rebound), Some(421));
    }

    #[test]
    fn pages_are_not_answered() {
        let guard = guard("127.0.0.1:8081");
        let host = ("host", "127.0.0.1:8081");
        for (name, value) in [
            ("origin", "https://attacker.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8081"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(status(&guard, &[host, (name, value)]), Some(403), "{name}");
        }
        assert_eq!(status(&guard, &[host, ("sec-fetch-site", "none")]), None);
    }
}
