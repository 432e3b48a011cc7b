//! What is known of an environment beside its state.

use std::fmt;

use hypervisor_protocol::HexArray;
use hypervisor_protocol::environment::{CallLimits, EnvironmentInfo};
use hypervisor_runtime::Language;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::reach::Whose;

/// What an environment is called by: random, so that it tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Id(pub(crate) HexArray<16>);

impl Id {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(HexArray(bytes)))
    }

    /// 32 hex digits in lower case; nothing else is one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.iter().all(is_digit) {
            return None;
        }
        const_hex::decode_to_array(text)
            .ok()
            .map(|it| Self(HexArray(it)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.as_bytes()))
    }
}

/// What is known of an environment; kept as CBOR.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: Id,
    /// The id of its owner's key.
    pub(crate) owner: String,
    /// The network that it was set up from, where all that comes from one shares what an owner may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<String>,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) bundle: HexArray<32>,
    pub(crate) engine: HexArray<48>,
    pub(crate) limits: CallLimits,
    /// Origins that its code may send requests to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outgoing: Vec<String>,
    pub(crate) created_at: u64,
    pub(crate) used_at: u64,
    pub(crate) ends_at: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) turns: u64,
    /// Which writing of its state is the one.
    pub(crate) writing: u64,
    pub(crate) state_bytes: u64,
    pub(crate) state: HexArray<32>,
    /// The version of its row.
    #[serde(skip)]
    pub(crate) version: u64,
}

impl Head {
    /// Whose what it keeps is counted as.
    pub(crate) fn accounts(&self) -> Vec<String> {
        accounts(&self.owner, self.network.as_deref())
    }

    /// What is kept of it from a moment to its end at the latest: bytes, times seconds.
    pub(crate) fn stored_from(&self, moment: u64) -> u64 {
        self.state_bytes
            .saturating_mul(self.ends_at.saturating_sub(moment))
    }

    /// When it ends if nobody uses it any more.
    pub(crate) fn expires_at(&self) -> u64 {
        self.used_at
            .saturating_add(self.idle_seconds)
            .min(self.ends_at)
    }

    pub(crate) fn language(&self) -> Option<Language> {
        language(&self.language)
    }

    /// Whose requests those of its code are.
    pub(crate) fn whose(&self) -> Whose<'_> {
        Whose {
            id: self.id,
            owner: &self.owner,
            bundle: self.bundle.0,
            outgoing: &self.outgoing,
        }
    }

    /// What its owner is told of it.
    pub(crate) fn info(&self, persistent: bool) -> EnvironmentInfo {
        EnvironmentInfo {
            id: self.id.to_string(),
            name: self.name.clone(),
            language: self.language.clone(),
            bundle: self.bundle,
            engine: self.engine,
            state_bytes: self.state_bytes,
            state: self.state,
            turns: self.turns,
            created_at: self.created_at,
            expires_at: self.expires_at(),
            ends_at: self.ends_at,
            idle_seconds: self.idle_seconds,
            limits: self.limits,
            outgoing: self.outgoing.clone(),
            persistent,
        }
    }
}

/// The accounts of an owner that comes from a network. A network is no id of an owner's.
pub(crate) fn accounts(owner: &str, network: Option<&str>) -> Vec<String> {
    let network = network.map(|network| format!("network {network}"));
    [owner.to_owned()].into_iter().chain(network).collect()
}

/// A language by its name.
pub(crate) fn language(name: &str) -> Option<Language> {
    let all = [Language::Python, Language::Javascript];
    all.into_iter().find(|language| language.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = Id::random().unwrap();
        let text = id.to_string();
        assert!(Id::parse(text.as_bytes()) == Some(id));
        for other in [
            "",
            "0",
            &text
                .to_uppercase()
                .replace(|c: char| c.is_ascii_digit(), "A"),
            &format!("0x{}", &text[2..]),
            &format!("{text}00"),
            "../../../../../../../etc/passwd0",
        ] {
            assert!(Id::parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
