//! A change of the fleet's key while its hosts serve.
//!
//! ```text
//! offered   one host made the next key; the others get it from hosts that have it, as joiners get theirs. Nothing is under it
//! writing   every host that lives has it. The database takes nothing more under the one before; the host whose tag comes first seals
//!           anew what there is
//! done      one look through all rows since then found nothing under the one before that it did not seal anew: hosts forget it
//! ```
//!
//! Each step is one commit of one row that expects the one before. A host that dies, or stands still, leaves it to the others: what it
//! wrote under the key of before is found by the next look, and what it would still write is not taken.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_attestation::Attestation;
use hypervisor_fleet::{Fleet, Tag, connections};
use hypervisor_store::{Error as RowError, Expect, KeyId, Resealed, Ring, SealingKey};
use tokio::time::{Instant, timeout, timeout_at};

use crate::ask::{Asking, CONNECT, Failed};
use crate::error::Error;
use crate::join::{MOST_ASKED, PATIENCE};
use crate::member::{Member, lock};
use crate::rotation::{Phase, Rotation};
use crate::rows::Rows;

/// Time between two looks at whether the key changes.
const LOOK: Duration = Duration::from_secs(1);
/// The longest time between two, where nobody gives this host a key that it lacks: each asking may take quotes.
const LONGEST: Duration = Duration::from_secs(60);
/// Time that an operator waits for a look that is under way.
const TURN: Duration = Duration::from_secs(5);
/// Rows that are looked at before others get a turn.
const PAGE: usize = 256;

/// What becomes of the key, as a member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turning {
    /// The key that takes the place of another.
    pub to: KeyId,
    /// How far it is.
    pub phase: Phase,
    /// Hosts that live and do not have it yet.
    pub waits_for: Vec<Tag>,
}

/// How far a look through all rows is.
type Spot = (String, Vec<u8>);

impl Member {
    /// The keys' part in this host: which one it writes under, and what becomes of it.
    pub fn turning(&self) -> (KeyId, Option<Turning>) {
        (self.ring().current(), lock(&self.seen).clone())
    }

    /// Makes the next key, which takes the place of the one in use once every host that lives has it. Gives its id.
    ///
    /// # Errors
    /// [`Error::UnderWay`] where one does so already; where the database cannot be used it may have begun all the same.
    pub async fn rotate(&self, fleet: &Fleet) -> Result<KeyId, Error> {
        let turn = timeout(TURN, self.turn.lock()).await;
        let _one = turn.map_err(|_| Error::UnderWay(const_hex::encode(self.ring().current())))?;
        fleet.look().await?;
        let ring = self.ring();
        let under_way = |key: KeyId| Error::UnderWay(const_hex::encode(key));
        let expect = match self.rotations.read()? {
            None => Expect::Absent,
            Some((it, _)) if it.number < ring.number() => {
                return Err(Error::SetBack(const_hex::encode(it.to())));
            }
            Some((it, version)) if it.number == ring.number() && it.phase == Phase::Done => {
                Expect::Version(version)
            }
            // Whoever made that one is gone, and nothing came under it.
            Some((it, version)) if it.phase == Phase::Offered && !has(fleet, ring, it.to()) => {
                Expect::Version(version)
            }
            Some((it, _)) => return Err(under_way(it.to())),
        };
        if ring.last().is_some() {
            return Err(under_way(ring.current()));
        }
        let began = self.rows.backend().now()?;
        let key = SealingKey::random()?;
        let ids = [ring.current(), key.id()?];
        ring.offer(key)?;
        // A host that comes back alone has it too.
        self.keep();
        let number = ring.number().saturating_add(1);
        if !self
            .rotations
            .write(&Rotation::offer(ids, number, began), expect)?
        {
            ring.withdraw(None);
            self.keep();
            let other = self.rotations.read()?.map(|(other, _)| other.to());
            return Err(under_way(other.unwrap_or(ring.current())));
        }
        let [_, to] = ids;
        tracing::warn!(
            key = const_hex::encode(to),
            "the fleet's key is about to change"
        );
        self.asked.notify_one();
        Ok(to)
    }

