//! `[payments]`: what paid routes cost, who is paid, and the component that takes the payments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{Limits, Metered};
use crate::error::Error;
use hypervisor_egress::Origin;
use hypervisor_runtime::Source;

/// `[payments]`: the component that takes payments, and the prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Payments {
    /// A component of the world `payments`; none switches it off, and paid routes then answer 503.
    pub component: PathBuf,
    /// Its machine code, made by `hypervisor-ctl compile`; none compiles at every start.
    pub compiled: PathBuf,
    /// SHA-384 of that file, hex.
    pub compiled_sha384: String,
    /// What an execution costs, in words of the component: by default `$0.01`.
    pub price: String,
    /// Other prices for single routes: `"/x402_policy/unsafe/python" = "$0.02"`.
    pub prices: BTreeMap<String, String>,
    /// The networks on which it may be paid, by names that the component knows.
    pub networks: Vec<String>,
    /// The account that is paid.
    pub pay_to: String,
    /// URLs of the facilitators that verify and settle; the component may reach these and no others.
    pub facilitators: Vec<String>,
    /// URL of an RPC endpoint for each network, by the name that the component has for it; where there is one, settlements are
    /// confirmed there.
    pub rpc: BTreeMap<String, String>,
    /// Header fields of every request to a facilitator or an endpoint, by its URL: each with the file that its value is read from.
    pub facilitator_headers: BTreeMap<String, BTreeMap<String, PathBuf>>,
    /// Assets that the component does not know by name.
    pub assets: Vec<Asset>,
    /// The payment scheme of the offers; by default `exact`.
    pub scheme: String,
    /// Settle before the program runs: it is paid for whatever becomes of it; by default `false`.
    pub settle_first: bool,
    /// What of an execution is charged, where the payer brings the program; by default `always`.
    pub charge: Charging,
    /// Payments of one payer that may be worked on at once before they are settled; by default 1.
    pub unsettled: usize,
    /// Other hosts are paid on the same account: a transfer that this host was not told of is not taken for its own; by
    /// default `false`.
    pub shared_account: bool,
    /// Blocks on top of the one with the transfer that make a settlement final, by network as in `rpc`; by default none.
    pub confirmations: BTreeMap<String, u64>,
    /// How long after a settlement it is looked at again, in case that the chain took it back: where `rpc` is set and the component
    /// can tell; 0 s for never; by default `5m`.
    #[serde(with = "humantime_serde")]
    pub recheck: Duration,
    /// Time a client has from the challenge to the settlement; by default `2m`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Wall-clock time of one call of the component, with the facilitator's answer; by default `60s`.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
    /// How long an answer that was paid for, or whose payment is in doubt, can be fetched again; by default `1h`.
    #[serde(with = "humantime_serde")]
    pub hold: Duration,
    /// Bytes of all answers that are held so; what does not fit is given once; by default 1 GiB.
    pub held: ByteSize,
    /// Bytes of one such answer; by default 16 MiB.
    pub held_each: ByteSize,
    /// Bytes of the answers that are held so for one payer; by default 64 MiB.
    pub held_payer: ByteSize,
    /// What stands before the path in a resource's URL: `https://host.example.org`. By default the request's own `Host`.
    pub public_url: String,
    /// Further environment variables of the component: its own settings.
    pub settings: BTreeMap<String, String>,
    /// What is paid by use.
    pub metered: Metered,
}

/// What is charged of an execution whose program the payer brings, and who therefore decides how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charging {
    /// One that comes to an end of its own. Of a trap and a limit nothing is told but that.
    Completed,
    /// One that began.
    Always,
}

/// An asset that can be paid with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The name that prices use.
    pub symbol: String,
    /// The network that has it, written as in `networks`.
    pub network: String,
    /// What names it there.
    pub address: String,
    /// Decimal places of a whole unit.
    pub decimals: u8,
    /// What the component wants to know besides: its keys, which the host does not judge.
    #[serde(flatten)]
    pub details: BTreeMap<String, String>,
}

/// The variables that tell the component what keys of their own set.
const VARIABLES: [&str; 6] = [
    "FACILITATORS",
    "RPC_URLS",
    "CONFIRMATIONS",
    "SHARED_ACCOUNT",
    "SETTLE_FIRST",
    "PUBLIC_URL",
];

impl Payments {
    /// Where the plugin comes from, if there is one.
    pub fn source(&self) -> Option<Source> {
        Source::new(&self.component, &self.compiled, &self.compiled_sha384)
    }

    /// The limits of one call: the executions' own, apart from the clock.
    pub fn limits(&self, executions: &Limits) -> Limits {
        Limits {
            wall: self.wall,
            ..executions.clone()
        }
    }

