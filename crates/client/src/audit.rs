//! A host's audit trail, held against what this client knows of it.
//!
//! [`Trail::open`] takes the newest head, signed by the identity key that the host proved. It says nothing by itself: a host could sign
//! one history for one client and another for the next. That the trail [continues](Trail::continues) every head that anybody saw, and
//! [includes](Trail::includes) every answer that anybody got, is what keeps a host from rewriting it. docs/AUDIT.md.

use std::time::Duration;

use hypervisor_protocol::{Commitment, HexArray, ProblemType, PublicKey};
use hypervisor_tlog::trail::{Consistency, Entry, MAX_CONSISTENCY, MERGE_DELAY, Origin};
use hypervisor_tlog::tree::verify_consistency;
use hypervisor_tlog::{Head, Proof, SignedCheckpoint, VerifierKey, note, proof};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;

/// How often a head is taken anew because the host no longer makes proofs about the one before.
const TRIES: usize = 4;
/// The pause before an entry that is not there yet is looked for again; all of them are more than [`MERGE_DELAY`].
const PAUSE: Duration = Duration::from_millis(300);

/// A head of a trail, to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The trail's name.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// The root of its tree.
    pub root: HexArray<32>,
    /// The identity key that signed it, hex: a host has another after each start.
    pub identity: String,
    /// The checkpoint, which proves that the host had this head.
    pub checkpoint: String,
}

impl Known {
    /// Reads a checkpoint that the host with this identity key signed, as it comes with an answer.
    ///
    /// # Errors
    /// [`Error::Audit`].
    pub fn read(checkpoint: &str, identity: &PublicKey) -> Result<Self, Error> {
        let signed = SignedCheckpoint::parse(checkpoint.as_bytes()).map_err(Error::Audit)?;
        let (_, _, head) = verified(&signed, identity)?;
        Ok(Self {
            origin: signed.origin().to_owned(),
            size: head.size,
            root: HexArray(head.root),
            identity: identity.to_string(),
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Whether its trail ends with the process of its host.
    ///
    /// # Errors
    /// [`Error::Audit`].
    pub fn is_passing(&self) -> Result<bool, Error> {
        let origin: Origin = self.origin.parse().map_err(Error::Audit)?;
        Ok(!origin.is_lasting)
    }

    fn head(&self) -> Head {
        Head {
            size: self.size,
            root: self.root.0,
        }
    }
}

/// The head that a checkpoint signs, and the trail and the key that it is of.
fn verified(
    signed: &SignedCheckpoint,
    identity: &PublicKey,
) -> Result<(Origin, VerifierKey, Head), Error> {
    let origin: Origin = signed.origin().parse().map_err(Error::Audit)?;
    let key = VerifierKey::p256(signed.origin(), identity.as_bytes()).map_err(Error::Audit)?;
    let head = signed.verify_log(&key).map_err(Error::Audit)?;
    Ok((origin, key, head))
}

/// An entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Included {
    /// The entry.
    pub entry: Entry,
    /// Its place, from 0.
    pub index: u64,
}

/// A host's trail at its newest head.
pub struct Trail<'a> {
    client: &'a Client,
    identity: PublicKey,
    origin: Origin,
    key: VerifierKey,
    head: Head,
    checkpoint: SignedCheckpoint,
}

impl<'a> Trail<'a> {
    /// Takes the newest head of the host with this identity key, which has to come from evidence that was verified.
    ///
    /// # Errors
    /// [`Error::Refused`] where the host keeps no trail, [`Error::Audit`] for a head that is not its.
    pub async fn open(client: &'a Client, identity: &PublicKey) -> Result<Self, Error> {
        let checkpoint = Self::newest(client).await?;
        let (origin, key, head) = verified(&checkpoint, identity)?;
        Ok(Self {
            client,
            identity: identity.clone(),
            origin,
            key,
            head,
            checkpoint,
        })
    }

    async fn newest(client: &Client) -> Result<SignedCheckpoint, Error> {
        let bytes = fetch(client, "audit/head", note::MAX_LENGTH).await?;
        SignedCheckpoint::parse(&bytes).map_err(Error::Audit)
    }

    /// The trail's name.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its newest head, to be remembered.
    pub fn known(&self) -> Known {
        Known {
            origin: self.origin.to_string(),
            size: self.head.size,
            root: HexArray(self.head.root),
            identity: self.identity.to_string(),
            checkpoint: self.checkpoint.to_string(),
        }
    }

