//! A host that has the key, asked by strangers: each of them costs it a key derivation, and one that brings evidence a verification.
//! A quote is made for whom the policy accepts, and for nobody else.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hypervisor_attestation::{Attestation, now};
use hypervisor_evidence::Peer;
use hypervisor_fleet::{Address, Tag};
use hypervisor_protocol::fleet_key::Exchange;
use hypervisor_protocol::{HexArray, HexBytes, PrivateKey, SessionId};
use hypervisor_store::{Ring, SealingKey};
use tokio::sync::Semaphore;

use crate::error::{Error, Refused};
use crate::join::{keep, reaches};
use crate::judge::{Judge, evidence};
use crate::message::{self, Answer, Challenge, NONCE, Proof, malformed};
use crate::rotation::Rotations;
use crate::rows::{Rows, Vault};
use crate::terms::Terms;
use crate::turn::Turning;

/// Seconds that an exchange is good for.
const GOOD_FOR: u64 = 60;
/// Exchanges in which the key was given that are remembered, so that none is answered twice.
const REMEMBERED: usize = 1024;
/// Joiners that are judged at once, of which one address has one.
const AT_ONCE: usize = 2;
/// Time that one waits for its turn.
const TURN: Duration = Duration::from_secs(5);

const OWN_KEY: &[u8] = b"hypervisor/v1 fleet-join key\0";
const OWN_NONCE: &[u8] = b"hypervisor/v1 fleet-join nonce\0";

/// A host that has the key.
pub struct Member {
    ring: Arc<Ring>,
    pub(crate) rows: Rows,
    pub(crate) rotations: Rotations,
    /// Held by whoever looks after a change of the key.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Wakes whoever looks after one.
    pub(crate) asked: tokio::sync::Notify,
    /// The change that is under way.
    pub(crate) seen: Mutex<Option<Turning>>,
    /// What keeps the keys on this platform; none where it has no key to seal with.
    vault: Option<Vault>,
    /// Where others reach this host.
    own: Option<Address>,
    /// What the database knows this host by.
    tag: OnceLock<Tag>,
    pub(crate) judge: Arc<Judge>,
    /// What keys and nonces of exchanges are made of: nothing is kept for whoever asks.
    secret: SealingKey,
    judging: Semaphore,
    /// Addresses that are being judged, and exchanges in which the key was given with when they began.
    judged: Mutex<HashSet<IpAddr>>,
    given: Mutex<BTreeMap<[u8; 16], u64>>,
    /// When the log last had a refusal.
    said: Mutex<Option<Instant>>,
}

/// What became of a request.
enum Outcome {
    Given(Answer),
    /// Others are judged now, or the platform makes quotes for others.
    Busy,
}

impl Member {
    pub(crate) fn new(
        ring: Arc<Ring>,
        rows: Rows,
        terms: &Terms,
        (vault, own): (Option<Vault>, Option<Address>),
    ) -> Result<Self, Error> {
        Ok(Self {
            rotations: Rotations::of(&rows, &ring)?,
            turn: tokio::sync::Mutex::default(),
            asked: tokio::sync::Notify::new(),
            seen: Mutex::default(),
            ring,
            rows,
            vault,
            own,
            tag: OnceLock::new(),
            judge: Arc::new(terms.judge()?),
            secret: SealingKey::random()?,
            judging: Semaphore::new(AT_ONCE),
            judged: Mutex::default(),
            given: Mutex::default(),
            said: Mutex::default(),
        })
    }

    /// The keys.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Keeps the keys on this platform, in the place of what it kept before.
    pub(crate) fn keep(&self) {
        keep(self.vault.as_ref(), &self.ring);
    }

    /// Whether this host asks a member at this address.
    pub(crate) fn reaches(&self, member: &Address) -> bool {
        reaches(self.own.as_ref(), member)
    }

