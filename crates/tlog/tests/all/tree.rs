//! The tree and its proofs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hypervisor_tlog::tree::{leaf, node, verify_consistency, verify_inclusion};
use hypervisor_tlog::{Error, Hash, Head, Tree};
use proptest::prelude::*;
use serde::Deserialize;

/// A hash of a vector, or text in its place: another hash for each will do.
#[derive(Debug, Clone, Deserialize)]
struct Text(String);

impl Text {
    fn hash(&self) -> Hash {
        let bytes = BASE64_STANDARD.decode(&self.0).unwrap();
        bytes.as_slice().try_into().unwrap_or_else(|_| leaf(&bytes))
    }
}

fn hashes(proof: Option<&Vec<Text>>) -> Vec<Hash> {
    proof.into_iter().flatten().map(Text::hash).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: Text,
    leaf_hash: Text,
    proof: Option<Vec<Text>>,
    want_err: bool,
    file: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: Text,
    root2: Text,
    proof: Option<Vec<Text>>,
    want_err: bool,
    file: String,
}

#[test]
fn proofs_of_inclusion_made_by_others_are_judged_as_they_say() {
    let vectors: Vec<Inclusion> =
        serde_json::from_str(include_str!("../../vectors/inclusion.json")).unwrap();
    assert_eq!(vectors.len(), 98);
    for vector in vectors {
        if vector.root.0.is_empty() || vector.leaf_hash.0.is_empty() {
            // No hash at all cannot be given to this verifier.
            assert!(vector.want_err, "{}", vector.file);
            continue;
        }
        let head = Head {
            size: vector.tree_size,
            root: vector.root.hash(),
        };
        let path = hashes(vector.proof.as_ref());
        let found = verify_inclusion(&vector.leaf_hash.hash(), vector.leaf_idx, &path, &head);
        assert_eq!(found.is_err(), vector.want_err, "{}", vector.file);
    }
}

#[test]
fn proofs_of_consistency_made_by_others_are_judged_as_they_say() {
    let vectors: Vec<Consistency> =
        serde_json::from_str(include_str!("../../vectors/consistency.json")).unwrap();
    assert_eq!(vectors.len(), 98);
    for vector in vectors {
        let head = |size, root: &Text| Head {
            size,
            root: root.hash(),
        };
        let old = head(vector.size1, &vector.root1);
        let new = head(vector.size2, &vector.root2);
        let found = verify_consistency(&old, &new, &hashes(vector.proof.as_ref()));
        assert_eq!(found.is_err(), vector.want_err, "{}", vector.file);
    }
}

/// The tree of Certificate Transparency's tests: its entries, and its root after each.
const REFERENCE: [(&str, &str); 8] = [
    (
        "",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    ),
    (
        "00",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    ),
    (
        "10",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    ),
    (
        "2021",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (
        "3031",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    ),
    (
        "40414243",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    ),
    (
        "5051525354555657",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    ),
    (
        "606162636465666768696a6b6c6d6e6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
];

fn hex(text: &str) -> Vec<u8> {
    text.parse::<hypervisor_protocol::HexBytes>().unwrap().0
}

#[test]
fn the_tree_of_certificate_transparency_has_the_same_root_at_every_size() {
    let mut tree = Tree::default();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(tree.head().root.as_slice(), hex(empty));
    for (entry, root) in REFERENCE {
        tree.push(leaf(&hex(entry)));
        assert_eq!(tree.head().root.as_slice(), hex(root));
    }
    for (size, (_, root)) in (1..).zip(REFERENCE) {
        assert_eq!(tree.head_at(size).unwrap().root.as_slice(), hex(root));
    }
    assert!(tree.head_at(9).is_none());
}

fn grown(size: u64) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|n| tree.push(leaf(&n.to_be_bytes())));
    tree
}

/// The definition of RFC 9162 §2.1.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node(&mth(left), &mth(right))
        }
    }
}

#[test]
fn the_root_is_that_of_the_rfc_for_every_size() {
    let leaves: Vec<Hash> = (0_u64..300).map(|n| leaf(&n.to_be_bytes())).collect();
    let tree = grown(300);
    for size in 1..=300 {
        assert_eq!(
            tree.head_at(size as u64).unwrap().root,
            mth(&leaves[..size])
        );
    }
}

