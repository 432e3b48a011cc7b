//! The trail, for those who add to it and those who ask for proofs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_store::Store;
use hypervisor_tlog::trail::{Consistency, Entry, Kind, Origin};
use hypervisor_tlog::tree::{Head, Nodes, empty};
use hypervisor_tlog::{Proof, SignedCheckpoint, VerifierKey};

use crate::edge::HEIGHT;
use crate::error::Error;
use crate::queue::Queue;
use crate::reader::Reader;
use crate::rows::{Rows, State};
use crate::writer::Writer;

/// Heads that proofs are made for: those of the last seconds at least, so that who asks for several gets them about one.
const HEADS: usize = 256;
/// How long the end of the trail is waited for when the host ends.
const LAST: Duration = Duration::from_secs(10);

/// How a trail is kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Entries that may wait for the disk before [`Trail::is_full`].
    pub waiting: usize,
    /// Entries that are kept, and not only their leaves; 256 at least.
    pub kept: u64,
    /// Time in which entries gather to be written together.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting: 8192,
            kept: 5_000_000,
            pause: Duration::from_millis(100),
        }
    }
}

/// Signs by ECDSA over the SHA-256 of what it gets: r ‖ s.
pub type Sign = dyn Fn(&[u8]) -> [u8; 64] + Send + Sync;

/// The key that signs heads.
pub struct Signer {
    /// Its public key: P-256, in SEC1, compressed.
    pub public_key: [u8; 33],
    /// What signs by it.
    pub sign: Box<Sign>,
}

/// A head that is on the disk and signed.
#[derive(Debug, Clone)]
pub struct Published {
    /// The tree.
    pub head: Head,
    /// The first entry that is kept; of those before it there is no proof any more.
    pub first: u64,
    /// The head, signed.
    pub checkpoint: SignedCheckpoint,
    /// The same as text.
    pub text: Arc<str>,
}

/// What the writer shares with everybody else.
pub(crate) struct Shared {
    pub(crate) rows: Rows,
    pub(crate) queue: Queue,
    pub(crate) settings: Settings,
    pub(crate) is_well: AtomicBool,
    /// The newest one first.
    published: RwLock<VecDeque<Arc<Published>>>,
    key: VerifierKey,
    signer: Signer,
    /// The trail without an entry.
    pub(crate) fresh: State,
}

