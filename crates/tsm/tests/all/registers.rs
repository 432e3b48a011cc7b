//! The runtime register.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hypervisor_evidence::{Attester, AttesterError, extend_and_check, log};
use hypervisor_tsm::Error;

use crate::support::kernel::{BOOT_LOG, Driver, Kernel, RTMR3};
use crate::support::{REPORT_DATA, open, simulator, snp, tdx};

#[test]
fn an_extension_shows_in_the_register_and_in_the_next_quote() {
    let tsm = open(&tdx()).unwrap();
    let value = extend_and_check(&tsm, &[7; 48]).unwrap();
    assert_eq!(value, log::extend(&[0; 48], &[7; 48]));
    assert_eq!(tsm.quote(&REPORT_DATA).unwrap().bytes[520..568], value);
}

#[test]
fn an_extension_by_someone_else_is_noticed() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.foreign_extends(1);
    assert!(matches!(
        extend_and_check(&tsm, &[7; 48]),
        Err(AttesterError::RegisterMismatch)
    ));
}

#[test]
fn platforms_without_a_register_say_so() {
    let old = tdx();
    old.without_registers();
    for kernel in [old, snp()] {
        let tsm = open(&kernel).unwrap();
        assert!(!tsm.capabilities().runtime_register);
        assert_eq!(tsm.extend(&[7; 48]), Err(Error::NoRuntimeRegister));
        assert_eq!(tsm.read_register(), Err(Error::NoRuntimeRegister));
    }
}

#[test]
fn a_register_of_another_length_is_refused() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    kernel.set_register(RTMR3, vec![0; 32]);
    assert!(matches!(
        tsm.read_register(),
        Err(Error::RegisterLength { length: 32, .. })
    ));
}

#[test]
fn every_register_that_the_kernel_shows_is_listed() {
    let tsm = open(&tdx()).unwrap();
    let names: Vec<&str> = tsm
        .registers()
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "mrtd:sha384",
            "rtmr0:sha384",
            "rtmr1:sha384",
            "rtmr2:sha384",
            RTMR3
        ]
    );
}

#[test]
fn the_simulated_register_extends_alike() {
    let hardware = open(&Kernel::new(Driver::Tdx(Box::new(simulator())))).unwrap();
    let simulated = simulator();
    for digest in [[1; 48], [2; 48], [3; 48]] {
        assert_eq!(
            extend_and_check(&hardware, &digest).unwrap(),
            extend_and_check(&simulated, &digest).unwrap()
        );
    }
}

#[test]
fn the_boot_log_is_given_without_most_of_its_padding() {
    let kernel = tdx();
    let tsm = open(&kernel).unwrap();
    assert_eq!(tsm.boot_log(), Ok(None));
    kernel.set_register(BOOT_LOG, [vec![1, 2, 3], vec![0xff; 65_533]].concat());
    let cut = [vec![1, 2, 3], vec![0xff; 64]].concat();
    assert_eq!(Attester::boot_log(&tsm).unwrap(), Some(cut));
    kernel.set_register(BOOT_LOG, vec![1; 70]);
    assert_eq!(tsm.boot_log(), Ok(Some(vec![1; 70])));
    kernel.set_register(BOOT_LOG, vec![1; (4 << 20) + 1]);
    assert!(matches!(tsm.boot_log(), Err(Error::TooLarge { .. })));
}
