//! The terms of an agent: what its manifest asks for, as far as this host and its operator allow it.

use std::fmt::Display;

use bytesize::ByteSize;
use hypervisor_runtime::Limits;

use crate::agents::Agents;
use crate::deployed::{About, Terms};
use crate::manifest::Manifest;
use crate::name::{Address, Owner};

impl Agents {
    /// The terms on which a component is deployed, or is still: its digests are SHA-256 and SHA-384.
    ///
    /// # Errors
    /// What this host does not give it.
    pub(crate) fn terms(
        &self,
        owner: Owner,
        manifest: Manifest,
        about: About,
        (digest, sha384): ([u8; 32], [u8; 48]),
    ) -> Result<Terms, String> {
        if manifest.private && manifest.price.is_some() {
            return Err(
                "`price`: a private agent has none, for nobody but its owner can call it"
                    .to_owned(),
            );
        }
        // Whether they are origins was checked with the manifest.
        let listed = manifest.outgoing.iter();
        Ok(Terms {
            address: Address {
                name: manifest.name.clone(),
                owner,
            },
            digest,
            sha384,
            about,
            limits: limits(&manifest, &self.settings.limits)?,
            listed: listed.filter_map(|origin| origin.parse().ok()).collect(),
            manifest,
        })
    }
}

/// The host's limits with the manifest's in their place, none of which may be higher.
fn limits(manifest: &Manifest, host: &Limits) -> Result<Limits, String> {
    let own = &manifest.limits;
    let mut limits = *host;
    let bytes = |size: Option<ByteSize>| size.map(|size| size.as_u64());
    let time = humantime::format_duration;
    lower("cpu", &mut limits.cpu, own.cpu, time)?;
    lower("wall", &mut limits.wall, own.wall, time)?;
    lower("memory", &mut limits.memory, bytes(own.memory), ByteSize::b)?;
    lower("output", &mut limits.output, bytes(own.output), ByteSize::b)?;
    Ok(limits)
}

/// Lowers one limit of the host's to what the manifest has, if it has any. `words` writes a limit for people.
fn lower<T: Copy + PartialOrd, W: Display>(
    key: &str,
    limit: &mut T,
    own: Option<T>,
    words: impl FnOnce(T) -> W,
) -> Result<(), String> {
    let Some(own) = own else {
        return Ok(());
    };
    if own > *limit {
        let host = words(*limit);
        return Err(format!("`limits.{key}` is above this host's own, {host}"));
    }
    *limit = own;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits_of(own: &str) -> Result<Limits, String> {
        let text = format!("name = \"a\"\ndescription = \"d\"\nversion = \"1\"\n[limits]\n{own}\n");
        limits(
            &Manifest::parse(text.as_bytes()).unwrap(),
            &Limits::default(),
        )
    }

    #[test]
    fn limits_of_the_manifest_stand_in_the_place_of_the_hosts() {
        let limits = limits_of("wall = \"2s\"\noutput = \"1 KiB\"").unwrap();
        let host = Limits::default();
        assert_eq!(limits.wall.as_secs(), 2);
        assert_eq!(limits.output, 1 << 10);
        assert_eq!((limits.cpu, limits.memory), (host.cpu, host.memory));
    }

    #[test]
    fn a_limit_above_the_hosts_is_refused_with_the_hosts_own() {
        for (own, message) in [
            (
                "cpu = \"31s\"",
                "`limits.cpu` is above this host's own, 30s",
            ),
            (
                "wall = \"61s\"",
                "`limits.wall` is above this host's own, 1m",
            ),
            (
                "memory = \"257 MiB\"",
                "`limits.memory` is above this host's own, 256.0 MiB",
            ),
            (
                "output = \"33 MiB\"",
                "`limits.output` is above this host's own, 32.0 MiB",
            ),
        ] {
            assert_eq!(limits_of(own).unwrap_err(), message);
        }
    }
}