    /// Takes part in changes of the key, as long as it is polled.
    pub async fn attend(&self, fleet: &Fleet, attestation: &Attestation) {
        let (mut pause, mut said) = (LOOK, String::new());
        loop {
            // An operator who asks for another key does not wait.
            let _ = timeout(pause, self.asked.notified()).await;
            let Err(error) = self.look(fleet, attestation, true).await else {
                (pause, said) = (LOOK, String::new());
                continue;
            };
            pause = match error {
                Error::Rows(_) | Error::Fleet(_) => LOOK,
                _ => (pause * 2).min(LONGEST),
            };
            let words = error.to_string();
            if words != said {
                tracing::error!(error = words, "this host cannot follow the fleet's key");
                said = words;
            }
        }
    }

    /// Takes up what became of the key since this host has its own: to be called once others see it among the nodes, and before it
    /// serves.
    ///
    /// # Errors
    /// [`Error`]: it has not all keys that it needs.
    pub async fn settle(&self, fleet: &Fleet, attestation: &Attestation) -> Result<(), Error> {
        self.look(fleet, attestation, false).await
    }

    pub(crate) async fn look(
        &self,
        fleet: &Fleet,
        attestation: &Attestation,
        leads: bool,
    ) -> Result<(), Error> {
        let _one = self.turn.lock().await;
        // One look takes every step that can be taken.
        loop {
            let Some((rotation, version)) = self.read(attestation).await? else {
                return Ok(());
            };
            let (from, to) = (rotation.from(), rotation.to());
            self.obtain(&rotation, attestation).await?;
            let waits_for = match rotation.phase {
                Phase::Offered => {
                    fleet.look().await?;
                    lacking(fleet, to)
                }
                Phase::Writing | Phase::Done => Vec::new(),
            };
            let is_over = rotation.phase == Phase::Done;
            let (phase, is_waited_for) = (rotation.phase, !waits_for.is_empty());
            *lock(&self.seen) = (!is_over).then_some(Turning {
                to,
                phase,
                waits_for,
            });
            let next = match phase {
                Phase::Offered if is_waited_for => return Ok(()),
                Phase::Offered => Phase::Writing,
                Phase::Writing => {
                    self.ring().turn(to);
                    match self.ring().last() {
                        // It saw the end already, which somebody took back.
                        None => Phase::Done,
                        Some(_) if leads && is_first(fleet, to) => {
                            self.reseal(from, rotation.began).await?;
                            Phase::Done
                        }
                        Some(_) => return Ok(()),
                    }
                }
                Phase::Done => {
                    self.ring().turn(to);
                    if self.ring().last().is_some() {
                        self.ring().forget(from);
                        self.keep();
                        let key = const_hex::encode(from);
                        tracing::warn!(
                            key,
                            "nothing is under the fleet's last key: it is forgotten"
                        );
                    }
                    return Ok(());
                }
            };
            if !self
                .rotations
                .write(&rotation.at(next), Expect::Version(version))?
            {
                // Another host did.
                return Ok(());
            }
            tracing::warn!(key = const_hex::encode(to), phase = ?next, "the fleet's key changes");
        }
    }

    /// The row of the last rotation. One that is under a key that this host lacks has it ask for that first; one that is not there, or
    /// not as it was, is written as this host knows it.
    async fn read(&self, attestation: &Attestation) -> Result<Option<(Rotation, u64)>, Error> {
        let mut found = self.rotations.read();
        if let Err(RowError::UnknownKey(_, id)) = found {
            self.fetch(id, attestation).await?;
            found = self.rotations.read();
        }
        let expect = match found {
            Ok(None) => Expect::Absent,
            Err(RowError::Authentication(_) | RowError::RolledBack(_)) => Expect::Any,
            found => return Ok(found?),
        };
        let ring = self.ring();
        match ring.last() {
            Some(last) => {
                let began = self.rows.backend().now()?;
                let row = Rotation::offer([last, ring.current()], ring.number(), began);
                self.rotations.write(&row.at(Phase::Writing), expect)?;
            }
            None => ring.withdraw(None),
        }
        Ok(found?)
    }

    /// Has this host have the key of a rotation.
    async fn obtain(&self, rotation: &Rotation, attestation: &Attestation) -> Result<(), Error> {
        let (ring, to) = (self.ring(), rotation.to());
        ring.withdraw(Some(to));
        let fits = match rotation.number.checked_sub(ring.number()) {
            None => false,
            Some(0) => ring.current() == to,
            Some(1) => {
                if !ring.has(to) {
                    self.fetch(to, attestation).await?;
                }
                ring.has(to)
            }
            Some(_) => {
                self.fetch(to, attestation).await?;
                ring.has(to)
            }
        };
        match fits {
            true => Ok(()),
            false => Err(Error::SetBack(const_hex::encode(to))),
        }
    }

