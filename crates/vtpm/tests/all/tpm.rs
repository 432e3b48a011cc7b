//! The commands themselves.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io;

use hypervisor_evidence::vtpm::TpmQuote;
use hypervisor_vtpm::{Error, Tpm, Transport};
use proptest::prelude::*;

use crate::support::{ALL_PCRS, Swtpm};

const KEY: u32 = 0x8100_0003;

#[test]
fn all_pcrs_are_read_and_quoted_with_the_data_that_was_given() {
    let swtpm = Swtpm::start();
    swtpm.keep_key(KEY, true);
    swtpm.extend(23, &[5; 32]);
    let mut tpm = swtpm.tpm();
    let pcrs = tpm.pcrs().unwrap();
    assert_eq!(pcrs.len(), ALL_PCRS);
    assert_eq!((pcrs[0], pcrs[17]), ([0; 32], [0xff; 32]));
    assert_ne!(pcrs[23], [0; 32]);
    let (quote, signature) = tpm.quote(KEY, &[9; 64]).unwrap();
    assert_eq!(TpmQuote::parse(&quote).unwrap().extra_data, [9; 64]);
    assert_eq!(signature.len(), 256);
}

#[test]
fn an_index_is_read_whole_whatever_its_length() {
    let swtpm = Swtpm::start();
    for (index, length) in [(0x0150_0001, 1), (0x0150_0002, 512), (0x0150_0003, 1500)] {
        let value: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
        swtpm.write(index, &value);
        assert_eq!(swtpm.tpm().nv_read(index).unwrap(), value);
    }
}

#[test]
fn a_key_that_signs_anything_is_not_taken_for_quotes() {
    let swtpm = Swtpm::start();
    swtpm.keep_key(KEY, false);
    let refused = swtpm.tpm().quoting_key(KEY).unwrap_err().to_string();
    assert!(
        refused.contains("not a restricted signing key"),
        "{refused}"
    );
}

#[test]
fn a_key_that_is_not_there_is_refused_with_what_it_means() {
    let swtpm = Swtpm::start();
    let refused = swtpm.tpm().quoting_key(KEY).unwrap_err().to_string();
    assert!(
        refused.contains("there is no such key or index"),
        "{refused}"
    );
}

/// A TPM that answers everything with the same.
struct Always(Vec<u8>);

impl Transport for Always {
    fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }
}

proptest! {
    #[test]
    fn whatever_a_tpm_answers_is_read_or_refused(mut answer in prop::collection::vec(any::<u8>(), 0..300), success: bool) {
        if let (true, Some(header)) = (success, answer.get_mut(..10)) {
            let length = 0x8002_u16.to_be_bytes();
            header[..2].copy_from_slice(&length);
            header[6..].fill(0);
            let length = (answer.len() as u32).to_be_bytes();
            answer[2..6].copy_from_slice(&length);
        }
        let mut tpm = Tpm::new(Always(answer));
        let _ = tpm.nv_read(1);
        let _ = tpm.quoting_key(1);
        let _ = tpm.create_primary(&[]);
        let _ = tpm.pcrs();
        let _ = tpm.quote(1, &[0; 64]);
    }
}

#[test]
fn a_connection_that_breaks_is_told() {
    struct Broken;
    impl Transport for Broken {
        fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    assert!(matches!(Tpm::new(Broken).pcrs(), Err(Error::Transport(_))));
}
