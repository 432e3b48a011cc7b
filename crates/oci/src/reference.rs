//! What an artifact is called.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use crate::error::Error;

/// What references begin with where files can be named too.
pub const SCHEME: &str = "oci://";

/// SHA-256 of a manifest or of what it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// As file names have it.
    pub fn hex(&self) -> String {
        const_hex::encode(self.0)
    }

    /// From `sha256:` and 64 digits; nothing else is computed here, so nothing else is believed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !hex.bytes().all(is_lower) {
            return None;
        }
        const_hex::decode_to_array(hex).ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which artifact of a name is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The one with this manifest.
    Digest(Digest),
    /// The one that has this tag at the moment.
    Tag(String),
    /// Nothing is said.
    None,
}

/// A name in a registry: `REGISTRY/NAME`, `:TAG` or `@sha256:DIGEST`, with or without `oci://` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host and port.
    registry: String,
    name: String,
    pin: Pin,
}

impl Reference {
    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The last part of the name.
    pub fn title(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Which artifact is meant.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The one of this name that has this manifest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            pin: Pin::Digest(digest),
            ..self.clone()
        }
    }

    /// The artifact of this name that has this tag.
    pub(crate) fn tagged(&self, tag: String) -> Self {
        Self {
            pin: Pin::Tag(tag),
            ..self.clone()
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the registry is on this machine by its address.
    pub(crate) fn is_local(&self) -> bool {
        let url = Url::parse(&format!("http://{}/", self.registry));
        match url.as_ref().map(Url::host) {
            Ok(Some(Host::Domain(name))) => name == "localhost",
            Ok(Some(Host::Ipv4(address))) => address.is_loopback(),
            Ok(Some(Host::Ipv6(address))) => address.is_loopback(),
            _ => false,
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Reference {
            text: text.to_owned(),
            reason,
        };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (registry, rest) = rest
            .split_once('/')
            .ok_or_else(|| wrong("it names no registry"))?;
        if !is_registry(registry) {
            return Err(wrong("it does not begin with a registry's host"));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::parse(digest).ok_or_else(|| {
                    wrong("what follows `@` is not sha256: and 64 lower-case digits")
                })?;
                (rest, Some(digest))
            }
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        if !name.split('/').all(is_part) {
            return Err(wrong(
                "its name is not of lower-case letters, digits and `.`, `_`, `-` between them",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("what follows `:` is no tag"));
        }
        let pin = match (digest, tag) {
            (Some(digest), _) => Pin::Digest(digest),
            (None, Some(tag)) => Pin::Tag(tag.to_owned()),
            (None, None) => Pin::None,
        };
        Ok(Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            pin,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.name)?;
        match &self.pin {
            Pin::Digest(digest) => write!(f, "@{digest}"),
            Pin::Tag(tag) => write!(f, ":{tag}"),
            Pin::None => Ok(()),
        }
    }
}

/// A host and perhaps a port, and not the first part of a short name that some tools take for one of Docker's registry.
fn is_registry(text: &str) -> bool {
    let looks_so = text == "localhost" || text.contains(['.', ':']);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte);
    looks_so
        && text.bytes().all(plain)
        && Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.path() == "/")
}

fn is_part(part: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    part.bytes()
        .all(|byte| is_inner(byte) || b"._-".contains(&byte))
        && part.bytes().next().is_some_and(is_inner)
        && part.bytes().last().is_some_and(is_inner)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_written_as_they_were_read() {
        let digest = Digest::of(b"");
        for text in [
            "ghcr.io/owner/weather:1.0".to_owned(),
            format!("ghcr.io/owner/weather@{digest}"),
            "127.0.0.1:5000/weather".to_owned(),
            "[::1]:5000/a.b/c_d-e:v1".to_owned(),
            "localhost/weather".to_owned(),
        ] {
            for given in [text.clone(), format!("oci://{text}")] {
                let read: Reference = given.parse().unwrap();
                assert_eq!(read.to_string(), format!("oci://{text}"));
            }
        }
        let both: Reference = format!("ghcr.io/a/b:1.0@{digest}").parse().unwrap();
        assert_eq!(both.pin(), &Pin::Digest(digest));
    }

    #[test]
    fn what_names_nothing_is_refused_with_a_reason() {
        for (text, reason) in [
            ("weather", "no registry"),
            ("owner/weather", "registry's host"),
            ("user@ghcr.io/weather", "registry's host"),
            ("ghcr.io:port/weather", "registry's host"),
            ("ghcr.io/Weather", "lower-case"),
            ("ghcr.io/../weather", "lower-case"),
            ("ghcr.io/", "lower-case"),
            ("ghcr.io/a?b", "lower-case"),
            ("ghcr.io/weather:", "no tag"),
            ("ghcr.io/weather:a/b", "no tag"),
            ("ghcr.io/weather@sha256:00", "64 lower-case"),
            ("ghcr.io/weather@md5:00", "64 lower-case"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.is_usage());
            let words = error.to_string();
            assert!(words.contains(reason), "{text}: {words}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        for (registry, local) in [
            ("localhost:5000", true),
            ("127.1.2.3:5000", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
        ] {
            let reference: Reference = format!("{registry}/a").parse().unwrap();
            assert_eq!(reference.is_local(), local, "{registry}");
        }
    }
}
