//! The keys of a fleet: one that names rows, which stays, and one that seals them, which another can take the place of.
//!
//! For as long as that takes there are two of them: the next one is here before anything is under it, and the last one until nothing
//! is. What is sealed says which key it is under.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use crate::backend::{Backend, Head, RawChange, RawRow};
use crate::error::Error;
use crate::keys::SealingKey;
use crate::seal::{KeyId, Sealer};

/// Bytes of the keys at most.
const MOST_BYTES: usize = 8 + 4 * 32 + 2;
/// As often one row is read again that others change.
const ATTEMPTS: usize = 16;

/// The keys of a fleet.
pub struct Ring {
    names: SealingKey,
    /// Of it only the keyed hash is used.
    blind: Sealer,
    slots: RwLock<Arc<Slots>>,
}

/// Which key is which at one moment. They are erased when nobody uses them any more.
#[derive(Clone)]
pub(crate) struct Slots {
    /// Rows may be under it still.
    last: Option<Arc<Sealing>>,
    pub(crate) current: Arc<Sealing>,
    /// Nothing is under it yet, as far as this host knows.
    next: Option<Arc<Sealing>>,
    /// Which key of the fleet the current one is, from 1.
    number: u64,
    /// How often they changed.
    changes: u64,
}

/// A key that seals.
pub(crate) struct Sealing {
    key: SealingKey,
    pub(crate) sealer: Sealer,
}

impl Sealing {
    fn of(key: SealingKey) -> Result<Arc<Self>, Error> {
        let sealer = Sealer::named(&key)?;
        Ok(Arc::new(Self { key, sealer }))
    }

    pub(crate) fn id(&self) -> KeyId {
        self.sealer.id()
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// It is under the newest key, or gone.
    Done,
    /// It is under no key, whatever it says: somebody put it there.
    Nobodys,
}

impl Ring {
    /// Keys that nobody has.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn new() -> Result<Self, Error> {
        Self::with(
            1,
            SealingKey::random()?,
            SealingKey::random()?,
            [None, None],
        )
    }

