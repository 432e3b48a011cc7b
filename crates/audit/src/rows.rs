//! The rows of a trail.
//!
//! ```text
//! audit          "state" → id, 16 bytes ‖ size, u64 BE ‖ root, 32 bytes ‖ first, u64 BE
//! audit-entries  tile, u64 BE → up to 256 entries of 41 bytes
//! audit-nodes    level, 1 byte ‖ tile, u64 BE → up to 256 hashes
//! audit-index    a keyed hash of an entry's digest, 16 bytes → its place, u64 BE
//! ```
//!
//! `first` is the first entry that is kept; of those before it there are the leaves, in `audit-nodes` at level 0, and neither entry nor place.
//! All are under the platform's key; where there is none, they end with the process.

use hypervisor_store::{Change, Expect, Store, Table, Under};
use hypervisor_tlog::trail::{ENTRY, Entry};
use hypervisor_tlog::tree::{Hash, Head};

use crate::edge::{Edge, HEIGHT, Tile, in_last, leaves};
use crate::error::Error;

const STATE: Table = platform("audit");
const ENTRIES: Table = platform("audit-entries");
const NODES: Table = platform("audit-nodes");
const INDEX: Table = platform("audit-index");

/// The tables of a trail.
pub const TABLES: [Table; 4] = [STATE, ENTRIES, NODES, INDEX];

const ONLY: &[u8] = b"state";

const fn platform(name: &'static str) -> Table {
    Table {
        name,
        under: Under::Platform,
    }
}

/// What a trail is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) id: [u8; 16],
    pub(crate) head: Head,
    /// The first entry that is kept.
    pub(crate) first: u64,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let Self { id, head, first } = self;
        [
            &id[..],
            &head.size.to_be_bytes(),
            &head.root,
            &first.to_be_bytes(),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (root, first) = rest.split_first_chunk()?;
        Some(Self {
            id: *id,
            head: Head {
                size: u64::from_be_bytes(*size),
                root: *root,
            },
            first: u64::from_be_bytes(first.try_into().ok()?),
        })
    }
}

/// What is written in one change.
pub(crate) struct Written {
    pub(crate) state: State,
    /// The version of the state before; none where there is none yet.
    pub(crate) version: Option<u64>,
    pub(crate) tiles: Vec<Tile>,
    /// Digests with their places.
    pub(crate) places: Vec<(Entry, u64)>,
    /// Tiles of level 0 whose entries go.
    pub(crate) dropped: Vec<u64>,
}

/// The rows.
pub(crate) struct Rows {
    store: Store,
}

impl Rows {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whether they survive a restart.
    pub(crate) fn is_lasting(&self) -> bool {
        self.store.is_lasting()
    }

    /// What the trail is, and the version of that row; none where there is none yet.
    pub(crate) fn state(&self) -> Result<Option<(State, u64)>, Error> {
        let Some(row) = self.store.get(STATE, ONLY)? else {
            return Ok(None);
        };
        let state = State::decode(&row.value).ok_or(Error::Damaged("its state"))?;
        Ok(Some((state, row.version)))
    }

    /// The right edge of the tree with this head.
    pub(crate) fn edge(&self, head: &Head) -> Result<Edge, Error> {
        let entries = match in_last(head.size) {
            0 => None,
            _ => self.entries(head.size >> HEIGHT)?,
        };
        let mut above = Vec::new();
        let (mut level, mut hashes) = (1_u8, head.size >> HEIGHT);
        while hashes > 0 {
            let last = match in_last(hashes) {
                0 => None,
                _ => self.hashes(level, hashes >> HEIGHT)?,
            };
            above.push(last.unwrap_or_default());
            (level, hashes) = (level.saturating_add(1), hashes >> HEIGHT);
        }
        let edge = Edge::of(head.size, entries.unwrap_or_default(), above);
        let edge = edge.ok_or(Error::Damaged("its last tiles"))?;
        if edge.head() != *head {
            return Err(Error::Damaged("its tree has another root"));
        }
        Ok(edge)
    }

