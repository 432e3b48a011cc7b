//! Reference values: what a guest image, and the firmware under it, must measure.

use std::collections::BTreeMap;
use std::fmt;

use hypervisor_protocol::HexArray;
use serde::{Deserialize, Serialize};

use super::BootEvent;

fn zero<const N: usize>() -> HexArray<N> {
    HexArray([0; N])
}

/// A guest image on TDX. All values must match together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TdxReference {
    /// A name for verdicts.
    pub name: String,
    /// The firmware.
    pub mrtd: HexArray<48>,
    /// The firmware's configuration. It, RTMR1 or RTMR2 may be left out where `events` names all that goes into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr0: Option<HexArray<48>>,
    /// The kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr1: Option<HexArray<48>>,
    /// Its command line and initial file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmr2: Option<HexArray<48>>,
    /// RTMR3 before the component log.
    #[serde(default = "zero")]
    pub rtmr3: HexArray<48>,
    /// The features that the guest may use.
    pub xfam: HexArray<8>,
    /// The TD's attributes.
    pub td_attributes: HexArray<8>,
    /// Set by who started the TD.
    #[serde(default = "zero")]
    pub mrconfigid: HexArray<48>,
    /// Set by who started the TD.
    #[serde(default = "zero")]
    pub mrowner: HexArray<48>,
    /// Set by who started the TD.
    #[serde(default = "zero")]
    pub mrownerconfig: HexArray<48>,
    /// What it boots, event by event.
    #[serde(default)]
    pub events: Vec<BootEvent>,
}

/// A guest image on SEV-SNP. All values must match together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnpReference {
    /// A name for verdicts.
    pub name: String,
    /// The launch measurement.
    pub measurement: HexArray<48>,
    /// The guest policy.
    pub guest_policy: u64,
    /// Set by who started the guest.
    #[serde(default = "zero")]
    pub host_data: HexArray<32>,
    /// The key that signed the id block.
    #[serde(default = "zero")]
    pub id_key_digest: HexArray<48>,
    /// The key that certified that key.
    #[serde(default = "zero")]
    pub author_key_digest: HexArray<48>,
    /// From the id block.
    #[serde(default = "zero")]
    pub family_id: HexArray<16>,
    /// From the id block.
    #[serde(default = "zero")]
    pub image_id: HexArray<16>,
}

/// A generation of AMD processors, each with its own root certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One word, and the same as in a policy.
        self.serialize(f)
    }
}

/// The generations that a policy accepts, at these versions.
pub type Generations = BTreeMap<Generation, FirmwareFloor>;

/// Security versions of the firmware's parts: those of a chip, or the least that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareFloor {
    /// The FMC, which Turin has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// The boot loader.
    pub bootloader: u8,
    /// The secure processor's operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The microcode.
    pub microcode: u8,
}
