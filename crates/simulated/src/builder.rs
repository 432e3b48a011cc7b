//! Options of a simulated TD, above all the bad ones that no public sample has.

use std::time::Duration;

use crate::error::Error;
use crate::platform::{ComponentTcb, Platform, PlatformTcb};
use crate::simulator::Simulator;
use crate::td::{QuoteBody, Td, attribute};

/// Longest tail or filler, bytes: the bound that readers of quotes keep.
const MAX_EXTRA: usize = 8 * 1024 * 1024;

/// Chooses what a [`Simulator`] simulates. Without any option its quotes pass a strict policy that trusts its root.
#[derive(Debug, Clone)]
pub struct SimulatorBuilder {
    seed: Vec<u8>,
    platform: Platform,
    td: Td,
    delay: Duration,
    sealing: bool,
}

impl SimulatorBuilder {
    pub(crate) fn new(seed: &[u8]) -> Self {
        Self {
            seed: seed.to_vec(),
            platform: Platform::default(),
            td: Td::default(),
            delay: Duration::ZERO,
            sealing: true,
        }
    }

    /// Makes the keys, the certificates and the collateral.
    ///
    /// # Errors
    ///
    /// [`Error::Time`] for a collateral window that X.509 can not hold.
    pub fn build(self) -> Result<Simulator, Error> {
        Simulator::new(&self.seed, self.platform, self.td, self.delay, self.sealing)
    }

    /// Version of the quote and its body. Default: [`QuoteBody::V4`].
    #[must_use]
    pub fn body(mut self, body: QuoteBody) -> Self {
        self.td.body = body;
        self
    }

    /// All 64 TD attributes. Default: [`attribute::SEPT_VE_DISABLE`] alone.
    #[must_use]
    pub fn attributes(mut self, attributes: u64) -> Self {
        self.td.attributes = attributes;
        self
    }

    /// A debug TD: the host sees everything.
    #[must_use]
    pub fn debug(self) -> Self {
        self.with(attribute::DEBUG)
    }

    /// A TD that the host may profile.
    #[must_use]
    pub fn profiling(self) -> Self {
        self.with(attribute::PERF_PROF)
    }

    /// A TD that may be moved to another machine.
    #[must_use]
    pub fn migratable(self) -> Self {
        self.with(attribute::MIGRATABLE)
    }

    /// A TD that survives touching pages that the host took away.
    #[must_use]
    pub fn without_sept_ve_disable(mut self) -> Self {
        self.td.attributes &= !attribute::SEPT_VE_DISABLE;
        self
    }

    /// Extended features enabled in the TD. Default: [`XFAM`](crate::XFAM).
    #[must_use]
    pub fn xfam(mut self, xfam: u64) -> Self {
        self.td.xfam = xfam;
        self
    }

    /// MRTD. Default: 48 bytes 0x11.
    #[must_use]
    pub fn mrtd(mut self, mrtd: [u8; 48]) -> Self {
        self.td.mrtd = mrtd;
        self
    }

    /// RTMR0 to RTMR3 at the start. Default: what the simulated boot log leads to, and zeros for RTMR3, which the attester extends.
    #[must_use]
    pub fn registers(mut self, registers: [[u8; 48]; 4]) -> Self {
        self.td.registers = registers;
        self
    }

    /// MRCONFIGID. Default: zeros.
    #[must_use]
    pub fn mr_config_id(mut self, value: [u8; 48]) -> Self {
        self.td.mr_config_id = value;
        self
    }

    /// MROWNERCONFIG. Default: zeros. (MROWNER always says that the TD is simulated.)
    #[must_use]
    pub fn mr_owner_config(mut self, value: [u8; 48]) -> Self {
        self.td.mr_owner_config = value;
        self
    }

    /// A TD with a service TD bound to it. Shows in TDX 1.5 bodies only.
    #[must_use]
    pub fn service_td(mut self, hash: [u8; 48]) -> Self {
        self.td.mr_service_td = hash;
        self
    }

