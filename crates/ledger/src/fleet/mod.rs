//! The ledger of a fleet: several hosts, the nodes, over one store.
//!
//! ```text
//! payments          keyed hash of the payment → its record, and which node has it
//! payment-holders   node, keyed hash of the payment → nothing; a node that died is found with what it had by its tag
//! payment-names     keyed hash of what names a payment beside its id → its key and its time
//! payment-purses    keyed hash of payer and token, place → whether a payment has that place among the unsettled ones
//! payment-proofs    keyed hash of a payer, and of the proof that it sent → when it expires
//! payment-sweeps    when one of the nodes last looked for what is over
//! ```
//!
//! Keys are keyed hashes, because what they are made of can be enumerated. Every step of a payment names the version of its row
//! that the same turn wrote last: where that is another by now, the turn is lost.

mod evidence;
mod hold;
mod purse;
mod seen;
mod sweep;
mod takeover;
mod unused;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::record::Key;

pub(crate) use hold::Hold;
pub(crate) use purse::Slot;
pub(crate) use seen::{Found, Work};
pub use unused::Unused;
pub(crate) use write::With;

/// What names one start of one host.
pub type Tag = [u8; 4];

/// A host that shares its rows with others.
pub struct Node {
    /// What names this start of it.
    pub tag: Tag,
    /// Whether another node lives: false only where it is known to have died, or never was.
    pub is_alive: Box<dyn Fn(Tag) -> bool + Send + Sync>,
    /// The longest that a request waits for another node to be done with the payment that it brings.
    pub patience: Duration,
}

/// A node, and whether it may have left something behind.
pub(crate) struct Member {
    node: Node,
    /// Something could not be written, or nobody knows whether it was.
    is_untidy: AtomicBool,
}

impl Member {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            is_untidy: AtomicBool::new(false),
        }
    }

    pub(crate) fn tag(&self) -> Tag {
        self.node.tag
    }

    pub(crate) fn patience(&self) -> Duration {
        self.node.patience
    }

    pub(crate) fn is_alive(&self, tag: Tag) -> bool {
        tag == self.node.tag || (self.node.is_alive)(tag)
    }

    pub(crate) fn untidy(&self) {
        self.is_untidy.store(true, Ordering::Release);
    }

    /// Whether there may be something to tidy up; asked once for each time.
    pub(crate) fn take_untidy(&self) -> bool {
        self.is_untidy.swap(false, Ordering::AcqRel)
    }
}

/// What nodes tell each other of a payment.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The node that works on it, or is to find out what became of it.
    pub(crate) holder: Option<Tag>,
    /// It is settled, and the holder runs what was paid for.
    #[serde(default)]
    pub(crate) is_running: bool,
    /// It was taken from a node that may come back to life, and then submit it: until it can no longer be settled nobody is told
    /// that it was not.
    #[serde(default)]
    pub(crate) is_taken: bool,
    /// Its place among the unsettled ones of its payer.
    #[serde(default)]
    pub(crate) slot: Option<u32>,
    /// What it is named by.
    #[serde(default)]
    pub(crate) names: Vec<Key>,
}

/// The tag in a key of the holders.
fn holder(tag: Tag, place: &Key) -> Vec<u8> {
    [tag.as_slice(), place].concat()
}

/// Pauses that grow, until all of them together are too long.
pub(crate) struct Pauses {
    next: Duration,
    left: Duration,
}

impl Pauses {
    const SHORTEST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(250);

    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            next: Self::SHORTEST,
            left: patience,
        }
    }

    /// Waits for a moment.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] where it waited for long enough.
    pub(crate) async fn pause(&mut self) -> Result<(), Error> {
        if self.left.is_zero() {
            return Err(Error::Elsewhere);
        }
        let pause = self.next.min(self.left);
        self.left = self.left.saturating_sub(pause);
        self.next = self.next.saturating_mul(3).min(Self::LONGEST * 2) / 2;
        self.next = self.next.max(Self::SHORTEST);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is written.
    Done,
    /// Another node has the payment by now: nothing was written.
    Lost,
    /// The transaction settled another payment: nothing was written.
    OfAnother,
}

impl Step {
    /// Fails where another node has the payment.
    pub(crate) fn held(self) -> Result<(), Error> {
        match self {
            Self::Done => Ok(()),
            Self::Lost | Self::OfAnother => Err(Error::TurnLost),
        }
    }
}