    /// Takes a newer head, which continues the one before.
    async fn renew(&mut self) -> Result<(), Error> {
        let checkpoint = Self::newest(self.client).await?;
        let head = checkpoint.verify_log(&self.key).map_err(Error::Audit)?;
        let before = std::mem::replace(&mut self.head, head);
        self.checkpoint = checkpoint;
        match self.consistent(&before).await {
            Err(error) => {
                self.head = before;
                Err(error)
            }
            consistent => consistent,
        }
    }

    /// Checks that the trail continues an earlier head of it.
    ///
    /// # Errors
    /// [`Error::Audit`] where it does not: the host was rolled back, or shows different histories.
    pub async fn continues(&mut self, known: &Known) -> Result<(), Error> {
        if known.origin != self.origin.to_string() {
            return Err(Error::Audit(hypervisor_tlog::Error::Origin {
                found: self.origin.to_string(),
                wanted: known.origin.escape_debug().to_string(),
            }));
        }
        let mut tries = TRIES;
        loop {
            match self.consistent(&known.head()).await {
                Err(error) if is_gone(&error) && tries > 0 => {
                    tries -= 1;
                    Box::pin(self.renew()).await?;
                }
                done => return done,
            }
        }
    }

    async fn consistent(&self, old: &Head) -> Result<(), Error> {
        let new = &self.head;
        if old.size >= new.size {
            // Nothing to ask: it is the same, or it is not.
            return verify_consistency(old, new, &[]).map_err(Error::Audit);
        }
        if old.size == 0 {
            return Ok(());
        }
        let path = format!("audit/consistency?from={}&to={}", old.size, new.size);
        let bytes = fetch(self.client, &path, MAX_CONSISTENCY).await?;
        let proof = Consistency::parse(&bytes).map_err(Error::Audit)?;
        self.is_about_this(&proof.checkpoint)?;
        verify_consistency(old, new, &proof.path).map_err(Error::Audit)
    }

    /// A document has to be about the head that was asked about.
    fn is_about_this(&self, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
        let head = checkpoint.verify_log(&self.key).map_err(Error::Audit)?;
        if head == self.head {
            return Ok(());
        }
        let (old, new) = (self.head.size, head.size);
        Err(Error::Audit(if old == new {
            hypervisor_tlog::Error::Forked { old, new }
        } else {
            hypervisor_tlog::Error::Inconsistent("it is about another head than was asked about")
        }))
    }

    /// Finds the entry of an answer. One that was given a moment ago is waited for, as long as it may take.
    ///
    /// # Errors
    /// [`Error::Audit`] where it is not there.
    pub async fn includes(&mut self, commitment: &Commitment) -> Result<Included, Error> {
        let mut waited = Duration::ZERO;
        let mut tries = TRIES;
        loop {
            match self.find(commitment).await {
                Err(error) if is_gone(&error) && tries > 0 => tries -= 1,
                Err(Error::Refused(problem))
                    if problem.problem_type() == Some(ProblemType::NotFound) =>
                {
                    if waited > MERGE_DELAY {
                        return Err(Error::Audit(hypervisor_tlog::Error::NotIncluded(
                            "the host says that it has no such entry, or keeps it no longer",
                        )));
                    }
                    tokio::time::sleep(PAUSE).await;
                    waited = waited.saturating_add(PAUSE);
                }
                done => return done,
            }
            self.renew().await?;
        }
    }

    async fn find(&self, commitment: &Commitment) -> Result<Included, Error> {
        let path = format!("audit/proof/{commitment}?size={}", self.head.size);
        let bytes = fetch(self.client, &path, proof::MAX_LENGTH).await?;
        let proof = Proof::parse(&bytes).map_err(Error::Audit)?;
        let entry = proof.extra.as_deref().unwrap_or_default();
        let read = Entry::decode(entry).map_err(Error::Audit)?;
        if read.digest != *commitment.as_bytes() {
            return Err(Error::Audit(hypervisor_tlog::Error::NotIncluded(
                "it is of another entry",
            )));
        }
        self.is_about_this(&proof.checkpoint)?;
        proof.included(entry, &self.head).map_err(Error::Audit)?;
        Ok(Included {
            entry: read,
            index: proof.index,
        })
    }
}

/// Whether the host makes no proofs about this head any more.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Refused(problem)
        if problem.problem_type() == Some(ProblemType::MalformedRequest))
}

async fn fetch(client: &Client, path: &str, maximum: usize) -> Result<bytes::Bytes, Error> {
    let answer = client.get_any(path, maximum).await?;
    match answer.status.is_success() {
        true => Ok(answer.body),
        false => Err(client.refusal(&answer)),
    }
}
