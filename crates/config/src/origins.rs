//! The egress of plugins: requests to the origins that the operator listed, and to no others.
//!
//! What an origin wants to see of the operator, a token say, is put into requests here: the plugin has no part in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use hypervisor_egress::{Bounds, Networks, Origin, Pool, Sender, Share, SystemResolver};

use zeroize::Zeroizing;

use hypervisor_runtime::{Chain, Egress, HttpBody, HttpError, HttpTimeouts, Sending};

/// Every address: what the operator names may be anywhere, a facilitator on the host's own network, say.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What one plugin may have under way.
const BOUNDS: Bounds = Bounds {
    connections: 128,
    lookups: 16,
};

/// A list of origins, and what sends to them.
pub(crate) struct Origins {
    listed: Vec<(Origin, HeaderMap)>,
    pool: Pool,
}

impl Origins {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn of<'a>(urls: impl Iterator<Item = &'a str>) -> Result<Self, HttpError> {
        let networks = Networks::parse(&ANYWHERE).map_err(|_| HttpError::ConfigurationError)?;
        let sender = Sender::new(networks, Arc::new(SystemResolver))?;
        Ok(Self {
            listed: urls
                .filter_map(|url| Some((origin(url)?, HeaderMap::new())))
                .collect(),
            pool: Pool::of(sender.sharing(Share::new(BOUNDS))),
        })
    }

    /// The same with header fields for some of the origins, by a URL of each, whose values are read now from these files. An error has nothing of them.
    pub(crate) fn with(
        mut self,
        credentials: &BTreeMap<String, BTreeMap<String, PathBuf>>,
    ) -> Result<Self, String> {
        for (url, files) in credentials {
            let unlisted =
                || format!("`{url}` is neither a facilitator nor an endpoint of [payments.rpc]");
            let wanted = origin(url).ok_or_else(unlisted)?;
            if !wanted.is_tls() && !wanted.ip().is_some_and(|ip| ip.is_loopback()) {
                return Err(format!(
                    "`{url}` is not https: what proves who asks goes to nobody in the clear"
                ));
            }
            let read = files.iter().map(|(name, file)| field(name, file));
            let fields: HeaderMap = read.collect::<Result<_, _>>()?;
            let mut of_it = (self.listed.iter_mut()).filter(|(origin, _)| *origin == wanted);
            of_it.next().ok_or_else(unlisted)?.1.extend(fields);
        }
        Ok(self)
    }
}

fn origin(url: &str) -> Option<Origin> {
    Origin::of(&url.parse().ok()?)
}

/// Bytes of a field's value.
const LONGEST: usize = 8 << 10;

/// A header field with what is in a file, but for the line's end.
fn field(name: &str, file: &Path) -> Result<(HeaderName, HeaderValue), String> {
    const NOT_THEIRS: [HeaderName; 4] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
    ];
    let known = HeaderName::from_bytes(name.as_bytes()).ok();
    let name = known
        .filter(|it| !NOT_THEIRS.contains(it))
        .ok_or_else(|| format!("`{name}` is no header field, or one of the connection's"))?;
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|e| format!("`{name}`: cannot read {}: {e}", file.display()))?;
    let value = text.trim_end_matches(['\r', '\n']);
    let is_visible = |b: u8| (b' '..=b'~').contains(&b);
    if !(1..=LONGEST).contains(&value.len()) || !value.bytes().all(is_visible) {
        return Err(format!(
            "`{name}`: {} is not one line of 1 to {LONGEST} visible ASCII characters",
            file.display()
        ));
    }
    let mut value = HeaderValue::from_str(value).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok((name, value))
}

impl Egress for Origins {
    fn send(
        &self,
        mut request: Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        _: Chain,
    ) -> Sending {
        let origin = Origin::of(request.uri());
        let of_it = || {
            self.listed
                .iter()
                .filter(|(it, _)| Some(it) == origin.as_ref())
        };
        let allowed = of_it().next().is_some();
        for (_, fields) in of_it() {
            for (name, value) in fields {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let pool = self.pool.clone();
        Box::pin(async move {
            if !allowed {
                return Err(HttpError::HttpRequestDenied);
            }
            pool.send_for_guest(request, timeouts).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, name: &str, value: &[u8]) -> Result<Origins, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, value).unwrap();
        let origins = ["https://one.example/x402", "http://two.example"];
        let files = BTreeMap::from([(name.to_owned(), file)]);
        let credentials = BTreeMap::from([(url.to_owned(), files)]);
        Origins::of(origins.into_iter()).unwrap().with(&credentials)
    }

    #[test]
    fn a_field_is_for_the_origin_that_it_is_written_for() {
        let origins = with("https://one.example", "authorization", b"Bearer a\n").unwrap();
        let [(_, one), (_, two)] = origins.listed.as_slice() else {
            panic!("two origins")
        };
        assert_eq!(one["authorization"], "Bearer a");
        assert!(one["authorization"].is_sensitive() && two.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_value() {
        let one = "https://one.example";
        for (url, name, value) in [
            ("https://three.example", "authorization", &b"secret"[..]),
            ("http://two.example", "authorization", b"secret"),
            (one, "host", b"secret"),
            (one, "a b", b"secret"),
            (one, "authorization", b""),
            (one, "authorization", b"secret\nmore"),
            (one, "authorization", b"secret\xff"),
            (one, "authorization", &b"secret".repeat(2000)),
        ] {
            let error = with(url, name, value).map(drop).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
