//! Trails in folders of the tests' own.

use std::path::Path;
use std::time::{Duration, Instant};

use hypervisor_audit::{Kind, Published, Settings, Signer, TABLES, Trail};
use hypervisor_store::{Keys, SealingKey, Store};
use hypervisor_tlog::trail::Entry;
use hypervisor_tlog::tree::verify_consistency;
use hypervisor_tlog::{Head, SignedCheckpoint, VerifierKey};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use zeroize::Zeroizing;

/// How long what has to come is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Entries are written as they come.
pub(crate) fn at_once() -> Settings {
    Settings {
        pause: Duration::from_millis(1),
        ..Settings::default()
    }
}

/// The identity of a host's start.
pub(crate) fn identity(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

fn point(key: &SigningKey) -> [u8; 33] {
    let point = key.verifying_key().to_sec1_point(true);
    point.as_bytes().try_into().unwrap()
}

fn keys(platform: Option<u8>) -> Keys {
    let key = |byte| SealingKey::new(Zeroizing::new([byte; 32]));
    Keys::new(platform.map(key).as_ref(), &key(1)).unwrap()
}

/// The store in a folder, sealed under the platform's key where there is one.
pub(crate) fn store(folder: &Path, platform: Option<u8>) -> Store {
    Store::open(&folder.join("audit.redb"), keys(platform), &TABLES).unwrap()
}

pub(crate) fn signer(number: u8) -> Signer {
    let key = identity(number);
    Signer {
        public_key: point(&key),
        sign: Box::new(move |message| {
            let signature: p256::ecdsa::Signature = key.sign(message);
            signature.to_bytes().into()
        }),
    }
}

/// The trail in a folder, at the start of a host with this identity.
pub(crate) fn open(folder: &Path, number: u8, settings: Settings) -> Trail {
    Trail::open(store(folder, Some(9)), signer(number), settings).unwrap()
}

/// The head that a host with this identity signed.
pub(crate) fn head(checkpoint: &str, number: u8) -> Head {
    let read = SignedCheckpoint::parse(checkpoint.as_bytes()).unwrap();
    let key = VerifierKey::p256(read.origin(), &point(&identity(number))).unwrap();
    read.verify_log(&key).unwrap()
}

pub(crate) fn digest(number: u64) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(number.to_be_bytes()).into()
}

/// Waits until the trail has a head of so many entries.
pub(crate) fn grown(trail: &Trail, size: u64) -> std::sync::Arc<Published> {
    let began = Instant::now();
    loop {
        let published = trail.published();
        if published.head.size >= size {
            return published;
        }
        assert!(began.elapsed() < PATIENCE, "the trail does not grow");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Adds the commitments of this range, and waits for them.
pub(crate) fn fill(trail: &Trail, numbers: std::ops::Range<u64>) {
    let size = trail.published().head.size + (numbers.end - numbers.start);
    for number in numbers {
        trail.append(Kind::Execution, digest(number));
    }
    grown(trail, size);
}

/// What an entry's proof says, once it was found to hold: its place and itself.
#[track_caller]
pub(crate) fn proved(trail: &Trail, digest: &[u8; 32]) -> Option<(u64, Entry)> {
    let proof = trail.proof(digest, None).unwrap()?;
    let entry = proof.extra.clone().unwrap();
    proof.included(&entry, &trail.published().head).unwrap();
    let read = Entry::decode(&entry).unwrap();
    assert_eq!(read.digest, *digest);
    Some((proof.index, read))
}

/// Checks that a trail continues a head.
#[track_caller]
pub(crate) fn continues(trail: &Trail, old: &Head) {
    let proof = trail.consistency(old.size, None).unwrap();
    verify_consistency(old, &trail.published().head, &proof.path).unwrap();
}