#[test]
fn every_entry_has_a_proof_for_every_tree_that_it_is_in() {
    let tree = grown(70);
    for size in 1..=70 {
        let head = tree.head_at(size).unwrap();
        for index in 0..size {
            let path = tree.inclusion(index, size).unwrap();
            verify_inclusion(&leaf(&index.to_be_bytes()), index, &path, &head).unwrap();
        }
        assert!(tree.inclusion(size, size).is_none());
    }
}

#[test]
fn every_tree_is_proved_to_continue_every_earlier_one() {
    let tree = grown(70);
    for new in 1..=70 {
        for old in 1..=new {
            let path = tree.consistency(old, new).unwrap();
            let head = |size| tree.head_at(size).unwrap();
            verify_consistency(&head(old), &head(new), &path).unwrap();
        }
        assert!(tree.consistency(0, new).is_none() && tree.consistency(new + 1, new).is_none());
    }
}

#[test]
fn a_shorter_tree_is_rolled_back_and_another_of_the_same_size_is_forked() {
    let (tree, mut other) = (grown(5), grown(4));
    other.push(leaf(b"another"));
    assert!(matches!(
        verify_consistency(&tree.head(), &grown(4).head(), &[]),
        Err(Error::RolledBack { old: 5, new: 4 })
    ));
    assert!(matches!(
        verify_consistency(&tree.head(), &other.head(), &[]),
        Err(Error::Forked { old: 5, new: 5 })
    ));
}

proptest! {
    #[test]
    fn no_altered_proof_of_inclusion_holds(size in 1_u64..2000, index in any::<u64>(), change in any::<u64>(), bit in 0_u8..8) {
        let tree = grown(size);
        let (index, head) = (index % size, tree.head());
        let entry = leaf(&index.to_be_bytes());
        let path = tree.inclusion(index, size).unwrap();
        prop_assert!(verify_inclusion(&entry, index, &path, &head).is_ok());
        let flipped = |hash: &Hash| {
            let mut hash = *hash;
            hash[(change % 32) as usize] ^= 1 << bit;
            hash
        };
        prop_assert!(verify_inclusion(&flipped(&entry), index, &path, &head).is_err());
        let other = Head { root: flipped(&head.root), ..head };
        prop_assert!(verify_inclusion(&entry, index, &path, &other).is_err());
        for place in 0..path.len() {
            let mut altered = path.clone();
            altered[place] = flipped(&path[place]);
            prop_assert!(verify_inclusion(&entry, index, &altered, &head).is_err());
            prop_assert!(verify_inclusion(&entry, index, &path[..place], &head).is_err());
        }
        let longer = [path.as_slice(), &[head.root]].concat();
        prop_assert!(verify_inclusion(&entry, index, &longer, &head).is_err());
        let elsewhere = change % size;
        prop_assert_eq!(verify_inclusion(&entry, elsewhere, &path, &head).is_ok(), elsewhere == index);
    }

    #[test]
    fn no_altered_proof_of_consistency_holds(new in 2_u64..2000, old in any::<u64>(), change in any::<u8>()) {
        let tree = grown(new);
        let old = 1 + old % (new - 1);
        let (before, after) = (tree.head_at(old).unwrap(), tree.head());
        let path = tree.consistency(old, new).unwrap();
        prop_assert!(verify_consistency(&before, &after, &path).is_ok());
        let flipped = |hash: &Hash| {
            let mut hash = *hash;
            hash[usize::from(change % 32)] ^= 1 << (change / 32);
            hash
        };
        for place in 0..path.len() {
            let mut altered = path.clone();
            altered[place] = flipped(&path[place]);
            prop_assert!(verify_consistency(&before, &after, &altered).is_err());
            prop_assert!(verify_consistency(&before, &after, &path[..place]).is_err());
        }
        let longer = [path.as_slice(), &[after.root]].concat();
        prop_assert!(verify_consistency(&before, &after, &longer).is_err());
        for (old, new) in [
            (Head { root: flipped(&before.root), ..before }, after),
            (before, Head { root: flipped(&after.root), ..after }),
        ] {
            prop_assert!(verify_consistency(&old, &new, &path).is_err());
        }
    }

    #[test]
    fn no_numbers_make_a_verifier_panic(numbers in any::<[u64; 3]>(), path in proptest::collection::vec(any::<Hash>(), 0..70)) {
        let [index, old, new] = numbers;
        let head = |size| Head { size, root: [0; 32] };
        let _ = verify_inclusion(&[0; 32], index, &path, &head(new));
        let _ = verify_consistency(&head(old), &head(new), &path);
    }
}
