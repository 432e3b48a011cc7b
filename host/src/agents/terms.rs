//! The terms of an agent: what its manifest asks for, as far as this host and its operator allow it.

use std::fmt::Display;
use std::sync::Arc;

use bytesize::ByteSize;
use hypervisor_agents::{Address, Manifest};
use hypervisor_egress::{AllowList, OriginPattern};

use super::Agents;
use super::deployed::About;
use crate::config::Limits;
use crate::executor::Offer;

/// What is settled of an agent before it has code.
pub(super) struct Terms {
    pub(super) address: Address,
    pub(super) manifest: Manifest,
    /// SHA-256 of the component.
    pub(super) digest: [u8; 32],
    pub(super) sha384: [u8; 48],
    pub(super) about: About,
    pub(super) limits: Limits,
    pub(super) listed: Arc<AllowList>,
    pub(super) offers: Option<Arc<[Offer]>>,
}

impl Terms {
    /// The name that the component log has for the agent. The log is shown to everybody, and a private agent to nobody.
    pub(super) fn name_in_log(&self) -> String {
        if self.manifest.private {
            "agent/private".to_owned()
        } else {
            format!("agent/{}", self.address)
        }
    }
}

impl Agents {
    /// The offers for an agent's price; none where it is free.
    pub(super) fn priced(&self, manifest: &Manifest) -> Result<Option<Arc<[Offer]>>, String> {
        let Some(price) = &manifest.price else {
            return Ok(None);
        };
        if manifest.private {
            return Err(
                "a private agent has no price: nobody but its owner can call it".to_owned(),
            );
        }
        let payments = self
            .payments
            .as_ref()
            .ok_or("`price`: this host takes no payments")?;
        let offers = payments
            .offers_for(price, manifest.pay_to.as_deref())
            .map_err(|e| format!("`price`: {e}"))?;
        Ok(Some(offers.into()))
    }
}

/// The host's limits with the manifest's in their place, none of which may be higher.
pub(super) fn limits(manifest: &Manifest, host: &Limits) -> Result<Limits, String> {
    let own = &manifest.limits;
    let mut limits = host.clone();
    let (time, size) = (humantime::format_duration, |size: ByteSize| size);
    lower("cpu", &mut limits.cpu, own.cpu, time)?;
    lower("wall", &mut limits.wall, own.wall, time)?;
    lower("memory", &mut limits.memory, own.memory, size)?;
    lower("output", &mut limits.output, own.output, size)?;
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

/// The origins that the manifest lists.
pub(super) fn listed(manifest: &Manifest) -> Result<AllowList, String> {
    manifest
        .outgoing
        .iter()
        .map(|text| {
            text.parse::<OriginPattern>()
                .map_err(|e| format!("`outgoing`: {e}"))
        })
        .collect()
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
        assert_eq!(limits.output, ByteSize::kib(1));
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
