//! Results under one quote: while the platform makes a quote, the results that come meanwhile gather for the next.

use std::sync::Arc;

use hypervisor_attest::{Evidence, InclusionProof, ResultTree, Subject};
use hypervisor_protocol::{Commitment, ContentFormat};
use tokio::sync::{mpsc, oneshot};

use super::{EvidenceError, Shared};

/// Results that may wait for their quote.
const MOST_WAITING: usize = 4096;

type Answer = oneshot::Sender<Result<Evidence, EvidenceError>>;

/// The end that results are handed to.
pub(super) struct Results {
    waiting: mpsc::Sender<(Commitment, Answer)>,
}

impl Results {
    /// Starts the task. It ends with the last handle.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (waiting, mut results) = mpsc::channel(MOST_WAITING);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while results.recv_many(&mut batch, MOST_WAITING).await > 0 {
                let (commitments, answers): (Vec<Commitment>, Vec<Answer>) =
                    batch.drain(..).unzip();
                let shared = Arc::clone(&shared);
                let quoted = tokio::task::spawn_blocking(move || quote(&shared, &commitments));
                match quoted.await {
                    Ok(Ok(evidence)) => {
                        for (answer, evidence) in answers.into_iter().zip(evidence) {
                            // Nobody waits where the client has left.
                            let _ = answer.send(Ok(evidence));
                        }
                    }
                    Ok(Err(error)) => {
                        let text = error.to_string();
                        for answer in answers {
                            let _ = answer.send(Err(EvidenceError::Platform(text.clone())));
                        }
                    }
                    Err(error) => tracing::error!(%error, "a batch of results was lost"),
                }
            }
        });
        Self { waiting }
    }

    /// Waits for a quote with this result in its batch.
    pub(super) async fn attest(&self, result: Commitment) -> Result<Evidence, EvidenceError> {
        let (answer, quoted) = oneshot::channel();
        self.waiting
            .try_send((result, answer))
            .map_err(|_| EvidenceError::Busy)?;
        quoted
            .await
            .map_err(|_| EvidenceError::Platform("a batch of results was lost".to_owned()))?
    }
}

/// One quote over all of them, and each one's evidence.
fn quote(shared: &Shared, results: &[Commitment]) -> Result<Vec<Evidence>, EvidenceError> {
    let failed = |e: hypervisor_attest::Error| EvidenceError::Platform(e.to_string());
    let tree = ResultTree::new(results).map_err(failed)?;
    let results = tree.root();
    let evidence = shared.evidence(Subject::ResultBatch { results }, None, &shared.manifest())?;
    let count = usize::try_from(tree.root().count).unwrap_or(usize::MAX);
    (0..count)
        .map(|index| {
            let proof: Option<InclusionProof> = tree.proof(index);
            let proof = proof.ok_or_else(|| EvidenceError::Platform("no proof".to_owned()))?;
            let mut evidence = evidence.clone();
            evidence.inclusion = Some(proof.encode(ContentFormat::Cbor).map_err(failed)?);
            Ok(evidence)
        })
        .collect()
}
