//! The right edge of the tree: all that it takes to add leaves and to know the root.
//!
//! The tree is kept in tiles of 256 hashes, as C2SP's logs are: level 0 has the leaves, level 1 the nodes above 256 leaves each, and
//! so on. All tiles but the last of each level are full and never change again.

use hypervisor_tlog::trail::{ENTRY, Entry};
use hypervisor_tlog::tree::{self, Hash, Head};

/// Hashes of a full tile, and its height in the tree.
pub(crate) const TILE: usize = 256;
pub(crate) const HEIGHT: u32 = 8;

/// A tile to be written: one that became full, or the last of its level.
pub(crate) struct Tile {
    pub(crate) level: u8,
    /// Which of its level, from 0.
    pub(crate) index: u64,
    /// Of level 0 the entries, above it the hashes.
    pub(crate) bytes: Vec<u8>,
}

/// The last tile of each level.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    /// The entries of that of level 0.
    entries: Vec<u8>,
    /// The hashes of each, fewer than [`TILE`].
    levels: Vec<Vec<Hash>>,
}

/// How many hashes the last tile of a level with so many has.
pub(crate) fn in_last(hashes: u64) -> usize {
    usize::try_from(hashes % (1 << HEIGHT)).unwrap_or_default()
}

/// The leaves of entries.
pub(crate) fn leaves(entries: &[u8]) -> Vec<Hash> {
    entries.chunks_exact(ENTRY).map(tree::leaf).collect()
}

/// The root of a perfect tree.
pub(crate) fn perfect(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [one] => Some(*one),
        several => {
            let (left, right) = several.split_at_checked(several.len() / 2)?;
            Some(tree::node(&perfect(left)?, &perfect(right)?))
        }
    }
}

impl Edge {
    /// That of a tree of `size` leaves, from its last tiles: the entries of level 0, and the hashes of each level above. None where
    /// they are not of that size.
    pub(crate) fn of(size: u64, entries: Vec<u8>, above: Vec<Vec<Hash>>) -> Option<Self> {
        let mut levels = vec![leaves(&entries)];
        levels.extend(above);
        let mut hashes = size;
        for level in &levels {
            if level.len() != in_last(hashes) {
                return None;
            }
            hashes >>= HEIGHT;
        }
        let is_whole = hashes == 0 && entries.len().is_multiple_of(ENTRY);
        is_whole.then_some(Self {
            size,
            entries,
            levels,
        })
    }

    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry. Tiles that it fills go to `full`.
    pub(crate) fn push(&mut self, entry: &Entry, full: &mut Vec<Tile>) {
        let bytes = entry.encode();
        self.entries.extend(bytes);
        let mut hash = tree::leaf(&bytes);
        let mut hashes = self.size;
        self.size = self.size.saturating_add(1);
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::with_capacity(TILE));
            }
            let Some(tile) = self.levels.get_mut(place) else {
                return;
            };
            tile.push(hash);
            if tile.len() < TILE {
                return;
            }
            let Some(above) = perfect(tile) else { return };
            let bytes = match level {
                0 => std::mem::take(&mut self.entries),
                _ => tile.concat(),
            };
            tile.clear();
            full.push(Tile {
                level,
                index: hashes >> HEIGHT,
                bytes,
            });
            (hash, hashes) = (above, hashes >> HEIGHT);
        }
    }

    /// The last tile of each level, where it is not empty.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Tile> {
        let levels = (0_u8..).zip(&self.levels);
        let levels = levels.filter(|(_, tile)| !tile.is_empty());
        levels.map(|(level, tile)| Tile {
            level,
            index: self
                .size
                .checked_shr(HEIGHT * (u32::from(level) + 1))
                .unwrap_or_default(),
            bytes: match level {
                0 => self.entries.clone(),
                _ => tile.concat(),
            },
        })
    }

    /// The whole tree.
    pub(crate) fn head(&self) -> Head {
        let mut root: Option<Hash> = None;
        for level in &self.levels {
            let mut rest = level.as_slice();
            for height in 0..HEIGHT {
                let count = 1_usize << height;
                if level.len() & count == 0 {
                    continue;
                }
                let Some((before, last)) = rest.split_at_checked(rest.len().saturating_sub(count))
                else {
                    continue;
                };
                root = match (perfect(last), root) {
                    (Some(left), Some(right)) => Some(tree::node(&left, &right)),
                    (left, right) => left.or(right),
                };
                rest = before;
            }
        }
        Head {
            size: self.size,
            root: root.unwrap_or_else(tree::empty),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use hypervisor_tlog::Tree;
    use hypervisor_tlog::trail::Kind;

    use super::*;

    fn entry(number: u64) -> Entry {
        Entry {
            kind: Kind::Execution,
            time: number,
            digest: [7; 32],
        }
    }

    /// 256 tiles of 256 leaves make one of level 2.
    #[test]
    fn the_root_is_that_of_the_whole_tree_at_every_size() {
        let (mut edge, mut tree, mut full) = (Edge::default(), Tree::default(), Vec::new());
        assert_eq!(edge.head(), tree.head());
        for number in 0..70_000 {
            edge.push(&entry(number), &mut full);
            tree.push(tree::leaf(&entry(number).encode()));
            if number < 2000 || number.is_multiple_of(97) || number > 69_990 {
                assert_eq!(edge.head(), tree.head(), "{number}");
            }
        }
        let of = |level| full.iter().filter(move |tile| tile.level == level);
        assert_eq!((of(0).count(), of(1).count()), (273, 1));
        assert!((0..).zip(of(0)).all(|(index, tile)| tile.index == index));
        let last: Vec<_> = edge.tiles().map(|it| (it.level, it.index)).collect();
        assert_eq!(last, [(0, 273), (1, 1), (2, 0)]);
    }

    #[test]
    fn what_was_written_of_it_gives_it_again_and_of_another_size_nothing() {
        for size in [0, 1, 255, 256, 257, 65_536, 65_537] {
            let (mut edge, mut full) = (Edge::default(), Vec::new());
            for number in 0..size {
                edge.push(&entry(number), &mut full);
            }
            let above = edge.levels.get(1..).unwrap_or_default().to_vec();
            let of = |size| Edge::of(size, edge.entries.clone(), above.clone());
            assert_eq!(of(size).unwrap().head(), edge.head(), "{size}");
            assert!(of(size + 1).is_none());
        }
    }
}
