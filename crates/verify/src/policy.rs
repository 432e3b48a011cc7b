//! A verification policy: what evidence must show, from a TOML file.
//!
//! `policy/reference.toml` has every key with its meaning. A policy fails closed: roots, reference values, components and
//! manifests have no default that accepts anything, unknown keys are refused with the nearest known one, and each relaxation
//! is a key whose use a verdict reports.

mod boot;
mod keys;
mod reference;
mod vtpm;

use std::time::Duration;

use hypervisor_protocol::HexArray;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::PolicyError;

pub use boot::{BOOT_REGISTERS, BootEvent};
pub use reference::{FirmwareFloor, Generation, Generations, SnpReference, TdxReference};
pub use vtpm::{MeasuredFile, PcrEvent, PcrValue, VtpmReference, VtpmRules};

/// The most bytes of a policy file.
pub const MAX_LENGTH: usize = 1 << 20;

const VERSION: u32 = 1;

/// TCB statuses that a policy may accept (Intel's names).
const TCB_STATUSES: [&str; 8] = [
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
];

/// What a report says of an SNP platform, beside SMT, and the bits of PLATFORM_INFO (AMD 56860).
pub const PLATFORM_FLAGS: [(&str, u32); 5] = [
    ("tsme", 1),
    ("ecc", 2),
    ("rapl-disabled", 3),
    ("ciphertext-hiding", 4),
    ("alias-check-complete", 5),
];

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// SHA-256 of the file's text, which identifies the policy in verdicts.
    pub digest: [u8; 32],
    /// Whose evidence is believed.
    pub trust: Trust,
    /// What the evidence must show.
    pub rules: Rules,
    /// The log that its reference values are in.
    pub transparency: Option<Transparency>,
}

/// `[transparency]`: where reference values were taken from, for whoever takes newer ones. Evidence is not held against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transparency {
    /// The log's key.
    pub log_key: String,
    /// Witnesses of the log.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// How many of them have to have cosigned.
    #[serde(default)]
    pub witnesses_required: usize,
    /// The log's checkpoint that the values are in.
    pub checkpoint: String,
}

/// Whose evidence is believed. The policy alone decides this, never the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Hardware of these vendors.
    Hardware {
        /// Intel TDX, under Intel's root.
        intel: bool,
        /// AMD SEV-SNP, under AMD's roots.
        amd: bool,
    },
    /// One simulator, by the SHA-256 fingerprint of its root certificate. Proves nothing about hardware.
    Simulated {
        /// The fingerprint.
        fingerprint: [u8; 32],
    },
}

/// What evidence must show: the sections of the file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// `[freshness]`.
    pub freshness: Freshness,
    /// `[log]`.
    pub log: LogRules,
    /// `[components]`.
    pub components: Components,
    /// `[manifest]`.
    pub manifest: Manifests,
    /// `[tdx]`.
    pub tdx: TdxRules,
    /// `[snp]`.
    pub snp: SnpRules,
    /// `[vtpm]`.
    pub vtpm: VtpmRules,
}

/// `[freshness]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Freshness {
    /// Whether evidence must hold the verifier's nonce.
    pub nonce_required: bool,
    /// How long after the nonce was made evidence is accepted.
    #[serde(deserialize_with = "duration", serialize_with = "write_duration")]
    pub max_age: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            nonce_required: true,
            max_age: Duration::from_secs(300),
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRules {
    /// Whether the log must be extended into a register too.
    pub register_required: bool,
}

/// `[components]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Components {
    /// Whether every component is accepted.
    pub any: bool,
    /// Whether agents (entries named `agent/…`) are accepted though they are not named. They come and go with whoever
    /// deploys them, run in sandboxes of their own, and have no part in other executions; what answered a sealed call is
    /// named in its report.
    pub agents: bool,
    /// The components that are.
    pub allowed: Vec<AllowedComponent>,
    /// SHA-384 of the machine code, compiled outside the guest, that plugins may run from; unjudged where none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled: Option<Vec<HexArray<48>>>,
}

impl Default for Components {
    fn default() -> Self {
        Self {
            any: false,
            agents: true,
            allowed: Vec::new(),
            compiled: None,
        }
    }
}

/// A component that may be in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllowedComponent {
    /// The only name it may be loaded under; any, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-384 of its bytes.
    pub digest: HexArray<48>,
}

/// `[manifest]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifests {
    /// Whether every manifest is accepted.
    pub any: bool,
    /// SHA-384 of those that are.
    pub allowed: Vec<HexArray<48>>,
    /// SHA-256 of the policies by which hosts may share the key that they keep agents and payments under; unjudged where none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Vec<HexArray<32>>>,
}

/// `[tdx]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TdxRules {
    /// Accepted TCB statuses.
    pub tcb_status: Vec<String>,
    /// How long after the date of its TCB level an out-of-date platform is accepted.
    #[serde(deserialize_with = "duration", serialize_with = "write_duration")]
    pub out_of_date_grace: Duration,
    /// The least `tcbEvaluationDataNumber` of the collateral.
    pub minimum_tcb_evaluation_data_number: u32,
    /// Advisories of which none may apply.
    pub refused_advisories: Vec<String>,
    /// Whether bound service TDs are accepted.
    pub allow_service_td: bool,
    /// Whether a TD is accepted in which the hypervisor can cause exceptions on private memory.
    pub allow_sept_ve: bool,
    /// Whether PERFMON is accepted.
    pub allow_perfmon: bool,
    /// Whether ICSSD is required.
    pub require_icssd: bool,
    /// Whether SMT is refused.
    pub refuse_smt: bool,
    /// Whether platforms with packages that can be added are refused.
    pub refuse_dynamic_platform: bool,
    /// Whether platforms with cached keys are refused.
    pub refuse_cached_keys: bool,
    /// Accepted machines, by PPID; every one where none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<HexArray<16>>>,
    /// Accepted guest images.
    pub reference: Vec<TdxReference>,
}