    /// One key that names rows and seals them.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn of(key: &SealingKey) -> Result<Self, Error> {
        Self::with(1, key.clone(), key.clone(), [None, None])
    }

    fn with(
        number: u64,
        names: SealingKey,
        current: SealingKey,
        [last, next]: [Option<SealingKey>; 2],
    ) -> Result<Self, Error> {
        let slots = Slots {
            last: last.map(Sealing::of).transpose()?,
            current: Sealing::of(current)?,
            next: next.map(Sealing::of).transpose()?,
            number,
            changes: 0,
        };
        Ok(Self {
            blind: Sealer::new(&names)?,
            names,
            slots: RwLock::new(Arc::new(slots)),
        })
    }

    /// The keys' bytes, for a host that may have them: the number of the current one, the one that names, the current one, and after a
    /// byte each the last one and the next, where there are any.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let slots = self.slots();
        // Room for all of it from the start: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
        bytes.extend_from_slice(&slots.number.to_be_bytes());
        bytes.extend_from_slice(self.names.as_bytes());
        bytes.extend_from_slice(slots.current.key.as_bytes());
        for slot in [&slots.last, &slots.next] {
            bytes.push(u8::from(slot.is_some()));
            if let Some(sealing) = slot {
                bytes.extend_from_slice(sealing.key.as_bytes());
            }
        }
        bytes
    }

    /// The keys whose bytes these are; none where they are no keys.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let parsed = parts(bytes);
        let parsed = parsed
            .map(|(number, names, current, others)| Self::with(number, names, current, others));
        parsed.transpose()
    }

    /// What the fleet goes by: its tables are called by it, and it stays.
    pub fn id(&self) -> KeyId {
        self.blind.id()
    }

    /// Which key of the fleet the current one is, from 1.
    pub fn number(&self) -> u64 {
        self.slots().number
    }

    /// Under which key this host writes.
    pub fn current(&self) -> KeyId {
        self.slots().current.id()
    }

    /// Under which key rows may be still.
    pub fn last(&self) -> Option<KeyId> {
        self.slots().last.as_ref().map(|it| it.id())
    }

    /// Under which key nothing is yet.
    pub fn next(&self) -> Option<KeyId> {
        self.slots().next.as_ref().map(|it| it.id())
    }

    /// All of them.
    pub fn ids(&self) -> Vec<KeyId> {
        self.slots().all().map(|it| it.id()).collect()
    }

    /// Whether it has a key.
    pub fn has(&self, id: KeyId) -> bool {
        self.slots().all().any(|it| it.id() == id)
    }

    /// Keeps a key, in the place of an earlier one that nothing came under.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn offer(&self, key: SealingKey) -> Result<(), Error> {
        let next = Sealing::of(key)?;
        self.change(|slots| slots.next = Some(next));
        Ok(())
    }

    /// Drops the next key, unless it is this one: nothing came under it, and nothing will.
    pub fn withdraw(&self, except: Option<KeyId>) {
        if self.next().is_some_and(|next| Some(next) != except) {
            self.change(|slots| slots.next = None);
        }
    }

    /// Writes under the next key from here on, where it is this one.
    pub fn turn(&self, to: KeyId) {
        self.change(|slots| {
            if slots.next.as_ref().is_some_and(|next| next.id() == to) {
                slots.go_on();
            }
        });
    }

    /// Drops the last key, where it is this one: nothing is under it any more.
    pub fn forget(&self, last: KeyId) {
        if self.last() == Some(last) {
            self.change(|slots| slots.last = None);
        }
    }

    /// Takes up what another host of the fleet has, where that is newer: a host never goes back to a key of before. False where it is
    /// not.
    pub fn adopt(&self, other: &Self) -> bool {
        let their = other.slots();
        let mut adopted = false;
        self.change(|slots| {
            if other.id() == self.id() && their.number > slots.number {
                *slots = Slots {
                    changes: slots.changes,
                    ..(*their).clone()
                };
                adopted = true;
            } else if other.id() == self.id()
                && their.current.id() == slots.current.id()
                && their.next.is_some()
            {
                slots.next.clone_from(&their.next);
                adopted = true;
            }
        });
        adopted
    }

    /// Seals a row that is under the last key under the current one; its version stays, for nothing of it changed. That is not durable
    /// by itself.
    ///
    /// # Errors
    /// What the backend says.
    pub fn reseal(&self, backend: &dyn Backend, head: &Head) -> Result<Resealed, Error> {
        let slots = self.slots();
        let Some(last) = slots.last.as_ref() else {
            return Ok(Resealed::Done);
        };
        let of_fleet = format!("@{}", const_hex::encode(self.id()));
        let name = head.table.strip_suffix(&of_fleet).unwrap_or(&head.table);
        for _ in 0..ATTEMPTS {
            let Some(RawRow { version, sealed }) = backend.get(&head.table, &head.key)? else {
                return Ok(Resealed::Done);
            };
            if !sealed.starts_with(&last.id()) {
                return Ok(Resealed::Done);
            }
            let place = (name, head.key.as_slice(), version);
            let Some(value) = last.sealer.open(place, sealed) else {
                return Ok(Resealed::Nobodys);
            };
            let sealed = slots.current.sealer.seal(place, &value)?;
            let change = RawChange {
                table: head.table.clone(),
                key: head.key.clone(),
                expected: Some(version),
                row: Some(RawRow { version, sealed }),
            };
            match backend.commit(vec![change], false) {
                Err(Error::Conflict(_)) => {}
                done => return done.map(|()| Resealed::Done),
            }
        }
        Err(Error::Conflict(0))
    }

    pub(crate) fn slots(&self) -> Arc<Slots> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slots)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.slots().changes
    }

    pub(crate) fn blind(&self, table: &str, text: &[u8]) -> [u8; 32] {
        self.blind.blind(table, text)
    }

    /// Goes on under the next key, where a change under this one was refused because of it; whether another one is current.
    pub(crate) fn go_on(&self, from: KeyId) -> bool {
        self.change(|slots| {
            if slots.current.id() == from {
                slots.go_on();
            }
        });
        self.current() != from
    }

    fn change(&self, what: impl FnOnce(&mut Slots)) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = (**slots).clone();
        what(&mut changed);
        changed.changes = changed.changes.wrapping_add(1);
        *slots = Arc::new(changed);
    }
}

