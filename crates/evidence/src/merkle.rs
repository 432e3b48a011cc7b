//! Batches of results under one quote: a Merkle tree as in RFC 9162 §2.1 (RFC 6962), with SHA-256.
//!
//! A TD makes about one quote a second, so results wait for one quote together. A leaf's data is a result commitment, 32 bytes:
//!
//! ```text
//! leaf = SHA-256(0x00 ‖ result commitment)        node = SHA-256(0x01 ‖ left ‖ right)
//! ```
//!
//! A tree of n > 1 leaves splits at the largest power of two below n. The prefixes keep a node from passing for a leaf. The
//! quote binds the root and the count; each result gets the path from its leaf to the root.

use hypervisor_protocol::{Commitment, ContentFormat, HexArray};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::bound;

/// The most results in a batch.
pub const MAX_LEAVES: usize = 65_536;
/// The longest path: a batch of [`MAX_LEAVES`].
pub const MAX_PATH: usize = 16;
/// The most bytes of a proof as CBOR or JSON.
pub const MAX_LENGTH: usize = 4096;

type Hash = [u8; 32];

/// The root over a batch and the number of results in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultRoot {
    /// The root.
    pub root: Hash,
    /// The number of leaves.
    pub count: u64,
}

/// Where one result stands in a batch. CBOR or JSON: a map of `index`, `count` and `path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// Its place, from 0.
    pub index: u64,
    /// The number of leaves.
    pub count: u64,
    /// The siblings on the way to the root, the leaf's first.
    pub path: Vec<HexArray<32>>,
}

fn leaf(commitment: &Commitment) -> Hash {
    Sha256::new_with_prefix([0])
        .chain_update(commitment)
        .finalize()
        .into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// A batch of results, complete.
#[derive(Debug, Clone)]
pub struct ResultTree {
    /// The leaves, then each layer above them, then the root alone. A last node without a sibling goes up unchanged, which
    /// gives the tree of the RFC.
    layers: Vec<Vec<Hash>>,
}

impl ResultTree {
    /// A tree over the commitments in their order.
    ///
    /// # Errors
    /// [`Error::Merkle`] for none or more than [`MAX_LEAVES`].
    pub fn new(results: &[Commitment]) -> Result<Self, Error> {
        if results.is_empty() || results.len() > MAX_LEAVES {
            return Err(Error::Merkle {
                reason: format!("{} results, a batch has 1 to {MAX_LEAVES}", results.len()),
            });
        }
        let mut layer: Vec<Hash> = results.iter().map(leaf).collect();
        let mut layers = Vec::new();
        while layer.len() > 1 {
            let above = layer
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node(left, right),
                    // `chunks` gives no empty one.
                    alone => alone.first().copied().unwrap_or_default(),
                })
                .collect();
            layers.push(std::mem::replace(&mut layer, above));
        }
        layers.push(layer);
        Ok(Self { layers })
    }

    /// The root, for the binding.
    pub fn root(&self) -> ResultRoot {
        ResultRoot {
            root: self
                .layers
                .last()
                .and_then(|layer| layer.first().copied())
                .unwrap_or_default(),
            count: self.count(),
        }
    }

    fn count(&self) -> u64 {
        self.layers.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The proof of the result at `index`, none beyond the last.
    pub fn proof(&self, index: usize) -> Option<InclusionProof> {
        self.layers.first()?.get(index)?;
        let path = self
            .layers
            .iter()
            .enumerate()
            .filter_map(|(height, layer)| layer.get((index >> height) ^ 1).copied())
            .map(HexArray)
            .collect();
        Some(InclusionProof {
            index: index as u64,
            count: self.count(),
            path,
        })
    }
}

