//! The `attestation` import: what the host states about itself to the components in it.

use wasmtime::component::{HasData, Linker};

use super::bindings::hypervisor::plugin::attestation as wit;
use crate::surroundings::{NoEvidence, Surroundings};

/// Longest claim, bytes.
const MAX_CLAIM: usize = 64;

/// The part of a store's data that the import works on.
pub(crate) struct AttestationView<'a> {
    pub(crate) surroundings: &'a dyn Surroundings,
    /// SHA-384 of the program in the store, where it was computed.
    pub(crate) program: Option<[u8; 48]>,
}

/// Ties [`AttestationView`] to the generated bindings.
struct Attestation;

impl HasData for Attestation {
    type Data<'a> = AttestationView<'a>;
}

/// Adds `hypervisor:plugin/attestation@0.1.1` to `linker`. `get` projects a store's data to the view.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> AttestationView<'_>,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, Attestation>(linker, get)
}

impl wit::Host for AttestationView<'_> {
    async fn evidence(&mut self, claim: Vec<u8>) -> Result<Vec<u8>, wit::ErrorCode> {
        if let Some(program) = self.program {
            self.surroundings.settled(program).await;
        }
        self.vouched(claim, |host, claim, program| host.evidence(claim, program))
    }

    fn statement(&mut self, claim: Vec<u8>) -> Result<Vec<u8>, wit::ErrorCode> {
        self.vouched(claim, |host, claim, program| host.statement(claim, program))
    }

    fn measurements(&mut self) -> wit::ComponentLog {
        let log = self.surroundings.measurements();
        wit::ComponentLog {
            entries: log
                .entries
                .into_iter()
                .map(|entry| wit::Measurement {
                    name: entry.name,
                    digest: entry.sha384.to_vec(),
                    imports: entry.imports,
                })
                .collect(),
            head: log.head,
        }
    }

    fn identity(&mut self) -> wit::HostIdentity {
        let identity = self.surroundings.identity();
        wit::HostIdentity {
            public_key: identity.public_key,
            backend: identity.backend,
            simulated: identity.simulated,
        }
    }
}

impl AttestationView<'_> {
    /// What the host gives for a claim of the program's, by `give`.
    fn vouched(
        &self,
        claim: Vec<u8>,
        give: impl FnOnce(&dyn Surroundings, Vec<u8>, [u8; 48]) -> Result<Vec<u8>, NoEvidence>,
    ) -> Result<Vec<u8>, wit::ErrorCode> {
        if claim.len() > MAX_CLAIM {
            return Err(wit::ErrorCode::ClaimTooLong(
                u64::try_from(claim.len()).unwrap_or(u64::MAX),
            ));
        }
        let evidence = match self.program {
            Some(program) => give(self.surroundings, claim, program),
            None => Err(NoEvidence::Unavailable),
        };
        evidence.map_err(|none| match none {
            NoEvidence::Unavailable => {
                wit::ErrorCode::Unavailable("this host has no attester".to_owned())
            }
            NoEvidence::Busy => wit::ErrorCode::Busy,
            NoEvidence::Failed => wit::ErrorCode::InternalError(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::wit::{ErrorCode, Host};
    use super::*;
    use crate::surroundings::Unattested;

    #[tokio::test]
    async fn a_host_without_an_attester_says_so_and_refuses_long_claims_first() {
        let mut view = AttestationView {
            surroundings: &Unattested,
            program: Some([0; 48]),
        };
        assert!(matches!(
            view.evidence(vec![0; 65]).await,
            Err(ErrorCode::ClaimTooLong(65))
        ));
        assert!(matches!(
            view.evidence(vec![0; 64]).await,
            Err(ErrorCode::Unavailable(_))
        ));
        assert!(matches!(
            view.statement(vec![0; 64]),
            Err(ErrorCode::Unavailable(_))
        ));
        assert_eq!(view.identity().backend, "none");
    }
}
