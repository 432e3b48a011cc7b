//! One queue before the driver that makes quotes, about one a second.
//!
//! Four classes wait apart and take turns, so that none starves another: results, which share one quote; sessions of clients that
//! read a batch, which share one too; sessions of others; and identities, which anybody may ask for. Where each has a quote of its
//! own, peers take turns; in a batch each has a share. What nobody waits for any more is not quoted, and nothing waits longer than
//! [`Bounds::wait`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hypervisor_evidence::{Evidence, RawQuote, ResultTree, SessionEntry, Subject, VerifierNonce};
use hypervisor_protocol::{Commitment, ContentFormat};
use tokio::sync::{Notify, oneshot};

use crate::{Document, EvidenceError};

/// What a queue holds at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Longest wait for a quote.
    pub(crate) wait: Duration,
    /// Results that wait, and sessions that may be in a batch.
    pub(crate) batch: usize,
    /// Those of these sessions that one peer opened.
    pub(crate) batch_of_a_peer: usize,
    /// Quotes that wait, of sessions and of identities each.
    pub(crate) quotes: usize,
    /// Those of them that one peer asked for.
    pub(crate) of_a_peer: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            batch: 4096,
            batch_of_a_peer: 2048,
            quotes: 256,
            of_a_peer: 64,
        }
    }
}

/// Evidence as it goes to one client: the quote and all that is beside it are shared with the others of a batch.
#[derive(Debug, Clone)]
pub struct Attested {
    evidence: Arc<Evidence>,
    inclusion: Option<Vec<u8>>,
    pub(crate) boot_log: Option<Arc<[u8]>>,
}

impl Attested {
    /// The evidence as a document.
    ///
    /// # Errors
    /// None that a caller can cause: the parts were bounded as they were made.
    pub fn encode(&self, format: ContentFormat) -> Result<Vec<u8>, hypervisor_evidence::Error> {
        let with = hypervisor_evidence::evidence::With {
            inclusion: self.inclusion.as_deref(),
            boot_log: self.boot_log.as_deref(),
            ..hypervisor_evidence::evidence::With::default()
        };
        self.evidence.encode_with(format, with)
    }

    /// What is shared.
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// The vendor's bytes of the quote.
    pub fn quote(&self) -> &[u8] {
        let (RawQuote::Tdx(quote) | RawQuote::SevSnp { report: quote, .. }) = &self.evidence.quote;
        quote
    }
}

type Answer = oneshot::Sender<Result<Attested, EvidenceError>>;

/// One quote to be made: what it is about. Its log head is taken when its turn has come.
pub(crate) struct Request {
    pub(crate) subject: Subject,
    pub(crate) nonce: Option<VerifierNonce>,
    pub(crate) manifest: Arc<Document>,
}

struct Waiting<T> {
    what: T,
    since: Instant,
    answer: Answer,
}

impl<T> Waiting<T> {
    fn is_wanted(&self, bounds: &Bounds) -> bool {
        !self.answer.is_closed() && self.since.elapsed() < bounds.wait
    }
}

/// Requests of one class, by peer, the peer whose turn is next first.
#[derive(Default)]
struct Fair {
    peers: VecDeque<(Option<IpAddr>, VecDeque<Waiting<Request>>)>,
    length: usize,
}

impl Fair {
    fn push(
        &mut self,
        bounds: &Bounds,
        peer: Option<IpAddr>,
        request: Waiting<Request>,
    ) -> Result<(), EvidenceError> {
        if self.length >= bounds.quotes {
            self.forget(bounds);
        }
        if self.length >= bounds.quotes {
            return Err(EvidenceError::Busy);
        }
        match self.peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, requests)) if peer.is_some() && requests.len() >= bounds.of_a_peer => {
                return Err(EvidenceError::Busy);
            }
            Some((_, requests)) => requests.push_back(request),
            None => self.peers.push_back((peer, VecDeque::from([request]))),
        }
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// Drops what nobody waits for.
    fn forget(&mut self, bounds: &Bounds) {
        for (_, requests) in &mut self.peers {
            requests.retain(|request| request.is_wanted(bounds));
        }
        self.peers.retain(|(_, requests)| !requests.is_empty());
        self.length = self.peers.iter().map(|(_, requests)| requests.len()).sum();
    }

    fn pop(&mut self, bounds: &Bounds) -> Option<Waiting<Request>> {
        self.forget(bounds);
        let (peer, mut requests) = self.peers.pop_front()?;
        let request = requests.pop_front()?;
        self.length = self.length.saturating_sub(1);
        if !requests.is_empty() {
            self.peers.push_back((peer, requests));
        }
        Some(request)
    }
}

