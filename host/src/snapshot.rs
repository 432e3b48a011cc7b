//! What the host is at one moment: the plugins in use, with the policy's rules, and the manifest that names them.
//!
//! A call takes the snapshot when it enters and uses it for everything that happens to it, so that its receipt and its quote
//! name what it was treated by. A swap publishes another snapshot, in one step for every call that enters later.

use std::sync::{Arc, PoisonError, RwLock};

use crate::attestation::Document;
use crate::executor::{Moment, PluginSet};
use crate::payments::Teller;

/// The plugins in use and the manifest that names them.
pub(crate) struct Snapshot {
    pub(crate) plugins: PluginSet,
    /// The payment component, with the offers that it made.
    pub(crate) teller: Option<Teller>,
    /// None where the host proves nothing.
    pub(crate) manifest: Option<Arc<Document>>,
}

impl Moment for Snapshot {
    fn plugins(&self) -> &PluginSet {
        &self.plugins
    }
}

/// The snapshot of now.
pub(crate) struct Current(RwLock<Arc<Snapshot>>);

impl Current {
    pub(crate) fn new(first: Snapshot) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    pub(crate) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, next: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}
