//! What the host is at one moment: the plugins in use and the manifest that names them. A request takes both in one step when
//! it begins and keeps them to its end, so that its receipt names what it was treated by.

use std::sync::{Arc, PoisonError};

use super::{App, evidence};
use crate::attestation::Attestation;
use crate::executor::PolicyEngine;
use crate::payments::Teller;

/// The plugins and the manifest that a request began with.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) policy: Option<Arc<PolicyEngine>>,
    pub(super) teller: Option<Teller>,
    pub(super) manifest: evidence::Manifest,
}

impl App {
    /// What the host is now.
    pub(super) fn moment(&self) -> Moment {
        let _none_is_swapped = self
            .switching
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Moment {
            policy: self.executor.policy(),
            teller: self.payments.as_ref().map(|payments| payments.teller()),
            manifest: self.attestation.as_ref().ok().map(Attestation::manifest),
        }
    }

    /// Makes the host another one, in one step for every request.
    pub(super) fn switch(&self, change: impl FnOnce()) {
        let _nobody_looks = self
            .switching
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change();
    }
}