    /// Lets hosts that join find this one: to be called once it has a tag, and a row among the nodes.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub fn enter(&self, tag: Tag, address: &Address) -> Result<(), Error> {
        let tag = *self.tag.get_or_init(|| tag);
        Ok(self.rows.enter(self.ring.id(), tag, address)?)
    }

    /// The opposite. Where it cannot be said, the next host that enters takes the row away.
    pub fn leave(&self) {
        if let Some(tag) = self.tag.get()
            && let Err(error) = self.rows.leave(*tag)
        {
            tracing::debug!(%error, "the address of this host stays in the fleet");
        }
    }

    /// Begins an exchange: `GET`.
    ///
    /// # Errors
    /// Where the operating system gives no randomness.
    pub fn challenge(&self) -> Result<Vec<u8>, Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| hypervisor_protocol::Error::Random)?;
        if let Some(time) = id.first_chunk_mut() {
            *time = now().to_be_bytes();
        }
        let (own, nonce) = self.own(&id)?;
        Ok(message::encode(&Challenge {
            exchange: SessionId::from_bytes(id),
            public_key: HexBytes(own.public_key().to_bytes().to_vec()),
            nonce: HexArray(nonce),
            keys: self.ring.ids().into_iter().map(HexArray).collect(),
        }))
    }

    /// Ends it: `POST`. `peer` is who asks. Gives the answer's body, CBOR.
    pub async fn answer(
        &self,
        attestation: &Attestation,
        peer: Option<IpAddr>,
        body: &[u8],
    ) -> Vec<u8> {
        let answer = match self.judged(attestation, peer, body).await {
            Ok(Outcome::Given(given)) => {
                tracing::info!(?peer, "gave the fleet's key to a host that proved itself");
                given
            }
            Ok(Outcome::Busy) => Answer::Busy,
            Err(why) => {
                self.say(peer, &why);
                Answer::refused(&why)
            }
        };
        message::encode(&answer)
    }

    /// Once a second: strangers decide how often.
    fn say(&self, peer: Option<IpAddr>, why: &Refused) {
        let mut said = lock(&self.said);
        if said.is_none_or(|said| said.elapsed() >= Duration::from_secs(1)) {
            *said = Some(Instant::now());
            let why = message::plain(&why.to_string());
            tracing::warn!(?peer, why, "the fleet's key was refused");
        }
    }

    async fn judged(
        &self,
        attestation: &Attestation,
        peer: Option<IpAddr>,
        body: &[u8],
    ) -> Result<Outcome, Refused> {
        let proof: Proof = message::decode(body)?;
        let id = *proof.exchange.as_bytes();
        let began = began(&id);
        if now().checked_sub(began).is_none_or(|age| age > GOOD_FOR) {
            return Err(malformed("the exchange is over; begin another"));
        }
        let joiner = message::key(&proof.public_key)?;
        let Some(of_peer) = Judged::enter(&self.judged, peer) else {
            return Ok(Outcome::Busy);
        };
        let Ok(Ok(turn)) = tokio::time::timeout(TURN, self.judging.acquire()).await else {
            return Ok(Outcome::Busy);
        };
        let Ok((own, nonce)) = self.own(&id) else {
            return Ok(Outcome::Busy);
        };
        let end = Peer {
            joins: true,
            own_public_key: joiner.clone(),
            exchange: proof.exchange,
            other_public_key: own.public_key().clone(),
        };
        let (judge, its, shown) = (Arc::clone(&self.judge), end, proof.evidence.0);
        let judging =
            tokio::task::spawn_blocking(move || judge.judge(&its, (nonce, began), &shown));
        let Ok(judged) = judging.await else {
            return Ok(Outcome::Busy);
        };
        judged?;
        drop((turn, of_peer));
        if !self.is_new(id, began) {
            return Err(malformed("the exchange was answered before; begin another"));
        }
        let end = Peer {
            joins: false,
            own_public_key: own.public_key().clone(),
            exchange: proof.exchange,
            other_public_key: joiner.clone(),
        };
        let Ok(evidence) = evidence(attestation, end, proof.nonce.0).await else {
            return Ok(Outcome::Busy);
        };
        let exchange = Exchange {
            joiner: &joiner,
            member: own.public_key(),
            id: proof.exchange,
            policy: self.judge.policy(),
        };
        let Ok(sealed) = exchange.seal(&own, &self.ring.write()) else {
            return Ok(Outcome::Busy);
        };
        Ok(Outcome::Given(Answer::Given {
            evidence: HexBytes(evidence),
            sealed: HexBytes(sealed),
        }))
    }

    /// This host's key and nonce of an exchange.
    fn own(&self, id: &[u8; 16]) -> Result<(PrivateKey, [u8; NONCE]), Error> {
        let key = self.secret.derive::<32>(&[OWN_KEY, id].concat())?;
        let nonce = self.secret.derive::<NONCE>(&[OWN_NONCE, id].concat())?;
        Ok((PrivateKey::from_bytes(&key)?, *nonce))
    }

    /// Remembers an exchange; false where it is known, or too many are.
    fn is_new(&self, id: [u8; 16], began: u64) -> bool {
        let mut given = lock(&self.given);
        let least = now().saturating_sub(GOOD_FOR);
        given.retain(|_, began| *began >= least);
        given.len() < REMEMBERED && given.insert(id, began).is_none()
    }
}

/// When an exchange began: Unix time, seconds.
fn began(id: &[u8; 16]) -> u64 {
    id.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The place of an address among those that are judged.
struct Judged<'a>(&'a Mutex<HashSet<IpAddr>>, Option<IpAddr>);

impl<'a> Judged<'a> {
    /// None where one of this address is judged already.
    fn enter(all: &'a Mutex<HashSet<IpAddr>>, peer: Option<IpAddr>) -> Option<Self> {
        let is_free = peer.is_none_or(|peer| lock(all).insert(peer));
        is_free.then_some(Self(all, peer))
    }
}

impl Drop for Judged<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.1 {
            lock(self.0).remove(&peer);
        }
    }
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
