//! The kit of the end-to-end tests: a real host process, real programs, and requests that can be bent out of shape.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test kit fails by panicking"
)]

pub mod agents;
pub mod balancer;
pub mod conformance;
pub mod differential;
pub mod disk;
pub mod environments;
pub mod fleet;
pub mod host;
pub mod limits;
pub mod network;
pub mod payments;
pub mod peers;
pub mod pooler;
pub mod postgres;
pub mod programs;
pub mod raw;
pub mod registry;
pub mod rows;
pub mod wire;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hypervisor_client::protocol::{Exit, LimitKind, Report};

pub use host::Host;
pub use raw::{Answer, RawSession};

/// A client of HTTP needs TLS even where it speaks plain HTTP; whoever starts something to talk to calls this first.
pub(crate) fn prepare_tls() {
    // Set already by the test before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How long something that has to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What lies between two requests of a client that makes load: compilers, which give way to all else, would otherwise never be done.
pub const PAUSE: Duration = Duration::from_millis(5);

/// Copies a folder with what is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Looks again and again until `look` finds something, which `what` names.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What `future` gives, which has to come within [`PATIENCE`]; `what` names it.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Checks that this limit, of this size, ended the execution.
pub fn assert_limit(report: &Report, expected: LimitKind, expected_allowed: u64) {
    match report.exit {
        Exit::Limit {
            which,
            used,
            allowed,
        } => {
            assert_eq!((which, allowed), (expected, expected_allowed));
            assert!(used >= allowed, "used {used} of {allowed}");
        }
        ref other => panic!("{other:?} instead of the limit {expected:?}"),
    }
}