    /// Gets a key from a host that has it, each of the two judging the other.
    async fn fetch(&self, id: KeyId, attestation: &Attestation) -> Result<(), Error> {
        let members = self.rows.members(self.ring().id())?.into_iter();
        let members: Vec<_> = (members.filter(|member| self.reaches(member)))
            .take(MOST_ASKED)
            .collect();
        let asking = Asking {
            attestation,
            judge: &self.judge,
            connections: &connections(CONNECT),
        };
        let ends = Instant::now() + PATIENCE;
        let theirs = match timeout_at(ends, asking.keys_of_any(&members, id)).await {
            Ok(Ok(ring)) => ring,
            Ok(Err(Failed::Refused(why))) => return Err(Error::Refused(why)),
            Ok(Err(Failed::Now(why))) => return Err(Error::Lacking(const_hex::encode(id), why)),
            Err(_) => {
                let why = "no answer".to_owned();
                return Err(Error::Lacking(const_hex::encode(id), why));
            }
        };
        if !self.ring().adopt(&theirs) {
            return Err(Error::SetBack(const_hex::encode(id)));
        }
        tracing::info!(
            key = const_hex::encode(id),
            "this host has the fleet's next key"
        );
        self.keep();
        Ok(())
    }

    /// Seals anew all that is under a key, and has the database take nothing more under it.
    async fn reseal(&self, from: KeyId, began: u64) -> Result<(), Error> {
        let (mut spot, mut nobodys) = (Spot::default(), 0_usize);
        let (rows, ring) = (self.rows.clone(), Arc::clone(self.ring()));
        blocking(move || rows.backend().retire(from)).await?;
        loop {
            if self.ring().last() != Some(from) {
                return Err(Error::SetBack(const_hex::encode(from)));
            }
            let (rows, ring, at) = (self.rows.clone(), Arc::clone(&ring), spot.clone());
            let page = blocking(move || step(&rows, &ring, (from, began), &at)).await?;
            nobodys = nobodys.saturating_add(page.1);
            match page.0 {
                Some(next) => spot = next,
                None => break,
            }
        }
        if nobodys > 0 {
            tracing::warn!(
                rows = nobodys,
                "rows say that they are under the last key, and are not"
            );
        }
        Ok(())
    }
}

/// Looks at some rows, and seals anew those that are under this key. Gives where to go on, and how many are nobody's.
fn step(
    rows: &Rows,
    ring: &Ring,
    (from, began): (KeyId, u64),
    (table, key): &Spot,
) -> Result<(Option<Spot>, usize), RowError> {
    let heads = rows.backend().heads((table, key), PAGE)?;
    let next = heads.last().map(|it| (it.table.clone(), it.key.clone()));
    let mut nobodys = 0_usize;
    for head in heads {
        rows.drop_sealed(&head, began)?;
        if head.begins == from && ring.reseal(&**rows.backend(), &head)? == Resealed::Nobodys {
            nobodys = nobodys.saturating_add(1);
        }
    }
    Ok((next, nobodys))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RowError> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    let done =
        done.map_err(|_| RowError::Seal("whoever looked through the rows did not end it"))?;
    Ok(done?)
}

/// Hosts that live and do not have a key.
fn lacking(fleet: &Fleet, key: KeyId) -> Vec<Tag> {
    let nodes = fleet.nodes().into_iter();
    nodes
        .filter(|node| node.alive && node.tag != fleet.tag() && !node.keys.contains(&key))
        .map(|node| node.tag)
        .collect()
}

/// Whether anybody has a key who lives.
fn has(fleet: &Fleet, own: &Ring, key: KeyId) -> bool {
    let mut nodes = fleet.nodes().into_iter();
    own.has(key) || nodes.any(|node| node.alive && node.keys.contains(&key))
}

/// Whether this host is the one that seals anew: of those that live and have the key, the one whose tag comes first.
fn is_first(fleet: &Fleet, key: KeyId) -> bool {
    let is_before = |tag: Tag| tag < fleet.tag();
    let mut nodes = fleet.nodes().into_iter();
    !nodes.any(|node| node.alive && is_before(node.tag) && node.keys.contains(&key))
}