impl Default for TdxRules {
    fn default() -> Self {
        Self {
            tcb_status: vec!["UpToDate".to_owned()],
            out_of_date_grace: Duration::ZERO,
            minimum_tcb_evaluation_data_number: 0,
            refused_advisories: Vec::new(),
            allow_service_td: false,
            allow_sept_ve: false,
            allow_perfmon: false,
            require_icssd: false,
            refuse_smt: false,
            refuse_dynamic_platform: false,
            refuse_cached_keys: false,
            platforms: None,
            reference: Vec::new(),
        }
    }
}

/// `[snp]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnpRules {
    /// Accepted versions of the report.
    pub report_versions: Vec<u32>,
    /// The privilege level of the guest.
    pub vmpl: u32,
    /// Whether SMT is accepted.
    pub allow_smt: bool,
    /// Whether a guest may run beside memory on CXL.
    pub allow_cxl: bool,
    /// What the platform must have, by the names of [`PLATFORM_FLAGS`].
    pub required_flags: Vec<String>,
    /// Whether AMD's revocation list must be there.
    pub require_crl: bool,
    /// Accepted machines, by chip id; every one where none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chips: Option<Vec<HexArray<64>>>,
    /// Accepted generations and the floors of their firmware.
    pub generations: Generations,
    /// Accepted guest images.
    pub reference: Vec<SnpReference>,
}

impl Default for SnpRules {
    fn default() -> Self {
        Self {
            report_versions: vec![3, 4, 5],
            vmpl: 0,
            allow_smt: true,
            allow_cxl: true,
            required_flags: Vec::new(),
            require_crl: false,
            chips: None,
            generations: Generations::default(),
            reference: Vec::new(),
        }
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    roots: Roots,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transparency: Option<Transparency>,
    #[serde(flatten)]
    rules: Rules,
}

#[derive(Serialize, Deserialize)]
struct Roots {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    vendors: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    simulated: Option<HexArray<32>>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format_args!(
            "`{text}` is not a duration ({error}); write it like \"90s\", \"5m\" or \"14days\""
        ))
    })
}

fn write_duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

fn refuse<T>(reason: String) -> Result<T, PolicyError> {
    Err(PolicyError::Invalid { reason })
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError::TooLarge`], [`PolicyError::Version`], and [`PolicyError::Invalid`] for text that is not TOML, an unknown key (with the
    /// nearest known one), a value out of its range, no root, or roots of vendors beside a simulator's.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_LENGTH {
            return Err(PolicyError::TooLarge {
                size: text.len(),
                maximum: MAX_LENGTH,
            });
        }
        let table: toml::Table = text
            .parse()
            .or_else(|error: toml::de::Error| refuse(error.to_string()))?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(version) if version == i64::from(VERSION) => {}
            Some(version) => {
                return Err(PolicyError::Version {
                    found: u64::try_from(version).unwrap_or_default(),
                });
            }
            None => return refuse(format!("`version` is missing; write `version = {VERSION}`")),
        }
        keys::check(&table)?;
        let file: File = toml::from_str(text).or_else(|error| refuse(error.to_string()))?;
        let policy = Self {
            name: file.name,
            digest: Sha256::digest(text).into(),
            trust: file.roots.trust()?,
            rules: file.rules,
            transparency: file.transparency,
        };
        policy.rules.check()?;
        Ok(policy)
    }
}

impl Roots {
    fn trust(&self) -> Result<Trust, PolicyError> {
        let mut trust = (false, false);
        for vendor in &self.vendors {
            match vendor.as_str() {
                "intel" => trust.0 = true,
                "amd" => trust.1 = true,
                other => {
                    return refuse(format!(
                        "`roots.vendors` names `{other}`; known are \"intel\" and \"amd\""
                    ));
                }
            }
        }
        match (self.simulated, trust) {
            (None, (false, false)) => refuse(
                "`[roots]` names no root; write `vendors = [\"intel\", \"amd\"]`".to_owned(),
            ),
            (None, (intel, amd)) => Ok(Trust::Hardware { intel, amd }),
            (Some(fingerprint), (false, false)) => Ok(Trust::Simulated {
                fingerprint: fingerprint.0,
            }),
            (Some(_), _) => refuse(
                "`roots.simulated` beside `roots.vendors`: a policy accepts hardware or a simulator, never both; keep two files"
                    .to_owned(),
            ),
        }
    }
}

impl Rules {
    fn check(&self) -> Result<(), PolicyError> {
        let (statuses, flags) = (&self.tdx.tcb_status, &self.snp.required_flags);
        let platform = PLATFORM_FLAGS.map(|(name, _)| name);
        keys::known(
            "tdx.tcb_status",
            statuses,
            "status that can be accepted",
            &TCB_STATUSES,
        )?;
        keys::known(
            "snp.required_flags",
            flags,
            "flag of SNP platforms",
            &platform,
        )?;
        if let Some(version) = self
            .snp
            .report_versions
            .iter()
            .find(|version| !(2..=5).contains(*version))
        {
            return refuse(format!(
                "`snp.report_versions` names {version}; this program reads 2 to 5"
            ));
        }
        for reference in &self.tdx.reference {
            reference.check()?;
        }
        for reference in &self.vtpm.reference {
            reference.check()?;
        }
        for (section, any, named) in [
            (
                "components",
                self.components.any,
                self.components.allowed.len(),
            ),
            ("manifest", self.manifest.any, self.manifest.allowed.len()),
        ] {
            if any && named > 0 {
                return refuse(format!(
                    "`{section}.any` beside `{section}.allowed`: one makes the other void; remove one"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