    /// The entries of a tile of level 0; none where they are no longer kept.
    pub(crate) fn entries(&self, tile: u64) -> Result<Option<Vec<u8>>, Error> {
        let row = self.store.get(ENTRIES, &tile.to_be_bytes())?;
        Ok(row.map(|row| row.value.to_vec()))
    }

    /// The leaves of a tile of level 0, or the hashes of one above.
    pub(crate) fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<Hash>>, Error> {
        if level == 0
            && let Some(entries) = self.entries(tile)?
        {
            return Ok(Some(leaves(&entries)));
        }
        self.hashes(level, tile)
    }

    fn hashes(&self, level: u8, tile: u64) -> Result<Option<Vec<Hash>>, Error> {
        let row = self.store.get(NODES, &node_key(level, tile))?;
        Ok(row.map(|row| row.value.as_chunks().0.to_vec()))
    }

    fn index_key(&self, digest: &[u8; 32]) -> [u8; 16] {
        let blind = self.store.blind(INDEX, digest);
        blind.first_chunk().copied().unwrap_or_default()
    }

    /// The place of the last entry with this digest.
    pub(crate) fn place(&self, digest: &[u8; 32]) -> Result<Option<u64>, Error> {
        let row = self.store.get(INDEX, &self.index_key(digest))?;
        let place = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
        let wrong = |_| Error::Damaged("the place of an entry");
        row.map(|row| place(&row.value).map_err(wrong)).transpose()
    }

    /// Makes a change; all of it is on the disk when this returns.
    pub(crate) fn write(&self, written: &Written) -> Result<(), Error> {
        let state = written.state.encode();
        let (mut changes, mut places) = (Vec::new(), Vec::new());
        let mut lost = Vec::new();
        let mut leaves_of = Vec::new();
        for &tile in &written.dropped {
            let entries = self.entries(tile)?.ok_or(Error::Damaged("an entry"))?;
            let range = (tile << HEIGHT)..(tile.saturating_add(1) << HEIGHT);
            for entry in entries.chunks_exact(ENTRY) {
                let digest = Entry::decode(entry)?.digest;
                // The same may have happened again since.
                if self.place(&digest)?.is_some_and(|it| range.contains(&it)) {
                    lost.push(self.index_key(&digest));
                }
            }
            leaves_of.push((tile, leaves(&entries).concat()));
        }
        let tile_keys: Vec<_> = written.dropped.iter().map(|it| it.to_be_bytes()).collect();
        let node_keys: Vec<_> = leaves_of.iter().map(|it| node_key(0, it.0)).collect();
        changes.extend(lost.iter().map(|key| Change::delete(INDEX, key)));
        changes.extend(tile_keys.iter().map(|key| Change::delete(ENTRIES, key)));
        let kept = node_keys.iter().zip(&leaves_of);
        changes.extend(kept.map(|(key, (_, leaves))| Change::put(NODES, key, leaves)));

        let tiles = written.tiles.iter();
        let tiles: Vec<_> = tiles.map(|it| (node_key(it.level, it.index), it)).collect();
        changes.extend(tiles.iter().map(|(key, tile)| match key {
            [0, key @ ..] => Change::put(ENTRIES, key, &tile.bytes),
            _ => Change::put(NODES, key, &tile.bytes),
        }));
        for (entry, place) in &written.places {
            let expect = match entry.kind.is_commitment() {
                // It was looked for.
                true => Expect::Absent,
                false => Expect::Any,
            };
            places.push((self.index_key(&entry.digest), place.to_be_bytes(), expect));
        }
        changes.extend(places.iter().map(|(key, place, expect)| Change {
            expect: *expect,
            ..Change::put(INDEX, key, place)
        }));
        changes.push(Change {
            expect: written.version.map_or(Expect::Absent, Expect::Version),
            ..Change::put(STATE, ONLY, &state)
        });
        Ok(self.store.commit(&changes, true)?)
    }
}

fn node_key(level: u8, tile: u64) -> [u8; 9] {
    let mut key = [level; 9];
    let (_, rest) = key.split_at_mut(1);
    rest.copy_from_slice(&tile.to_be_bytes());
    key
}
