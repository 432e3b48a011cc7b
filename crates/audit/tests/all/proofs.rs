//! What is proved, to whom, and what is not.

use std::time::Duration;

use hypervisor_audit::{Error, Kind, Settings, Trail};
use hypervisor_tlog::tree::{verify_consistency, verify_inclusion};
use hypervisor_tlog::{Head, Tree, tree};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kit::{at_once, continues, digest, fill, grown, head, open, proved, signer, store};

#[test]
fn an_entry_is_proved_to_whoever_knows_its_digest_and_to_nobody_else() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    trail.append(Kind::Execution, digest(1));
    trail.append(Kind::Swap, digest(2));
    grown(&trail, 3);
    let (index, entry) = proved(&trail, &digest(1)).unwrap();
    assert_eq!((index, entry.kind), (1, Kind::Execution));
    let (index, entry) = proved(&trail, &digest(2)).unwrap();
    assert_eq!((index, entry.kind), (2, Kind::Swap));
    assert!(trail.proof(&digest(3), None).unwrap().is_none());
}

#[test]
fn an_answer_is_entered_once_however_often_it_is_given_and_a_swap_each_time() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    for kind in [Kind::Execution, Kind::Swap] {
        let which = digest(kind as u64);
        trail.append(kind, which);
        trail.append(kind, which);
        trail.append(Kind::Admin, digest(100));
        grown(&trail, trail.published().head.size + 1);
    }
    trail.append(Kind::Execution, digest(1));
    trail.append(Kind::Admin, digest(101));
    grown(&trail, 7);
    // A start; an answer, and an action; two swaps, and an action; an action.
    assert_eq!(trail.published().head.size, 7);
    assert_eq!(proved(&trail, &digest(1)).unwrap().0, 1);
    // Of what happened several times, the last.
    assert_eq!(proved(&trail, &digest(Kind::Swap as u64)).unwrap().0, 4);
}

#[test]
fn heads_are_signed_by_the_identity_of_each_start_and_each_continues_those_before() {
    let folder = TempDir::new().unwrap();
    let mut heads: Vec<Head> = Vec::new();
    for start in 1..=3 {
        let trail = open(folder.path(), start, at_once());
        heads.iter().for_each(|old| continues(&trail, old));
        let number = u64::from(start) * 10;
        fill(&trail, number..number + 3);
        let published = trail.published();
        assert_eq!(head(&published.text, start), published.head);
        heads.push(published.head);
        trail.close();
    }
    let trail = open(folder.path(), 4, at_once());
    // Three starts with three entries and an end each, and this start.
    assert_eq!(trail.published().head.size, 3 * 5 + 1);
    heads.iter().for_each(|old| continues(&trail, old));
    assert_eq!(proved(&trail, &digest(11)).unwrap().0, 2);
}

#[test]
fn a_trail_without_a_sealing_key_ends_with_the_process_and_says_so() {
    let folder = TempDir::new().unwrap();
    let open = || Trail::open(store(folder.path(), None), signer(1), at_once()).unwrap();
    let first = open();
    fill(&first, 0..5);
    let origin = first.origin();
    assert!(!origin.is_lasting && origin.to_string().ends_with("/passing"));
    drop(first);
    let second = open();
    assert_eq!(second.published().head.size, 1);
    assert_ne!(second.origin(), origin);
}

#[test]
fn proofs_are_from_sizes_and_about_heads_that_there_are() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    fill(&trail, 0..3);
    for size in [0, 5, u64::MAX, 1 << 63] {
        let refused = trail.consistency(size, None);
        assert!(matches!(refused, Err(Error::Size { size: 4 })), "{size}");
        let refused = trail.consistency(1, Some(size));
        assert!(matches!(refused, Err(Error::Head { .. })), "{size}");
        let refused = trail.proof(&digest(0), Some(size));
        assert!(matches!(refused, Err(Error::Head { .. })), "{size}");
    }
    // About an earlier head: what came later is not in it.
    fill(&trail, 3..9);
    let about = trail.consistency(1, Some(4)).unwrap();
    assert_eq!(head(&about.checkpoint.to_string(), 1).size, 4);
    assert!(trail.proof(&digest(5), Some(4)).unwrap().is_none());
    assert!(trail.proof(&digest(2), Some(4)).unwrap().is_some());
}