/// What shares a quote: a result, or a session.
struct Leaf {
    commitment: Commitment,
    /// A session's own.
    entry: Option<SessionEntry>,
    manifest: Arc<Document>,
    peer: Option<IpAddr>,
}

#[derive(Default)]
struct Gathered(VecDeque<Waiting<Leaf>>);

impl Gathered {
    fn push(&mut self, bounds: &Bounds, leaf: Waiting<Leaf>) -> Result<(), EvidenceError> {
        let peer = leaf.what.peer;
        let own = self.0.iter().filter(|other| other.what.peer == peer);
        let at_its_share = peer.is_some() && own.count() >= bounds.batch_of_a_peer;
        if at_its_share || self.0.len() >= bounds.batch {
            return Err(EvidenceError::Busy);
        }
        self.0.push_back(leaf);
        Ok(())
    }

    /// Everything under the manifest of what has waited for longest.
    fn take(&mut self, bounds: &Bounds) -> Option<Next> {
        self.0.retain(|leaf| leaf.is_wanted(bounds));
        let manifest = Arc::clone(&self.0.front()?.what.manifest);
        let same = |leaf: &Waiting<Leaf>| leaf.what.manifest.digest == manifest.digest;
        let (batch, others) = self.0.drain(..).partition(same);
        self.0 = others;
        Some(Next::Batch(batch, manifest))
    }
}

#[derive(Default)]
struct State {
    results: Gathered,
    batched: Gathered,
    sessions: Fair,
    identities: Fair,
    /// Which class is asked first for the next quote.
    turn: usize,
}

/// What the driver is asked for next.
enum Next {
    One(Box<Request>, Answer),
    Batch(VecDeque<Waiting<Leaf>>, Arc<Document>),
}

impl State {
    fn next(&mut self, bounds: &Bounds) -> Option<Next> {
        (0..4).find_map(|_| {
            self.turn = (self.turn + 1) % 4;
            match self.turn {
                0 => self.results.take(bounds),
                1 => self.batched.take(bounds),
                2 => self.sessions.pop(bounds).map(Waiting::into_next),
                _ => self.identities.pop(bounds).map(Waiting::into_next),
            }
        })
    }
}

impl Waiting<Request> {
    fn into_next(self) -> Next {
        Next::One(Box::new(self.what), self.answer)
    }
}

/// The queue, and the end that requests are handed to.
pub(crate) struct Queue {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
    work: Arc<Notify>,
    worker: tokio::task::JoinHandle<()>,
}

impl Queue {
    /// Starts the task that asks `quote` for one quote at a time. It ends when the queue is dropped, after the one in flight.
    pub(crate) fn start(
        bounds: Bounds,
        quote: impl Fn(Request) -> Result<Evidence, EvidenceError> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let work = Arc::new(Notify::new());
        let (waiting, called) = (Arc::clone(&state), Arc::clone(&work));
        let quote = Arc::new(quote);
        let worker = tokio::spawn(async move {
            loop {
                let next = lock(&waiting).next(&bounds);
                let Some(next) = next else {
                    called.notified().await;
                    continue;
                };
                let quote = Arc::clone(&quote);
                // A panic drops the answers, which tells who waits for them.
                if let Err(error) = tokio::task::spawn_blocking(move || next.quote(&*quote)).await {
                    tracing::error!(%error, "a quote was lost");
                }
            }
        });
        Self {
            bounds,
            state,
            work,
            worker,
        }
    }

