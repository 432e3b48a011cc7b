//! Shared by the tests of this crate.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod kernel;

use std::sync::Arc;
use std::time::Duration;

use hypervisor_simulated::Simulator;
use hypervisor_tsm::{Error, Paths, Retry, Tsm};

use kernel::{Driver, Kernel};

pub const REPORT_DATA: [u8; 64] = [0x5a; 64];

/// An SEV-SNP report of a real Milan machine.
pub fn milan() -> Vec<u8> {
    hex(include_str!("../../../vectors/snp_milan.hex"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|c| char::from(c).to_digit(16))
        .map(|d| u8::try_from(d).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub fn simulator() -> Simulator {
    Simulator::builder(b"tsm tests").build().unwrap()
}

/// A kernel whose TDX module is simulated.
pub fn tdx() -> Arc<Kernel> {
    Kernel::new(Driver::Tdx(Box::new(simulator())))
}

pub fn snp() -> Arc<Kernel> {
    Kernel::new(Driver::Sev)
}

pub fn open(kernel: &Arc<Kernel>) -> Result<Tsm, Error> {
    let retry = Retry {
        pause: Duration::ZERO,
        ..Retry::default()
    };
    Tsm::with(kernel.clone(), paths(), retry)
}

pub fn paths() -> Paths {
    Paths {
        reports: kernel::REPORTS.into(),
        measurements: kernel::MEASUREMENTS.into(),
        boot_log: format!("{}/{}", kernel::MEASUREMENTS, kernel::BOOT_LOG).into(),
    }
}