/// A trail.
pub struct Trail {
    shared: Arc<Shared>,
    origin: Origin,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Trail {
    /// Goes on with the trail in a store, or begins one, and writes that the host started: when this returns there is a head, signed
    /// with `signer`.
    ///
    /// # Errors
    /// When the store cannot be read or written, or what it holds is damaged.
    pub fn open(store: Store, signer: Signer, settings: Settings) -> Result<Self, Error> {
        let rows = Rows::new(store);
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Error::Start(error.to_string()))?;
        let nothing = Head {
            size: 0,
            root: empty(),
        };
        let fresh = State {
            id: rows.state()?.map_or(id, |(state, _)| state.id),
            head: nothing,
            first: 0,
        };
        let origin = Origin {
            id: fresh.id,
            is_lasting: rows.is_lasting(),
        };
        let key = VerifierKey::p256(&origin.to_string(), &signer.public_key)?;
        let shared = Arc::new(Shared {
            rows,
            queue: Queue::default(),
            settings,
            is_well: AtomicBool::new(true),
            published: RwLock::default(),
            key,
            signer,
            fresh,
        });
        let mut writer = Writer::open(Arc::clone(&shared))?;
        shared.push(Kind::Start, Entry::start(&shared.signer.public_key));
        writer.write()?;
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || writer.run());
        let thread = thread.map_err(|error| Error::Start(error.to_string()))?;
        Ok(Self {
            shared,
            origin,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// The trail's name.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Adds an entry; returns before it is written. A commitment that is in the trail is not added again.
    pub fn append(&self, kind: Kind, digest: [u8; 32]) {
        self.shared.push(kind, digest);
    }

    /// Whether so much waits for the disk that nothing more should be begun.
    pub fn is_full(&self) -> bool {
        self.shared.queue.len() >= self.shared.settings.waiting
    }

    /// Whether what was written last reached the disk.
    pub fn is_well(&self) -> bool {
        self.shared.is_well.load(Ordering::Acquire)
    }

    /// The newest head.
    pub fn published(&self) -> Arc<Published> {
        self.shared.newest()
    }

    /// The proof that the entry with this digest is in the tree of the newest head, or of another recent one with `size` entries: the last
    /// such entry, where there are several. None where it is not, not yet, or no longer kept. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Head`] where there is no such head; when the store cannot be read.
    pub fn proof(&self, digest: &[u8; 32], size: Option<u64>) -> Result<Option<Proof>, Error> {
        let rows = &self.shared.rows;
        let published = self.shared.of_size(size)?;
        let size = published.head.size;
        let Some(index) = rows.place(digest)?.filter(|index| *index < size) else {
            return Ok(None);
        };
        let Some(entries) = rows.entries(index >> HEIGHT)? else {
            return Ok(None);
        };
        let (entries, _) = entries.as_chunks::<{ hypervisor_tlog::trail::ENTRY }>();
        let within = usize::try_from(index % (1 << HEIGHT)).unwrap_or_default();
        let entry = entries.get(within).ok_or(Error::Damaged("an entry"))?;
        Ok(Some(Proof {
            extra: Some(entry.to_vec()),
            index,
            path: Reader::new(rows).inclusion(index, size)?,
            checkpoint: published.checkpoint.clone(),
        }))
    }

    /// The proof that the tree of the newest head, or of another recent one with `new` entries, continues that of its first `old`
    /// entries. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Head`] where there is no such head, [`Error::Size`] for an `old` of 0 or of more than it has; when the store cannot
    /// be read.
    pub fn consistency(&self, old: u64, new: Option<u64>) -> Result<Consistency, Error> {
        let published = self.shared.of_size(new)?;
        let size = published.head.size;
        if old == 0 || old > size {
            return Err(Error::Size { size });
        }
        Ok(Consistency {
            old,
            path: Reader::new(&self.shared.rows).consistency(old, size)?,
            checkpoint: published.checkpoint.clone(),
        })
    }

    /// Writes what waits, and that the host ended in order. Nothing is to be added from here on.
    pub fn close(&self) {
        let shared = &self.shared;
        shared.push(Kind::Stop, Entry::start(&shared.signer.public_key));
        shared.queue.close();
        let lost = shared.queue.end(LAST);
        if lost > 0 {
            tracing::error!(
                lost,
                "the end of the audit trail could not be written, and is lost"
            );
        }
    }
}

impl Drop for Trail {
    /// Waits for the writer, which writes what it can.
    fn drop(&mut self) {
        self.shared.queue.close();
        let writer = self.writer.get_mut();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        // One that panicked has said so.
        let _ = writer.map(JoinHandle::join);
    }
}

impl Shared {
    fn push(&self, kind: Kind, digest: [u8; 32]) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        self.queue.push(Entry { kind, time, digest });
    }

    pub(crate) fn newest(&self) -> Arc<Published> {
        let heads = self
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // There is one from the start.
        let newest = heads.front().map(Arc::clone);
        newest.unwrap_or_else(|| Arc::new(self.signed(&self.fresh)))
    }

    fn of_size(&self, size: Option<u64>) -> Result<Arc<Published>, Error> {
        let Some(size) = size else {
            return Ok(self.newest());
        };
        let heads = self
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let found = heads.iter().find(|it| it.head.size == size);
        found.map(Arc::clone).ok_or(Error::Head { size })
    }

    /// Signs a head that is on the disk.
    pub(crate) fn publish(&self, state: &State) {
        let next = Arc::new(self.signed(state));
        let mut heads = self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        heads.push_front(next);
        heads.truncate(HEADS);
    }

    fn signed(&self, state: &State) -> Published {
        let sign = |message: &[u8]| (self.signer.sign)(message);
        let checkpoint = SignedCheckpoint::signed_by(state.head, &self.key, sign);
        Published {
            head: state.head,
            first: state.first,
            text: checkpoint.to_string().into(),
            checkpoint,
        }
    }
}
