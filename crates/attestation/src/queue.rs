//! One queue before the driver that makes quotes, about one a second.
//!
//! Three classes wait apart and take turns, so that none starves another: results, which share one quote; sessions; and
//! identities, which anybody may ask for. Within a class, peers take turns. What nobody waits for any more is not quoted, and
//! nothing waits longer than [`Bounds::wait`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hypervisor_evidence::{Evidence, InclusionProof, RawQuote, ResultTree, Subject, VerifierNonce};
use hypervisor_protocol::{Commitment, ContentFormat};
use tokio::sync::{Notify, oneshot};

use crate::{Document, EvidenceError};

/// What a queue holds at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Longest wait for a quote.
    pub(crate) wait: Duration,
    /// Results that wait.
    pub(crate) results: usize,
    /// Quotes that wait, of sessions and of identities each.
    pub(crate) quotes: usize,
    /// Those of them that one peer asked for.
    pub(crate) of_a_peer: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            results: 4096,
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
}

impl Attested {
    /// The evidence as a document.
    ///
    /// # Errors
    /// None that a caller can cause: the parts were bounded as they were made.
    pub fn encode(&self, format: ContentFormat) -> Result<Vec<u8>, hypervisor_evidence::Error> {
        let with = hypervisor_evidence::evidence::With {
            inclusion: self.inclusion.as_deref(),
            statement: None,
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

#[derive(Default)]
struct State {
    results: VecDeque<Waiting<(Commitment, Arc<Document>)>>,
    sessions: Fair,
    identities: Fair,
    /// Which class is asked first for the next quote.
    turn: usize,
}

/// What the driver is asked for next.
enum Next {
    One(Box<Request>, Answer),
    Batch(Vec<Commitment>, Arc<Document>, Vec<Answer>),
}

impl State {
    fn next(&mut self, bounds: &Bounds) -> Option<Next> {
        (0..3).find_map(|_| {
            self.turn = (self.turn + 1) % 3;
            match self.turn {
                0 => self.batch(bounds),
                1 => self.sessions.pop(bounds).map(Waiting::into_next),
                _ => self.identities.pop(bounds).map(Waiting::into_next),
            }
        })
    }

    /// Every result that ran under the manifest of the one that has waited for longest.
    fn batch(&mut self, bounds: &Bounds) -> Option<Next> {
        self.results.retain(|result| result.is_wanted(bounds));
        let manifest = Arc::clone(&self.results.front()?.what.1);
        let (mut commitments, mut answers) = (Vec::new(), Vec::new());
        let mut others = VecDeque::new();
        for result in self.results.drain(..) {
            if result.what.1.digest == manifest.digest {
                commitments.push(result.what.0);
                answers.push(result.answer);
            } else {
                others.push_back(result);
            }
        }
        self.results = others;
        Some(Next::Batch(commitments, manifest, answers))
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
        result: Commitment,
        manifest: Arc<Document>,
    ) -> Result<Attested, EvidenceError> {
        let (result, answer) = waiting((result, manifest));
        {
            let mut state = lock(&self.state);
            if state.results.len() >= self.bounds.results {
                return Err(EvidenceError::Busy);
            }
            state.results.push_back(result);
        }
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
                });
                let _ = answer.send(attested);
            }
            Self::Batch(results, manifest, answers) => match batch(quote, &results, manifest) {
                Ok(attested) => {
                    for (answer, attested) in answers.into_iter().zip(attested) {
                        let _ = answer.send(Ok(attested));
                    }
                }
                Err(error) => {
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            },
        }
    }
}

