//! A verification policy for an image: what `hv --policy` reads.

use std::fmt::Write as _;

use const_hex::encode as hex;
use sha2::{Digest, Sha384};

use crate::boot::Registers;

/// MRTD of simulated quotes.
const SIMULATED_MRTD: [u8; 48] = [0x11; 48];
/// The one event of each of RTMR0 to 2 in their boot log.
const SIMULATED_EVENTS: [&str; 3] = [
    "SIMULATED firmware configuration",
    "SIMULATED kernel",
    "SIMULATED command line",
];
/// What their MROWNER begins with; zeros follow.
const SIMULATED_OWNER: &[u8] = b"SIMULATED NOT A TEE";

/// Whose evidence is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// That of Intel's and AMD's hardware.
    Vendors,
    /// That of a simulator whose root has this fingerprint, hex: the image's configuration asks for it.
    Simulated(String),
}

/// What is known of a TD apart from the image: hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tdx {
    /// The firmware.
    pub mrtd: String,
    /// The firmware's configuration.
    pub rtmr0: String,
    /// The features that the guest may use.
    pub xfam: String,
    /// The TD's attributes.
    pub td_attributes: String,
}

/// Everything that goes into the policy.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The image's name.
    pub name: &'a str,
    /// Whose evidence is believed.
    pub roots: Roots,
    /// SHA-384 of the manifest, hex.
    pub manifest: String,
    /// Components by the names that they are loaded under, with their SHA-384, hex.
    pub components: Vec<(String, String)>,
    /// After the boot.
    pub registers: Registers,
    /// Where the image runs on TDX.
    pub tdx: Option<Tdx>,
    /// The launch measurement of SEV-SNP.
    pub snp: Option<[u8; 48]>,
}

/// RTMR0 to 2 of simulated quotes: each was extended once.
fn simulated_registers() -> [[u8; 48]; 3] {
    SIMULATED_EVENTS.map(|event| {
        let mut hash = Sha384::new_with_prefix([0; 48]);
        hash.update(Sha384::digest(event));
        hash.finalize().into()
    })
}

impl Facts<'_> {
    /// The policy's text.
    pub fn policy(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let name = self.name.escape_default();
        writeln!(
            out,
            "# Made by `hypervisor-ctl measure image` from the image alone: nothing in it was read from a machine that runs.
# policy/reference.toml of hypervisor-verify explains every key.
version = 1
name = \"{name}\"

[roots]"
        )?;
        match &self.roots {
            Roots::Vendors => writeln!(out, "vendors = [\"intel\", \"amd\"]")?,
            Roots::Simulated(root) => writeln!(
                out,
                "# The image asks for simulated quotes: this proves nothing about any hardware.\nsimulated = \"{root}\""
            )?,
        }
        writeln!(
            out,
            "\n# What the configuration in the image makes of the host.\n[manifest]\nallowed = [\"{}\"]",
            self.manifest
        )?;
        if !self.components.is_empty() {
            writeln!(out, "\n# The components in the image.")?;
        }
        for (name, digest) in &self.components {
            let name = name.escape_default();
            writeln!(
                out,
                "[[components.allowed]]\nname = \"{name}\"\ndigest = \"{digest}\"\n"
            )?;
        }
        self.tpm(out)?;
        self.on_tdx(out)?;
        self.on_snp(out)
    }

    /// No policy has keys for it yet: for people and for other verifiers.
    fn tpm(&self, out: &mut String) -> std::fmt::Result {
        let registers = &self.registers;
        writeln!(
            out,
            "\n# TPM, SHA-256: PCR 12 and 13 stay zero, or something was added to the image.
#   pcr4  = \"{}\"
#   pcr9  = \"{}\"
#   pcr11 = \"{}\"",
            hex(registers.pcr4.sha256),
            hex(registers.pcr9.sha256),
            hex(registers.pcr11.sha256),
        )
    }

    fn on_tdx(&self, out: &mut String) -> std::fmt::Result {
        let (rtmr1, rtmr2) = (
            hex(self.registers.rtmr1.sha384),
            hex(self.registers.rtmr2.sha384),
        );
        writeln!(
            out,
            "\n# TDX: RTMR1 and RTMR2 are the events that a TPM showed, in SHA-384; NEVER SEEN ON HARDWARE."
        )?;
        match &self.tdx {
            _ if matches!(self.roots, Roots::Simulated(_)) => {
                let mrtd = hex(SIMULATED_MRTD);
                let [rtmr0, simulated1, simulated2] = simulated_registers().map(hex);
                writeln!(
                    out,
                    "#   rtmr1 = \"{rtmr1}\"\n#   rtmr2 = \"{rtmr2}\"
# A simulated quote has registers of its own, which no image decides.
[[tdx.reference]]\nname = \"simulated\"\nmrtd = \"{mrtd}\"\nrtmr0 = \"{rtmr0}\"\nrtmr1 = \"{simulated1}\"\nrtmr2 = \"{simulated2}\"
xfam = \"e702060000000000\"\ntd_attributes = \"0000001000000000\"\nmrowner = \"{:0<96}\"",
                    hex(SIMULATED_OWNER)
                )
            }
            None => writeln!(
                out,
                "# The firmware's values are not in the image: with --mrtd, --rtmr0, --xfam and --td-attributes they stand here, and evidence
# of TDX is accepted. Without them it is refused.
# [[tdx.reference]]\n# rtmr1 = \"{rtmr1}\"\n# rtmr2 = \"{rtmr2}\""
            ),
            Some(tdx) => writeln!(
                out,
                "[[tdx.reference]]\nname = \"{}\"\nmrtd = \"{}\"\nrtmr0 = \"{}\"\nrtmr1 = \"{rtmr1}\"\nrtmr2 = \"{rtmr2}\"\nxfam = \"{}\"\ntd_attributes = \"{}\"",
                self.name.escape_default(),
                tdx.mrtd,
                tdx.rtmr0,
                tdx.xfam,
                tdx.td_attributes
            ),
        }
    }

    fn on_snp(&self, out: &mut String) -> std::fmt::Result {
        match &self.snp {
            None => writeln!(
                out,
                "\n# SEV-SNP: with --ovmf, --vcpus and --vcpu-type the launch measurement stands here. Without it evidence is refused."
            ),
            Some(measurement) => writeln!(
                out,
                "\n# SEV-SNP: as QEMU starts it with kernel-hashes=on. Each generation that is accepted needs its own section:
# [snp.generations.milan] and so on.
[[snp.reference]]\nname = \"{}\"\nmeasurement = \"{}\"\nguest_policy = 0x30000",
                self.name.escape_default(),
                hex(measurement)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_quotes_have_the_registers_that_the_policy_names() {
        let (_, registers) = hypervisor_simulated::boot();
        assert_eq!(registers[..3], simulated_registers());
    }
}