#[test]
fn a_queue_that_is_full_says_so_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        waiting: 10,
        pause: Duration::from_secs(60),
        ..Settings::default()
    };
    let trail = open(folder.path(), 1, settings);
    for number in 0..9 {
        trail.append(Kind::Execution, digest(number));
    }
    assert!(!trail.is_full());
    // What was begun before is entered all the same.
    for number in 9..40 {
        trail.append(Kind::Execution, digest(number));
        assert!(trail.is_full());
    }
    trail.close();
    assert!(!trail.is_full());
    assert_eq!(trail.published().head.size, 1 + 40 + 1);
    assert!((0..40).all(|number| proved(&trail, &digest(number)).is_some()));
}

#[test]
fn every_proof_of_every_size_up_to_300_holds() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, at_once());
    let mut heads = vec![trail.published().head];
    for number in 0..299 {
        fill(&trail, number..number + 1);
        let published = trail.published();
        for old in &heads {
            continues(&trail, old);
        }
        heads.push(published.head);
        if number.is_multiple_of(23) {
            assert!((0..=number).all(|number| proved(&trail, &digest(number)).is_some()));
        }
    }
    assert_eq!(heads.len(), 300);
}

#[test]
fn old_entries_go_and_their_hashes_stay() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        kept: 300,
        ..at_once()
    };
    let trail = open(folder.path(), 1, settings);
    trail.append(Kind::Swap, digest(7_000_000));
    let early = grown(&trail, 2).head;
    for start in (0..2000).step_by(100) {
        fill(&trail, start..start + 100);
    }
    let middle = trail.published().head;
    trail.append(Kind::Swap, digest(7_000_000));
    let first = grown(&trail, 2003).first;
    assert!(
        first.is_multiple_of(256) && (1536..=1792).contains(&first),
        "{first}"
    );
    // Entry 0 is the start, 1 the swap.
    for number in 0..2000 {
        let is_kept = number + 2 >= first;
        assert_eq!(
            proved(&trail, &digest(number)).is_some(),
            is_kept,
            "{number}"
        );
    }
    // It happened again, and that is kept.
    assert_eq!(proved(&trail, &digest(7_000_000)).unwrap().0, 2002);
    for old in [early, middle] {
        continues(&trail, &old);
    }
    drop(trail);
    let again = open(folder.path(), 2, settings);
    continues(&again, &early);
    assert!(proved(&again, &digest(1999)).is_some());
}

/// A tree of so many leaves.
fn tree_of(size: u64) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|number| tree.push(tree::leaf(&number.to_be_bytes())));
    tree
}

proptest! {
    #[test]
    fn a_proof_that_was_altered_is_refused(
        size in 2_u64..700, index in 0_u64..700, old in 1_u64..700, at: prop::sample::Index, bit in 0_usize..256,
    ) {
        let tree = tree_of(size);
        let (index, old, new) = (index % size, 1 + old % (size - 1), tree.head());
        let alter = |path: &mut Vec<[u8; 32]>| {
            let place = at.index(path.len());
            path[place][bit / 8] ^= 1 << (bit % 8);
        };
        let leaf = tree::leaf(&index.to_be_bytes());
        let mut path = tree.inclusion(index, size).unwrap();
        verify_inclusion(&leaf, index, &path, &new).unwrap();
        let wrong = verify_inclusion(&leaf, (index + 1) % size, &path, &new);
        prop_assert!(wrong.is_err());
        alter(&mut path);
        prop_assert!(verify_inclusion(&leaf, index, &path, &new).is_err());

        let before = tree.head_at(old).unwrap();
        let mut path = tree.consistency(old, size).unwrap();
        verify_consistency(&before, &new, &path).unwrap();
        let shorter = verify_consistency(&new, &before, &path);
        prop_assert!(shorter.is_err());
        if !path.is_empty() {
            alter(&mut path);
            prop_assert!(verify_consistency(&before, &new, &path).is_err());
        }
    }
}