impl InclusionProof {
    /// The root that the proof leads to from `result` (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// [`Error::Merkle`] for an index beyond the count or a path whose length does not fit them.
    pub fn root_of(&self, result: &Commitment) -> Result<ResultRoot, Error> {
        let malformed = |reason| Error::Merkle { reason };
        if self.index >= self.count {
            return Err(malformed(format!(
                "index {} in a batch of {}",
                self.index, self.count
            )));
        }
        let (mut place, mut last) = (self.index, self.count.saturating_sub(1));
        let mut hash = leaf(result);
        for sibling in &self.path {
            if last == 0 {
                return Err(malformed(format!(
                    "the path of {} steps is too long for a batch of {}",
                    self.path.len(),
                    self.count
                )));
            }
            if place & 1 == 1 || place == last {
                hash = node(&sibling.0, &hash);
                // A node without a sibling went up unchanged.
                while place & 1 == 0 && place != 0 {
                    (place, last) = (place >> 1, last >> 1);
                }
            } else {
                hash = node(&hash, &sibling.0);
            }
            (place, last) = (place >> 1, last >> 1);
        }
        if last != 0 {
            return Err(malformed(format!(
                "the path of {} steps is too short for a batch of {}",
                self.path.len(),
                self.count
            )));
        }
        Ok(ResultRoot {
            root: hash,
            count: self.count,
        })
    }

    /// Whether `result` is in the batch of `root` at the proof's index.
    pub fn verifies(&self, result: &Commitment, root: &ResultRoot) -> bool {
        self.root_of(result).is_ok_and(|found| found == *root)
    }

    /// The proof as a document.
    ///
    /// # Errors
    /// [`Error::Encode`] should the encoder fail; writing to memory gives it no cause to.
    pub fn encode(&self, format: ContentFormat) -> Result<Vec<u8>, Error> {
        format.encode(self).map_err(|error| Error::Encode {
            what: "inclusion proof",
            reason: error.to_string(),
        })
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Merkle`].
    pub fn decode(format: ContentFormat, bytes: &[u8]) -> Result<Self, Error> {
        bound("inclusion proof", bytes, MAX_LENGTH)?;
        let proof: Self = format.decode(bytes).map_err(|error| Error::Merkle {
            reason: error.to_string(),
        })?;
        if proof.path.len() > MAX_PATH {
            return Err(Error::Merkle {
                reason: format!("a path of {} steps, at most {MAX_PATH}", proof.path.len()),
            });
        }
        Ok(proof)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn commitments(n: usize) -> Vec<Commitment> {
        (0..n)
            .map(|i| Commitment(Sha256::digest(i.to_be_bytes()).into()))
            .collect()
    }

    /// The definition of RFC 9162 §2.1.1, word for word.
    fn mth(results: &[Commitment]) -> Hash {
        match results {
            [one] => leaf(one),
            many => {
                let k = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(k);
                node(&mth(left), &mth(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc_for_every_size() {
        for n in 1..70 {
            let results = commitments(n);
            assert_eq!(
                ResultTree::new(&results).unwrap().root().root,
                mth(&results)
            );
        }
    }

    #[test]
    fn every_result_has_a_proof_that_holds_for_it_alone() {
        for n in 1..40 {
            let results = commitments(n);
            let tree = ResultTree::new(&results).unwrap();
            for (i, result) in results.iter().enumerate() {
                let proof = tree.proof(i).unwrap();
                for (j, other) in results.iter().enumerate() {
                    assert_eq!(proof.verifies(other, &tree.root()), i == j, "{n} {i} {j}");
                }
                let elsewhere = InclusionProof {
                    index: proof.index ^ 1,
                    ..proof
                };
                assert!(!elsewhere.verifies(result, &tree.root()));
            }
            assert!(tree.proof(n).is_none());
        }
    }

    #[test]
    fn a_proof_of_another_count_or_length_is_refused() {
        let results = commitments(11);
        let tree = ResultTree::new(&results).unwrap();
        let (proof, root) = (tree.proof(4).unwrap(), tree.root());
        for count in [0, 4, 5, 10, 12, 16, u64::MAX] {
            let other = InclusionProof {
                count,
                ..proof.clone()
            };
            assert!(!other.verifies(&results[4], &root), "count {count}");
        }
        let mut short = proof.clone();
        short.path.pop();
        assert!(short.root_of(&results[4]).is_err());
        let mut long = proof;
        long.path.push(HexArray([0; 32]));
        assert!(long.root_of(&results[4]).is_err());
    }

    #[test]
    fn a_batch_has_at_least_one_result() {
        assert!(ResultTree::new(&[]).is_err());
    }
}