    /// The component's environment: what keys of `[payments]` say, and its own settings.
    pub fn environment(&self) -> Vec<(String, String)> {
        let rpc: Vec<String> = self
            .rpc
            .iter()
            .map(|(chain, url)| format!("{chain}={url}"))
            .collect();
        let depths = self.confirmations.iter();
        let depths: Vec<String> = depths.map(|(chain, n)| format!("{chain}={n}")).collect();
        let set = |is_set: bool| if is_set { "1" } else { "" }.to_owned();
        let [facilitators, urls, confirmations, account, first, public] = VARIABLES;
        let named = [
            (facilitators, self.facilitators.join(" ")),
            (urls, rpc.join(" ")),
            (confirmations, depths.join(" ")),
            (account, set(self.shared_account)),
            (first, set(self.settle_first)),
            (public, self.public_url.trim_end_matches('/').to_owned()),
        ];
        named
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value))
            .chain(self.settings.clone())
            .collect()
    }

    /// Checks what a component cannot: that the endpoints are URLs, and that the names of settings are free.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, message| Err(Error::Value { key, message });
        for (key, url) in [("payments.facilitators", &self.facilitators)]
            .into_iter()
            .flat_map(|(key, urls)| urls.iter().map(move |url| (key, url)))
            .chain(self.rpc.values().map(|url| ("payments.rpc", url)))
        {
            if url.parse().ok().as_ref().and_then(Origin::of).is_none() {
                return wrong(key, format!("`{url}` is not an http or https URL"));
            }
        }
        if self.unsettled == 0 {
            return wrong("payments.unsettled", "at least 1".to_owned());
        }
        for (key, time) in [
            ("payments.wall", self.wall),
            ("payments.timeout", self.timeout),
        ] {
            if time < Duration::from_secs(1) {
                return wrong(
                    key,
                    "at least 1s: nothing can be settled in less".to_owned(),
                );
            }
        }
        for (key, list) in [
            ("payments.networks", &self.networks),
            ("payments.facilitators", &self.facilitators),
        ] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = list.iter().find(|it| !seen.insert(it.as_str())) {
                return wrong(key, format!("`{twice}` is there twice"));
            }
        }
        if !self.public_url.is_empty() && !is_base(&self.public_url) {
            let message = format!(
                "`{}` is not an http or https URL that a path can follow: https://host.example.org",
                self.public_url
            );
            return wrong("payments.public_url", message);
        }
        if let Some(taken) = VARIABLES
            .into_iter()
            .find(|name| self.settings.contains_key(*name))
        {
            let message = format!("{taken} is set by a key of [payments] of its own");
            return wrong("payments.settings", message);
        }
        self.metered.validate(self.settle_first)
    }

    /// Whether settlements are looked at again: only a chain that can be asked takes one back.
    pub fn rechecks(&self) -> bool {
        !self.recheck.is_zero() && !self.rpc.is_empty()
    }

    /// Every URL that the component may send requests to.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        let rpc = self.rpc.values();
        self.facilitators.iter().chain(rpc).map(String::as_str)
    }
}

/// Whether a path can follow.
fn is_base(url: &str) -> bool {
    let parsed: Option<http::Uri> = url.parse().ok();
    let is_whole = !url.contains(['?', '#', '@']);
    is_whole && parsed.as_ref().and_then(Origin::of).is_some()
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            component: PathBuf::new(),
            compiled: PathBuf::new(),
            compiled_sha384: String::new(),
            price: "$0.01".to_owned(),
            prices: BTreeMap::new(),
            networks: Vec::new(),
            pay_to: String::new(),
            facilitators: Vec::new(),
            rpc: BTreeMap::new(),
            facilitator_headers: BTreeMap::new(),
            assets: Vec::new(),
            scheme: "exact".to_owned(),
            settle_first: false,
            charge: Charging::Always,
            unsettled: 1,
            shared_account: false,
            confirmations: BTreeMap::new(),
            timeout: Duration::from_secs(120),
            wall: Duration::from_secs(60),
            recheck: Duration::from_secs(300),
            hold: Duration::from_secs(3600),
            held: ByteSize::gib(1),
            held_each: ByteSize::mib(16),
            held_payer: ByteSize::mib(64),
            public_url: String::new(),
            settings: BTreeMap::new(),
            metered: Metered::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        type Spoil = fn(&mut Payments);
        let changes: [(&str, Spoil); 9] = [
            ("payments.wall", |it| it.wall = Duration::ZERO),
            ("payments.timeout", |it| it.timeout = Duration::ZERO),
            ("payments.metered", |it| {
                it.metered.routes.push("/a".to_owned());
            }),
            ("payments.metered", |it| {
                it.metered.routes.push("/a".to_owned());
                it.metered.base = "$0.01".to_owned();
                it.settle_first = true;
            }),
            ("payments.networks", |it| {
                it.networks = vec!["base".to_owned(); 2];
            }),
            ("payments.facilitators", |it| {
                it.facilitators = vec!["https://f.example".to_owned(); 2];
            }),
            ("payments.public_url", |it| {
                it.public_url = "shop.example".to_owned();
            }),
            ("payments.public_url", |it| {
                it.public_url = "ftp://shop.example".to_owned();
            }),
            ("payments.public_url", |it| {
                it.public_url = "https://shop.example/?page".to_owned();
            }),
        ];
        for (key, change) in changes {
            let mut payments = Payments::default();
            payments.validate().unwrap();
            change(&mut payments);
            let refusal = payments.validate().unwrap_err().to_string();
            assert!(refusal.contains(key), "{refusal}");
        }
    }
}
