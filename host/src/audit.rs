//! The host's audit trail: what is entered into it, and whom it is kept for. How it is kept: `crates/audit`.

use std::sync::Arc;

use hypervisor_audit::{Entry, Kind, Settings, Signer, TABLES};
pub(crate) use hypervisor_audit::{Error as NoProof, Trail};

use crate::attestation::Identity;
use crate::config::Config;
use crate::error::Error;
use crate::state::State;

/// Goes on with the trail of before a restart, or begins one; none where the configuration wants none. Heads are signed by the host's
/// identity.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn open(
    config: &Config,
    state: &State,
    identity: Arc<Identity>,
) -> Result<Option<Arc<Trail>>, Error> {
    if !config.audit.trail {
        return Ok(None);
    }
    let signer = Signer {
        public_key: identity.public_key().to_bytes(),
        sign: Box::new(move |message| identity.sign(message)),
    };
    let settings = Settings {
        kept: config.audit.entries,
        ..Settings::default()
    };
    let store = state.store("audit", &TABLES)?;
    let trail = Trail::open(store, signer, settings);
    let trail = trail.map_err(|error| Error::Audit(error.to_string()))?;
    let origin = trail.origin();
    if origin.is_lasting {
        tracing::info!(%origin, "the audit trail is kept on the disk");
    } else {
        tracing::warn!(%origin, "the audit trail ends with this process: the platform gives no sealing key");
    }
    Ok(Some(Arc::new(trail)))
}

/// What the host did.
pub(crate) enum Done<'a> {
    /// It answered a sealed request: the answer's commitment.
    Answered([u8; 32]),
    /// It answered a plain request of this id to the agent of this address, whose component has this SHA-384.
    Called(&'a str, &'a str, &'a [u8; 48]),
    /// It exchanged a plugin or its rules: the plugin's name, and the manifest before and after.
    Swapped(&'a str, &'a [u8; 48], &'a [u8; 48]),
    /// It did to a subject what its operator asked for by the admin port.
    Operated(&'a str, &'a str),
}

/// Enters it into the trail. Gives the digest of the entry.
pub(crate) fn enter(trail: &Trail, done: &Done<'_>) -> [u8; 32] {
    let (kind, digest) = match done {
        Done::Answered(commitment) => (Kind::Execution, *commitment),
        Done::Called(id, address, component) => (Kind::Call, Entry::call(id, address, component)),
        Done::Swapped(plugin, before, after) => (Kind::Swap, Entry::swap(plugin, before, after)),
        Done::Operated(action, subject) => (Kind::Admin, Entry::admin(action, subject)),
    };
    trail.append(kind, digest);
    digest
}
