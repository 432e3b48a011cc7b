//! What this front needs of the world besides requests inside the host. Plain code behind it is tested natively.

use front::error::WebError;
use front::fields::Fields;
use front::http::Outgoing;
use front::ports::{Asked, Ports};

use crate::error::{StoreError, Unproved};

/// All of it.
pub trait World: Ports + Clock + Store + Proofs + Client {
    /// A call of an agent that is under way. What is dropped is given up.
    type Call: Call;

    /// Calls an agent; the answer comes piece by piece.
    fn call(&self, asked: Asked) -> Result<Self::Call, WebError>;
}

/// Time and chance.
pub trait Clock {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// Milliseconds that this request has left.
    fn left(&self) -> u64;

    /// Random bytes that nobody can guess.
    fn random(&self) -> [u8; 16];
}

/// An answer on its way.
pub trait Call {
    /// What comes next, within so many milliseconds.
    fn next(&mut self, milliseconds: u64) -> Step;
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Waiting,
    /// Status and header fields.
    Head(u16, Fields),
    /// Some of the body.
    Piece(Vec<u8>),
    /// The body is whole.
    End,
    /// There is no answer, or no more of it.
    Failed(WebError),
}

/// Rows that outlive the instance, in buckets of this component's own.
pub trait Store {
    /// The values of keys, read at one time.
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Writes all of them or none.
    fn set(&self, bucket: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError>;

    /// Returns when all that was written has reached the disk.
    fn sync(&self) -> Result<(), StoreError> {
        self.set("sync", Vec::new())
    }

    /// Removes keys.
    fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StoreError>;

    /// Keys of a bucket, at least `most` where there are so many, in no order.
    fn keys(&self, bucket: &str, most: usize) -> Result<Vec<String>, StoreError>;

    /// Counts: the first to ask gets 1.
    fn increment(&self, bucket: &str, key: &str) -> Result<u64, StoreError>;
}

/// What the host vouches for.
pub trait Proofs {
    /// What tells this start of the host from every other.
    fn start(&self) -> String;

    /// Whether there is hardware that gives evidence, or what stands in for it.
    fn is_attested(&self) -> bool;

    /// The public key that signs cards: a SEC 1 point.
    fn card_key(&self) -> Result<Vec<u8>, Unproved>;

    /// A signature of it by ES256.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unproved>;

    /// Evidence that this component made a claim.
    fn evidence(&self, claim: &[u8; 64]) -> Result<Vec<u8>, Unproved>;
}

/// The client that waits for an answer. Nothing here waits for it: what it does not read is kept, and for a stream given up beyond a bound.
pub trait Client {
    /// Answers.
    fn answer(&self, outgoing: Outgoing);

    /// Begins an answer that comes piece by piece.
    fn open(&self, status: u16, headers: Vec<(&'static str, String)>);

    /// A piece of it.
    fn push(&self, piece: Vec<u8>);

    /// That it is whole.
    fn close(&self);

    /// Whether nobody reads any more.
    fn is_gone(&self) -> bool;
}