    /// What waits, by class.
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 4] {
        let state = lock(&self.state);
        [
            ("results", state.results.0.len()),
            ("session-batch", state.batched.0.len()),
            ("sessions", state.sessions.length),
            ("identities", state.identities.length),
        ]
    }

    /// A quote of its own.
    pub(crate) async fn quote(
        &self,
        peer: Option<IpAddr>,
        request: Request,
    ) -> Result<Attested, EvidenceError> {
        let is_session = matches!(request.subject, Subject::Session { .. });
        let (request, answer) = waiting(request);
        {
            let mut state = lock(&self.state);
            let class = if is_session {
                &mut state.sessions
            } else {
                &mut state.identities
            };
            class.push(&self.bounds, peer.map(network), request)?;
        }
        self.answered(answer).await
    }

    /// A quote over a batch with this result in it.
    pub(crate) async fn result(
        &self,
        commitment: Commitment,
        manifest: Arc<Document>,
    ) -> Result<Attested, EvidenceError> {
        let (leaf, answer) = waiting(Leaf {
            commitment,
            entry: None,
            manifest,
            peer: None,
        });
        lock(&self.state).results.push(&self.bounds, leaf)?;
        self.answered(answer).await
    }

    /// A quote over a batch with this session in it.
    pub(crate) async fn session(
        &self,
        peer: Option<IpAddr>,
        entry: SessionEntry,
        manifest: Arc<Document>,
    ) -> Result<Attested, EvidenceError> {
        let (leaf, answer) = waiting(Leaf {
            commitment: entry.commitment(),
            entry: Some(entry),
            manifest,
            peer: peer.map(network),
        });
        lock(&self.state).batched.push(&self.bounds, leaf)?;
        self.answered(answer).await
    }

    async fn answered(
        &self,
        answer: oneshot::Receiver<Result<Attested, EvidenceError>>,
    ) -> Result<Attested, EvidenceError> {
        self.work.notify_one();
        match tokio::time::timeout(self.bounds.wait, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EvidenceError::Platform("the quote was lost".to_owned())),
            Err(_) => Err(EvidenceError::Busy),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Next {
    fn quote(self, quote: &dyn Fn(Request) -> Result<Evidence, EvidenceError>) {
        // Nobody receives where the client has left.
        match self {
            Self::One(request, answer) => {
                let attested = quote(*request).map(|evidence| Attested {
                    evidence: Arc::new(evidence),
                    inclusion: None,
                    boot_log: None,
                });
                let _ = answer.send(attested);
            }
            Self::Batch(leaves, manifest) => {
                let commitments = leaves.iter().map(|leaf| leaf.what.commitment).collect();
                let of_sessions = leaves.iter().any(|leaf| leaf.what.entry.is_some());
                let quoted = batch(quote, commitments, of_sessions, manifest);
                for (index, leaf) in leaves.into_iter().enumerate() {
                    let attested = quoted.as_ref().map_err(Clone::clone);
                    let attested = attested.and_then(|(tree, evidence)| {
                        let proof = tree.proof(index);
                        let proof =
                            proof.ok_or_else(|| EvidenceError::Platform("no proof".to_owned()))?;
                        Ok(Attested {
                            evidence: Arc::clone(evidence),
                            boot_log: None,
                            inclusion: Some(match leaf.what.entry {
                                Some(entry) => entry.prove(proof)?,
                                None => proof.encode(ContentFormat::Cbor)?,
                            }),
                        })
                    });
                    let _ = leaf.answer.send(attested);
                }
            }
        }
    }
}

/// One quote over all of them.
fn batch(
    quote: &dyn Fn(Request) -> Result<Evidence, EvidenceError>,
    commitments: Vec<Commitment>,
    of_sessions: bool,
    manifest: Arc<Document>,
) -> Result<(ResultTree, Arc<Evidence>), EvidenceError> {
    let tree = ResultTree::new(&commitments)?;
    let root = tree.root();
    let subject = if of_sessions {
        Subject::SessionBatch { sessions: root }
    } else {
        Subject::ResultBatch { results: root }
    };
    let evidence = quote(Request {
        subject,
        nonce: None,
        manifest,
    })?;
    Ok((tree, Arc::new(evidence)))
}

fn waiting<T>(
    what: T,
) -> (
    Waiting<T>,
    oneshot::Receiver<Result<Attested, EvidenceError>>,
) {
    let (answer, receiver) = oneshot::channel();
    let since = Instant::now();
    (
        Waiting {
            what,
            since,
            answer,
        },
        receiver,
    )
}

/// One subscriber: an address, or the /64 that a network gives to one.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
