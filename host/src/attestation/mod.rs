//! What this host attests with, and what it states about itself. How evidence is made: `crates/attestation`.

mod facts;
mod platform;

pub use facts::HostFacts;
pub use hypervisor_attestation::{
    Attestation, Attested, Collateral, Document, EvidenceError, Identity, Loader, MeasureError, now,
};
pub use platform::Platform;
