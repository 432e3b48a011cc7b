//! The Merkle tree of RFC 9162, section 2.1 (RFC 6962), with SHA-256, and its proofs.
//!
//! ```text
//! leaf = SHA-256(0x00 ‖ entry)        node = SHA-256(0x01 ‖ left ‖ right)
//! ```
//!
//! A tree of n > 1 leaves splits at the largest power of two below n.

use sha2::{Digest, Sha256};

use crate::Error;

/// A node of the tree.
pub type Hash = [u8; 32];

/// The longest proof of a tree with fewer than 2^63 leaves, of either kind.
pub const MAX_PROOF: usize = 64;

/// A tree by its size and root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many leaves it has.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// The root of a tree without leaves.
pub fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// The leaf of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new_with_prefix([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// The node above two others.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << n.saturating_sub(1).checked_ilog2().unwrap_or_default()
}

/// Where the nodes of a tree are kept. A node above a perfect subtree never changes, so that proofs about a tree can be made while it
/// grows.
pub trait Nodes {
    /// Why a node cannot be had.
    type Error;

    /// The node above the 2^`height` leaves from `place` * 2^`height` on, all of which are there.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn node(&mut self, height: u32, place: u64) -> Result<Hash, Self::Error>;

    /// `MTH(D[start:end])` of the RFC, for ranges into which trees split: never empty.
    ///
    /// # Errors
    /// As [`Self::node`].
    fn range(&mut self, start: u64, end: u64) -> Result<Hash, Self::Error> {
        let count = end.saturating_sub(start);
        if count.is_power_of_two() {
            return self.node(count.ilog2(), start >> count.ilog2());
        }
        let middle = start.saturating_add(split(count));
        Ok(node(&self.range(start, middle)?, &self.range(middle, end)?))
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// As [`Self::node`].
    fn root(&mut self, size: u64) -> Result<Hash, Self::Error> {
        match size {
            0 => Ok(empty()),
            size => self.range(0, size),
        }
    }

    /// The proof that the leaf at `index` is in the tree of the first `size`, of which it is one.
    ///
    /// # Errors
    /// As [`Self::node`].
    fn inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, Self::Error> {
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range(middle, end)?);
                end = middle;
            } else {
                path.push(self.range(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// The proof that the tree of the first `new` leaves continues that of the first `old`, which are at least 1 and no more than
    /// those.
    ///
    /// # Errors
    /// As [`Self::node`].
    fn consistency(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, Self::Error> {
        let (mut start, mut end, mut whole) = (0, new, true);
        let mut path = Vec::new();
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                path.push(self.range(middle, end)?);
                end = middle;
            } else {
                path.push(self.range(start, middle)?);
                (start, whole) = (middle, false);
            }
        }
        // The verifier has the root of the old tree itself.
        if !whole {
            path.push(self.range(start, end)?);
        }
        path.reverse();
        Ok(path)
    }
}

/// The nodes of a tree that has them in memory; without an error's words, as who asks knows what is there.
struct InMemory<'a>(&'a Tree);

impl Nodes for InMemory<'_> {
    type Error = ();

    fn node(&mut self, height: u32, place: u64) -> Result<Hash, ()> {
        let level = self.0.level(usize::try_from(height).map_err(drop)?);
        let place = usize::try_from(place).map_err(drop)?;
        level.get(place).copied().ok_or(())
    }
}

/// A tree whose every leaf is known.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The leaves, and above them the nodes of perfect subtrees.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in &mut self.levels {
            level.push(hash);
            match level.as_chunks().0.last() {
                Some([left, right]) if level.len().is_multiple_of(2) => hash = node(left, right),
                _ => return,
            }
        }
        self.levels.push(vec![hash]);
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.level(0).len() as u64
    }

    /// The whole tree.
    pub fn head(&self) -> Head {
        self.head_at(self.size()).unwrap_or(Head {
            size: 0,
            root: empty(),
        })
    }

    /// The tree as it was when it had `size` leaves; none if it never had.
    pub fn head_at(&self, size: u64) -> Option<Head> {
        let root = InMemory(self).root(size).ok()?;
        Some(Head { size, root })
    }

    /// The nodes of perfect subtrees of 2^`height` leaves.
    pub(crate) fn level(&self, height: usize) -> &[Hash] {
        self.levels.get(height).map_or(&[], Vec::as_slice)
    }

    /// The proof that the leaf at `index` is in the tree of the first `size`; none where there is no such leaf.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        InMemory(self).inclusion(index, size).ok()
    }

    /// The proof that the tree of the first `new` leaves continues that of the first `old`; none for `old` of 0 or beyond `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old == 0 || old > new || new > self.size() {
            return None;
        }
        InMemory(self).consistency(old, new).ok()
    }
}

/// Whether a leaf is in a tree (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`Error::NotIncluded`].
pub fn verify_inclusion(leaf: &Hash, index: u64, path: &[Hash], head: &Head) -> Result<(), Error> {
    if index >= head.size {
        return Err(Error::NotIncluded("the index is beyond the tree"));
    }
    let (mut place, mut last) = (index, head.size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(Error::NotIncluded("the path is too long"));
        }
        if place & 1 == 1 || place == last {
            hash = node(sibling, &hash);
            // A node without a sibling went up unchanged.
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last != 0 {
        return Err(Error::NotIncluded("the path is too short"));
    }
    if hash != head.root {
        return Err(Error::NotIncluded("it leads to another root"));
    }
    Ok(())
}

/// Whether a tree continues another (RFC 9162, section 2.1.4.2).
///
/// # Errors
/// [`Error::RolledBack`] for a tree that is shorter than the old one, [`Error::Forked`] for another of the same size, and
/// [`Error::Inconsistent`] for a proof that does not hold.
pub fn verify_consistency(old: &Head, new: &Head, path: &[Hash]) -> Result<(), Error> {
    let (size, more) = (old.size, new.size);
    if size > more {
        return Err(Error::RolledBack {
            old: size,
            new: more,
        });
    }
    if size == 0 {
        return Err(Error::Inconsistent("every tree continues the empty one"));
    }
    if size == more {
        return match (old.root == new.root, path) {
            (true, []) => Ok(()),
            (true, _) => Err(Error::Inconsistent("the path is too long")),
            (false, _) => Err(Error::Forked {
                old: size,
                new: more,
            }),
        };
    }
    let (mut place, mut last) = (size - 1, more - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let mut rest = path.iter();
    let short = Error::Inconsistent("the path is too short");
    // A perfect tree is itself the first node.
    let first = match size.is_power_of_two() {
        true => old.root,
        false => *rest.next().ok_or(short)?,
    };
    let (mut before, mut after) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(Error::Inconsistent("the path is too long"));
        }
        if place & 1 == 1 || place == last {
            before = node(sibling, &before);
            after = node(sibling, &after);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            after = node(&after, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last != 0 {
        return Err(Error::Inconsistent("the path is too short"));
    }
    if before != old.root {
        return Err(Error::Inconsistent("it leads to another old root"));
    }
    if after != new.root {
        return Err(Error::Inconsistent("it leads to another new root"));
    }
    Ok(())
}