impl Slots {
    fn go_on(&mut self) {
        if let Some(next) = self.next.take() {
            self.last = Some(std::mem::replace(&mut self.current, next));
            self.number = self.number.saturating_add(1);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Sealing>> {
        [Some(&self.current), self.last.as_ref(), self.next.as_ref()]
            .into_iter()
            .flatten()
    }

    /// The key that a sealed value says it is under.
    pub(crate) fn of(&self, table: &'static str, sealed: &[u8]) -> Result<&Sealer, Error> {
        let claimed: &KeyId = sealed.first_chunk().ok_or(Error::Authentication(table))?;
        let found = self.all().find(|it| it.id() == *claimed);
        found
            .map(|it| &it.sealer)
            .ok_or(Error::UnknownKey(table, *claimed))
    }
}

/// The number, the key that names, the current one, and the last and the next.
type Parts = (u64, SealingKey, SealingKey, [Option<SealingKey>; 2]);

fn parts(bytes: &[u8]) -> Option<Parts> {
    let (number, bytes) = bytes.split_first_chunk()?;
    let (names, bytes) = key(bytes)?;
    let (current, bytes) = key(bytes)?;
    let (last, bytes) = slot(bytes)?;
    let (next, bytes) = slot(bytes)?;
    let parts = (u64::from_be_bytes(*number), names, current, [last, next]);
    bytes.is_empty().then_some(parts)
}

fn key(bytes: &[u8]) -> Option<(SealingKey, &[u8])> {
    let (key, rest) = bytes.split_first_chunk()?;
    Some((SealingKey::new(Zeroizing::new(*key)), rest))
}

fn slot(bytes: &[u8]) -> Option<(Option<SealingKey>, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => Some((None, rest)),
        (1, rest) => key(rest).map(|(key, rest)| (Some(key), rest)),
        _ => None,
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(Zeroizing::new([byte; 32]))
    }

    fn id(byte: u8) -> KeyId {
        key(byte).id().unwrap()
    }

    fn again(ring: &Ring) -> Ring {
        Ring::read(&ring.write()).unwrap().unwrap()
    }

    #[test]
    fn keys_come_and_go_and_are_the_same_after_they_were_passed_on() {
        let ring = Ring::of(&key(1)).unwrap();
        ring.offer(key(2)).unwrap();
        assert_eq!((ring.current(), ring.next()), (id(1), Some(id(2))));
        ring.turn(id(3));
        assert_eq!(ring.current(), id(1));
        ring.turn(id(2));
        assert_eq!(again(&ring).ids(), [id(2), id(1)]);
        assert_eq!((again(&ring).number(), again(&ring).id()), (2, id(1)));
        ring.forget(id(2));
        ring.forget(id(1));
        assert_eq!(ring.ids(), [id(2)]);
        assert!(ring.write().len() <= MOST_BYTES);
    }

    #[test]
    fn nobody_goes_back_to_a_key_of_before() {
        let (ring, behind) = (Ring::of(&key(1)).unwrap(), Ring::of(&key(1)).unwrap());
        ring.offer(key(2)).unwrap();
        assert!(behind.adopt(&ring));
        assert_eq!(behind.next(), Some(id(2)));
        ring.turn(id(2));
        ring.forget(id(1));
        assert!(!ring.adopt(&Ring::of(&key(1)).unwrap()));
        assert_eq!(ring.ids(), [id(2)]);
        assert!(behind.adopt(&ring));
        assert_eq!(behind.ids(), [id(2)]);
        assert!(!behind.adopt(&Ring::of(&key(9)).unwrap()));
    }

    #[test]
    fn a_next_key_that_another_took_the_place_of_is_dropped() {
        let ring = Ring::of(&key(1)).unwrap();
        ring.offer(key(2)).unwrap();
        ring.withdraw(Some(id(2)));
        assert!(ring.has(id(2)));
        ring.withdraw(Some(id(3)));
        assert!(!ring.has(id(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(ring) = Ring::read(&bytes).unwrap() {
                let written = ring.write();
                prop_assert_eq!(written.as_slice(), bytes.as_slice());
            }
        }
    }
}
