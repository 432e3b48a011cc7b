//! `agent.toml`: what an agent's owner says about it. The same text lies in the registry and travels sealed.
//!
//! ```toml
//! name = "weather"                               # required
//! description = "Tells the weather of a city."   # required
//! version = "1.0.0"                              # required
//! world = "service"                              # or "command"; by default what the component exports
//! skills = ["weather", "forecast"]
//! private = false
//! price = "$0.01"
//! pay_to = "0x…"
//! reuse = 1
//! outgoing = ["https://api.example.org", "https://*.example.com"]
//!
//! [environment]
//! API_KEY = "…"
//!
//! [limits]
//! cpu = "5s"
//! wall = "30s"
//! memory = "64 MiB"
//! output = "1 MiB"
//!
//! [tool]
//! description = "Tells the weather of a city, of today or tomorrow."
//! path = "/forecast"
//! input_schema = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
//! ```
//!
//! The text may hold secrets, in `[environment]`: no error repeats a line of it or a value from there.

mod check;
mod environment;
mod tool;
mod unknown;

use std::time::Duration;

use bytesize::ByteSize;
use hypervisor_protocol::{AgentTool, AgentWorld};
use serde::Deserialize;

pub use check::{
    MAX_DESCRIPTION, MAX_OUTGOING, MAX_REUSE, MAX_SKILL, MAX_SKILLS, MAX_TEXT, MAX_VERSION,
};
pub use environment::{Environment, MAX_ENVIRONMENT, MAX_VARIABLES};

use crate::error::ManifestError;
use crate::name::Name;

/// A manifest whose every bound was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The agent's name.
    pub name: Name,
    /// What it does, for people: 1 to 2,000 characters.
    pub description: String,
    /// The version that its owner gives it: 1 to 64 of `A-Z a-z 0-9 . + -`.
    pub version: String,
    /// What it is called by; none leaves it to the component's exports.
    pub world: Option<AgentWorld>,
    /// What it can do, in words to be found by: at most 32 of 1 to 100 characters.
    pub skills: Vec<String>,
    /// Whether only its owner may know of it.
    pub private: bool,
    /// What a call costs: `AMOUNT SYMBOL`, the amount a decimal number above 0. Whether the asset exists is not checked here.
    pub price: Option<String>,
    /// Who is paid; none means the operator's account.
    pub pay_to: Option<String>,
    /// The media type of its answers, where they all have one.
    pub media_type: Option<String>,
    /// Requests that one instance serves, one after the other: 1 to 1,024.
    pub reuse: u32,
    /// Origins that it may send requests to: at most 64.
    pub outgoing: Vec<String>,
    /// Its environment variables.
    pub environment: Environment,
    /// Its own limits.
    pub limits: ManifestLimits,
    /// What models are told of it.
    pub tool: Option<AgentTool>,
}

/// `[limits]`: each is above 0, and none means the host's own. That they are not above the host's is for the host to see to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ManifestLimits {
    /// Processor time of one request.
    #[serde(with = "humantime_serde")]
    pub cpu: Option<Duration>,
    /// Wall-clock time of one request.
    #[serde(with = "humantime_serde")]
    pub wall: Option<Duration>,
    /// Linear memory of an instance.
    pub memory: Option<ByteSize>,
    /// Bytes of one answer.
    pub output: Option<ByteSize>,
}

/// The text as TOML has it, before its bounds are checked.
#[derive(Deserialize)]
struct Written {
    name: Option<String>,
    description: Option<String>,
    version: Option<String>,
    world: Option<AgentWorld>,
    #[serde(default)]
    skills: Vec<String>,
    #[serde(default)]
    private: bool,
    price: Option<String>,
    pay_to: Option<String>,
    media_type: Option<String>,
    reuse: Option<i64>,
    #[serde(default)]
    outgoing: Vec<String>,
    /// Any value, because a message about a wrong type would repeat it.
    environment: Option<toml::Value>,
    #[serde(default)]
    limits: ManifestLimits,
    tool: Option<tool::Written>,
}

impl Manifest {
    /// Reads a manifest: TOML, UTF-8, at most 64 KiB.
    ///
    /// # Errors
    /// [`ManifestError`] names the key, or the line of what is not TOML.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.len() > MAX_TEXT {
            return Err(ManifestError::TooLarge(text.len()));
        }
        let text = std::str::from_utf8(text)
            .map_err(|error| ManifestError::NotUtf8(error.valid_up_to()))?;
        let invalid = |error| not_toml(error, text);
        let document = toml::Deserializer::parse(text).map_err(invalid)?;
        let mut unknown = Vec::new();
        let written: Written =
            serde_ignored::deserialize(document, |key| unknown.push(key.to_string()))
                .map_err(invalid)?;
        if let Some(key) = unknown.first() {
            return Err(unknown::error(key));
        }
        check::manifest(written)
    }
}

/// The error without the line that it is about, which may hold a secret: its number and the key are enough to find it.
fn not_toml(mut error: toml::de::Error, text: &str) -> ManifestError {
    /// Most characters of the message; a value of the wrong form is repeated in it.
    const MAX_MESSAGE: usize = 300;
    let start = error.span().map_or(0, |span| span.start);
    let before = text.bytes().take(start).filter(|b| *b == b'\n').count();
    error.set_input(None);
    let message = error.to_string();
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let message = message.trim_end().chars().map(visible).take(MAX_MESSAGE);
    ManifestError::Invalid(before.saturating_add(1), message.collect())
}
