//! The queue before a driver that waits to be let.

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
            Subject::SessionBatch { .. } => "sessions",
            Subject::Peer(_) => "peers",
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
            boot_log: None,
            vtpm: None,
            ima: None,
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
        let asked = tokio::spawn(async move { queue.result(Commitment([n; 32]), manifest).await });
        while self.waiting() == before {
            tokio::task::yield_now().await;
        }
        asked
    }

    fn waiting(&self) -> usize {
        let state = lock(&self.queue.state);
        let gathered = state.results.0.len() + state.batched.0.len();
        state.sessions.length + state.identities.length + gathered
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
async fn sessions_that_wait_share_a_quote_beside_a_flood_and_a_peer_has_its_share() {
    let bench = bench(Bounds {
        batch_of_a_peer: 20,
        ..Bounds::default()
    });
    let _first = bench.busy().await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(bench.ask(9, Subject::Identity).await);
    }
    let open = |peer: u8| {
        let entry = SessionEntry::new(&session(), None).unwrap();
        let (queue, before) = (Arc::clone(&bench.queue), bench.waiting());
        let peer = Some(IpAddr::from([10, 0, 0, peer]));
        let opened =
            tokio::spawn(async move { queue.session(peer, entry, manifest(b"now")).await });
        (opened, before)
    };
    let mut opened = Vec::new();
    for n in 0..40 {
        let (asked, before) = open(1 + n % 2);
        while bench.waiting() == before {
            tokio::task::yield_now().await;
        }
        opened.push(asked);
    }
    let (refused, _) = open(1);
    assert!(matches!(refused.await.unwrap(), Err(EvidenceError::Busy)));
    // Whose turn is next is not said; both come within two quotes.
    let classes = [(); 2].map(|()| {
        bench.go.send(()).unwrap();
        bench.next()
    });
    assert!(classes.contains(&"sessions"), "{classes:?}");
    drop(bench.go);
    let mut proofs = std::collections::HashSet::new();
    let mut quotes = std::collections::HashSet::new();
    for session in opened {
        let attested = session.await.unwrap().unwrap();
        quotes.insert(Arc::as_ptr(&attested.evidence));
        proofs.insert(attested.inclusion.unwrap());
    }
    assert_eq!((quotes.len(), proofs.len()), (1, 40));
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