/// One quote over all of them, and each one's evidence.
fn batch(
    quote: &dyn Fn(Request) -> Result<Evidence, EvidenceError>,
    results: &[Commitment],
    manifest: Arc<Document>,
) -> Result<Vec<Attested>, EvidenceError> {
    let tree = ResultTree::new(results)?;
    let evidence = Arc::new(quote(Request {
        subject: Subject::ResultBatch {
            results: tree.root(),
        },
        nonce: None,
        manifest,
    })?);
    (0..results.len())
        .map(|index| {
            let proof: Option<InclusionProof> = tree.proof(index);
            let proof = proof.ok_or_else(|| EvidenceError::Platform("no proof".to_owned()))?;
            Ok(Attested {
                evidence: Arc::clone(&evidence),
                inclusion: Some(proof.encode(ContentFormat::Cbor)?),
            })
        })
        .collect()
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
mod tests {
    use std::sync::mpsc;

    use hypervisor_protocol::{PrivateKey, SessionId};

    use super::*;

    /// A driver that says what it is asked for, and makes the quote when it is let.
    struct Bench {
        queue: Arc<Queue>,
        asked: mpsc::Receiver<&'static str>,
        go: mpsc::Sender<()>,
    }

    fn bench(bounds: Bounds) -> Bench {
        let (ask, asked) = mpsc::channel();
        let (go, let_go) = mpsc::channel();
        let driver = Mutex::new((ask, let_go));
        let queue = Queue::start(bounds, move |request| {
            let driver = driver.lock().unwrap();
            let class = match request.subject {
                Subject::Session { .. } => "session",
                Subject::Identity => "identity",
                Subject::ResultBatch { .. } => "results",
            };
            driver.0.send(class).unwrap();
            let _ = driver.1.recv();
            Ok(Evidence {
                quote: RawQuote::Tdx(request.manifest.encoded.clone()),
                binding: Vec::new(),
                log: None,
                manifest: None,
                collateral: None,
                crl: None,
                inclusion: None,
                statement: None,
            })
        });
        Bench {
            queue: Arc::new(queue),
            asked,
            go,
        }
    }

    fn manifest(name: &[u8]) -> Arc<Document> {
        Arc::new(Document::new(name.to_vec()))
    }

    fn session() -> Subject {
        let key = PrivateKey::generate().public_key().clone();
        Subject::Session {
            session_public_key: key.clone(),
            session_id: SessionId::from_bytes([1; 16]),
            client_public_key: key,
        }
    }

    type Answered = tokio::task::JoinHandle<Result<Attested, EvidenceError>>;

    impl Bench {
        /// Hands a request in, and waits until it is in the queue.
        async fn ask(&self, peer: u8, subject: Subject) -> Answered {
            let request = Request {
                subject,
                nonce: None,
                manifest: manifest(b"now"),
            };
            let (queue, before) = (Arc::clone(&self.queue), self.waiting());
            let peer = Some(IpAddr::from([10, 0, 0, peer]));
            let asked = tokio::spawn(async move { queue.quote(peer, request).await });
            while self.waiting() == before && !asked.is_finished() {
                tokio::task::yield_now().await;
            }
            asked
        }

        async fn result(&self, n: u8, manifest: Arc<Document>) -> Answered {
            let (queue, before) = (Arc::clone(&self.queue), self.waiting());
            let asked =
                tokio::spawn(async move { queue.result(Commitment([n; 32]), manifest).await });
            while self.waiting() == before {
                tokio::task::yield_now().await;
            }
            asked
        }

        fn waiting(&self) -> usize {
            let state = lock(&self.queue.state);
            state.sessions.length + state.identities.length + state.results.len()
        }

        /// What the driver works on from now on.
        fn next(&self) -> &'static str {
            self.asked.recv_timeout(Duration::from_secs(60)).unwrap()
        }

        /// Has the driver work on something, so that what comes now waits.
        async fn busy(&self) -> Answered {
            let request = Request {
                subject: Subject::Identity,
                nonce: None,
                manifest: manifest(b"now"),
            };
            let queue = Arc::clone(&self.queue);
            let first = tokio::spawn(async move { queue.quote(None, request).await });
            assert_eq!(tokio::task::block_in_place(|| self.next()), "identity");
            first
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_identities_does_not_keep_sessions_and_results_waiting() {
        let bench = bench(Bounds::default());
        let _first = bench.busy().await;
        for _ in 0..20 {
            drop(bench.ask(1, Subject::Identity).await);
        }
        let session = bench.ask(2, session()).await;
        let result = bench.result(1, manifest(b"now")).await;
        let mut classes = Vec::new();
        for _ in 0..3 {
            bench.go.send(()).unwrap();
            classes.push(bench.next());
        }
        classes.sort_unstable();
        assert_eq!(classes, ["identity", "results", "session"]);
        drop(bench.go);
        assert!(session.await.unwrap().is_ok());
        assert!(result.await.unwrap().is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_that_floods_its_class_waits_behind_others_of_it() {
        let bench = bench(Bounds {
            of_a_peer: 8,
            ..Bounds::default()
        });
        let _first = bench.busy().await;
        let mut flood = Vec::new();
        for _ in 0..8 {
            flood.push(bench.ask(1, session()).await);
        }
        let refused = bench.ask(1, session()).await.await.unwrap();
        assert!(matches!(refused, Err(EvidenceError::Busy)));
        let other = bench.ask(2, session()).await;
        for _ in 0..3 {
            bench.go.send(()).unwrap();
            assert_eq!(bench.next(), "session");
        }
        assert!(other.await.unwrap().is_ok());
        assert!(flood.iter().filter(|asked| asked.is_finished()).count() <= 2);
        drop(bench.go);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn results_of_one_manifest_share_a_quote_and_those_of_another_do_not() {
        let bench = bench(Bounds::default());
        let _first = bench.busy().await;
        let (before, after) = (manifest(b"before"), manifest(b"after"));
        let answers = [
            bench.result(1, Arc::clone(&before)).await,
            bench.result(2, after).await,
            bench.result(3, before).await,
        ];
        drop(bench.go);
        let mut shared = Vec::new();
        for (answer, named) in answers
            .into_iter()
            .zip([b"before" as &[u8], b"after", b"before"])
        {
            let attested = answer.await.unwrap().unwrap();
            assert_eq!(attested.evidence.quote, RawQuote::Tdx(named.to_vec()));
            shared.push(attested);
        }
        assert!(Arc::ptr_eq(&shared[0].evidence, &shared[2].evidence));
        assert_ne!(shared[0].inclusion, shared[2].inclusion);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_waits_for_any_more_is_not_quoted() {
        let bench = bench(Bounds::default());
        let _first = bench.busy().await;
        let gone = bench.ask(1, session()).await;
        gone.abort();
        assert!(gone.await.is_err());
        let stays = bench.ask(1, Subject::Identity).await;
        bench.go.send(()).unwrap();
        assert_eq!(bench.next(), "identity");
        drop(bench.go);
        assert!(stays.await.unwrap().is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wait_that_is_too_long_ends_as_busy() {
        let bench = bench(Bounds {
            wait: Duration::from_millis(200),
            ..Bounds::default()
        });
        let first = bench.busy().await;
        let second = bench.ask(1, session()).await;
        assert!(matches!(second.await.unwrap(), Err(EvidenceError::Busy)));
        assert!(matches!(first.await.unwrap(), Err(EvidenceError::Busy)));
        drop(bench.go);
    }
}