    /// TCB level of the platform.
    #[must_use]
    pub fn platform_tcb(mut self, level: PlatformTcb) -> Self {
        self.platform.tcb = level;
        self
    }

    /// TCB level of the TDX module when the TD was launched.
    #[must_use]
    pub fn module_tcb(mut self, level: ComponentTcb) -> Self {
        self.platform.module = level;
        self
    }

    /// TCB level of the TDX module now, after an update under the running TD (TDX 1.5 bodies). Default: as at launch.
    #[must_use]
    pub fn current_module_tcb(mut self, level: ComponentTcb) -> Self {
        self.platform.current_module = Some(level);
        self
    }

    /// TCB level of the quoting enclave.
    #[must_use]
    pub fn qe_tcb(mut self, level: ComponentTcb) -> Self {
        self.platform.qe = level;
        self
    }

    /// A quoting enclave of another signer than the QE identity names.
    #[must_use]
    pub fn wrong_qe(mut self) -> Self {
        self.platform.wrong_qe = true;
        self
    }

    /// Collateral for another processor family than the PCK certificate names.
    #[must_use]
    pub fn wrong_fmspc(mut self) -> Self {
        self.platform.collateral.fmspc = Some([0xff; 6]);
        self
    }

    /// A platform as the large clouds have them: dynamic, with cached keys, with hyper-threading. Strict policies refuse it.
    #[must_use]
    pub fn cloud_class(mut self) -> Self {
        self.platform.dynamic_platform = true;
        self.platform.cached_keys = true;
        self.platform.smt = true;
        self
    }

    /// The PCK certificate is on the PCK CA's list.
    #[must_use]
    pub fn revoked_pck(mut self) -> Self {
        self.platform.pck_revoked = true;
        self
    }

    /// The PCK CA is on the root's list.
    #[must_use]
    pub fn revoked_pck_ca(mut self) -> Self {
        self.platform.pck_ca_revoked = true;
        self
    }

    /// When collateral and CRLs are issued and when they end, seconds since 1970. Default: 2025-01-01 to 2049-12-31.
    #[must_use]
    pub fn collateral_window(mut self, issued: u64, next_update: u64) -> Self {
        self.platform.collateral.issued = issued;
        self.platform.collateral.next_update = next_update;
        self
    }

    /// `tcbEvaluationDataNumber` of the collateral, and number of the CRLs. Default: 20.
    #[must_use]
    pub fn evaluation_number(mut self, number: u32) -> Self {
        self.platform.collateral.evaluation = number;
        self
    }

    /// Advisories on the `UpToDate` level: up to date and not free of advisories. Default: none.
    #[must_use]
    pub fn advisories<I: IntoIterator<Item = String>>(mut self, advisories: I) -> Self {
        self.platform.collateral.advisories = advisories.into_iter().collect();
        self
    }

    /// `length` bytes `byte` after the quote's end, as hosts leave them. At most 8 MiB.
    #[must_use]
    pub fn tail(mut self, length: usize, byte: u8) -> Self {
        self.td.tail = (length.min(MAX_EXTRA), byte);
        self
    }

    /// `length` bytes inside the quote, after the certificate chain: a valid quote of any size. At most 8 MiB.
    #[must_use]
    pub fn filler(mut self, length: usize) -> Self {
        self.td.filler = length.min(MAX_EXTRA);
        self
    }

    /// Puts `bytes` at an offset of what is signed, before it is: wrong values under a right signature.
    #[must_use]
    pub fn altered(mut self, at: usize, bytes: &[u8]) -> Self {
        self.td.altered = Some((at, bytes.to_vec()));
        self
    }

    /// How long each quote takes, one at a time, as a real driver does (one second). Default: none.
    #[must_use]
    pub fn driver_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// A platform without sealing keys: for a seed that is random, and so another the next time. Default: keys of the seed, the
    /// MRTD and the attributes, which whoever knows the seed can make too.
    #[must_use]
    pub fn without_sealing_key(mut self) -> Self {
        self.sealing = false;
        self
    }

    fn with(mut self, bits: u64) -> Self {
        self.td.attributes |= bits;
        self
    }
}
