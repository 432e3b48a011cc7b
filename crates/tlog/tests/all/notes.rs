//! Keys, notes, checkpoints and cosignatures.

use hypervisor_tlog::note::{Algorithm, Note};
use hypervisor_tlog::tree::leaf;
use hypervisor_tlog::{
    Error, Head, Proof, SignedCheckpoint, SigningKey, Tree, Trusted, VerifierKey,
};
use proptest::prelude::*;

/// Of golang.org/x/mod/sumdb/note.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETERS: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

const SUMDB: &[u8] = include_bytes!("../../vectors/sum.golang.org.checkpoint");
const SUMDB_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const ARMORED: &[u8] = include_bytes!("../../vectors/armored-witness.checkpoint");
const ARMORED_KEY: &str =
    "transparency.dev-aw-ftlog-ci-3+3f689522+Aa1Eifq6rRC8qiK+bya07yV1fXyP156pEMsX7CFBC6gg";
const ARMORED_WITNESSES: [&str; 2] = [
    "ArmoredWitness-weathered-rain+0a78df20+BGLblKp5JuiyrgRh6ev2nNJ5XAd+sc/mM2D2HW/b4d5S",
    "ArmoredWitness-floral-sky+c7cf0b6d+BOkCmTmKTTnQMNqIigkj7PFnhogawSJD23PJ8M8qLYDm",
];

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn new(name: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(name, algorithm).unwrap()
}

#[test]
fn gos_key_signs_gos_note_to_the_byte() {
    let peter: SigningKey = PETERS.parse().unwrap();
    assert_eq!(peter.verifier().to_string(), PETER);
    assert_eq!(peter.to_text().as_str(), PETERS);
    let note = Note::signed(TEXT.to_owned(), &peter);
    assert_eq!(note.to_string(), format!("{TEXT}\n{SIGNATURE}"));
    note.verify(&key(PETER)).unwrap();
}

#[test]
fn the_example_of_the_specification_verifies() {
    let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note = Note::parse(note.as_bytes()).unwrap();
    let foo = key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    note.verify(&foo).unwrap();
    assert!(matches!(note.verify(&key(PETER)), Err(Error::Unsigned(_))));
}

#[test]
fn no_part_of_a_key_is_a_key_and_no_altered_one() {
    for text in [PETER, PETERS] {
        let is_key =
            |text: &str| text.parse::<VerifierKey>().is_ok() || text.parse::<SigningKey>().is_ok();
        for start in 0..text.len() {
            for end in start..=text.len() {
                // A private key ends with what could only by chance be a public one.
                let whole = start == 0 && end == text.len();
                assert_eq!(is_key(&text[start..end]), whole, "{start}..{end}");
            }
        }
        for place in 0..text.len() {
            let mut altered = text.as_bytes().to_vec();
            altered[place] += 1;
            assert!(!is_key(&String::from_utf8(altered).unwrap()), "{place}");
        }
    }
    for odd in [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(odd.parse::<VerifierKey>().is_err());
    }
}

#[test]
fn a_checkpoint_of_gos_checksum_database_verifies() {
    let note = Note::parse(SUMDB).unwrap();
    note.verify(&key(SUMDB_KEY)).unwrap();
    let checkpoint = SignedCheckpoint::parse(SUMDB).unwrap();
    assert_eq!(checkpoint.origin(), "go.sum database tree");
    assert_eq!(checkpoint.to_string().as_bytes(), SUMDB);
}

#[test]
fn the_cosignatures_of_two_witnesses_in_use_verify() {
    Note::parse(ARMORED)
        .unwrap()
        .verify(&key(ARMORED_KEY))
        .unwrap();
    let checkpoint = SignedCheckpoint::parse(ARMORED).unwrap();
    let witnesses = ARMORED_WITNESSES.map(key);
    assert_eq!(checkpoint.cosigners(&witnesses).unwrap().len(), 2);
    // The same witness twice is one witness.
    let twice = [witnesses[0].clone(), witnesses[0].clone()];
    assert_eq!(checkpoint.cosigners(&twice).unwrap().len(), 1);
}

#[test]
fn every_altered_byte_of_a_cosigned_checkpoint_is_noticed() {
    let (log, witnesses) = (key(ARMORED_KEY), ARMORED_WITNESSES.map(key));
    for place in 0..ARMORED.len() {
        let mut altered = ARMORED.to_vec();
        altered[place] ^= 1;
        let whole = Note::parse(&altered).is_ok_and(|note| note.verify(&log).is_ok())
            && SignedCheckpoint::parse(&altered).is_ok_and(|read| {
                read.cosigners(&witnesses)
                    .is_ok_and(|found| found.len() == 2)
            });
        assert!(!whole, "byte {place}");
    }
}

/// A log of some entries, its key, and a witness'.
fn cosigned() -> (Tree, SigningKey, SigningKey, SignedCheckpoint) {
    let (log, witness) = (
        new("example.com/log", Algorithm::Ed25519),
        new("example.com/witness", Algorithm::Cosignature),
    );
    let mut tree = Tree::default();
    for n in 0_u8..5 {
        tree.push(leaf(&[n]));
    }
    let mut checkpoint = SignedCheckpoint::sign(tree.head(), &log);
    let line = checkpoint.cosign(&witness, 1_700_000_000).unwrap();
    checkpoint.add(&[line], witness.verifier()).unwrap();
    (tree, log, witness, checkpoint)
}

fn trusted(log: &SigningKey, witnesses: &[&SigningKey], needed: usize) -> Trusted {
    Trusted {
        log: log.verifier().clone(),
        witnesses: witnesses.iter().map(|key| key.verifier().clone()).collect(),
        needed,
    }
}

#[test]
fn a_checkpoint_needs_the_logs_key_and_as_many_witnesses_as_are_asked_for() {
    let (tree, log, witness, checkpoint) = cosigned();
    let read = SignedCheckpoint::parse(checkpoint.to_string().as_bytes()).unwrap();
    assert_eq!(
        read.verify(&trusted(&log, &[&witness], 1)).unwrap(),
        tree.head()
    );
    let other = new("example.com/other", Algorithm::Cosignature);
    assert!(read.verify(&trusted(&log, &[&witness, &other], 1)).is_ok());
    assert!(matches!(
        read.verify(&trusted(&log, &[&witness, &other], 2)),
        Err(Error::Witnesses {
            found: 1,
            known: 2,
            needed: 2
        })
    ));
    let impostor = new("example.com/log", Algorithm::Ed25519);
    assert!(matches!(
        read.verify(&trusted(&impostor, &[], 0)),
        Err(Error::Unsigned(_))
    ));
    assert!(matches!(
        read.verify(&trusted(&new("example.com/b", Algorithm::Ed25519), &[], 0)),
        Err(Error::Origin { .. })
    ));
}

#[test]
fn a_log_does_not_cosign_and_a_cosignature_is_over_its_checkpoint_alone() {
    let (mut tree, log, witness, old) = cosigned();
    assert!(old.cosign(&log, 1).is_err());
    let line = old.cosign(&witness, 1_700_000_000).unwrap();
    tree.push(leaf(b"more"));
    let mut new = SignedCheckpoint::sign(tree.head(), &log);
    assert!(matches!(
        new.add(std::slice::from_ref(&line), witness.verifier()),
        Err(Error::Forged(_))
    ));
    assert!(matches!(
        new.add(&[], witness.verifier()),
        Err(Error::NoCosignature(_))
    ));
    // Another time is another cosignature.
    let mut later = line;
    later.bytes[7] ^= 1;
    let mut old = old;
    assert!(old.add(&[later], witness.verifier()).is_err());
}

#[test]
fn a_witness_key_signs_no_log() {
    let witness = new("example.com/log", Algorithm::Cosignature);
    let head = Head {
        size: 1,
        root: [0; 32],
    };
    let checkpoint = SignedCheckpoint::sign(head, &witness);
    assert!(checkpoint.verify(&trusted(&witness, &[], 0)).is_err());
}

#[test]
fn a_proof_stands_alone_and_holds_for_its_entry() {
    let (tree, log, witness, checkpoint) = cosigned();
    let proof = Proof {
        extra: Some(vec![3]),
        index: 3,
        path: tree.inclusion(3, 5).unwrap(),
        checkpoint,
    };
    let read = Proof::parse(proof.to_string().as_bytes()).unwrap();
    assert_eq!(read, proof);
    let trusted = trusted(&log, &[&witness], 1);
    assert_eq!(read.verify(&[3], &trusted).unwrap(), tree.head());
    assert!(matches!(
        read.verify(&[4], &trusted),
        Err(Error::NotIncluded(_))
    ));
}

#[test]
fn notes_that_are_not_of_the_form_are_refused() {
    let origin = "example.com/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let line = "— a AAAAAAAA\n";
    assert!(SignedCheckpoint::parse(format!("{origin}\n{line}").as_bytes()).is_ok());
    for text in [
        format!("{origin}{line}"),
        format!("{origin}\n"),
        format!("{origin}\n— a AAAAAAAA"),
        format!("{origin}\n- a AAAAAAAA\n"),
        format!("{origin}\n— a b AAAAAAAA\n"),
        format!("{origin}\n— a+b AAAAAAAA\n"),
        format!("{origin}\n— a AAAA\n"),
        format!("{origin}\n— a AAAAAAA\n"),
        format!("{origin}\t\n\n{line}"),
        format!("{}\n{line}", origin.replace("\n1\n", "\n01\n")),
        format!("{}\n{line}", origin.replace("\n1\n", "\n+1\n")),
        format!(
            "{}\n{line}",
            origin.replace("\n1\n", "\n9223372036854775808\n")
        ),
        format!("{}\n{line}", origin.replace("AAA=", "AAA")),
        format!("{}\n{line}", origin.replace("AAA=", "AAB=")),
        format!("{}\n{line}", origin.replace("example.com/log", "")),
        format!("{origin}\n{}", line.repeat(65)),
        format!("{origin}{}\n\n{line}", "x".repeat(64 << 10)),
    ] {
        assert!(SignedCheckpoint::parse(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Note::parse(&bytes);
        let _ = SignedCheckpoint::parse(&bytes);
        let _ = Proof::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<SigningKey>();
    }

    #[test]
    fn no_altered_proof_holds(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (tree, log, witness, checkpoint) = cosigned();
        let proof = Proof { extra: None, index: 3, path: tree.inclusion(3, 5).unwrap(), checkpoint };
        let mut bytes = proof.to_string().into_bytes();
        *place.get_mut(&mut bytes) ^= 1 << bit;
        let trusted = trusted(&log, &[&witness], 1);
        prop_assert!(Proof::parse(&bytes).map_or(true, |read| read.verify(&[3], &trusted).is_err()));
    }

    #[test]
    fn what_is_read_is_written_the_same(text in "([^\\x00-\\x1f]{1,20}\n){1,4}") {
        let signed = Note::signed(text.clone(), &PETERS.parse().unwrap());
        let read = Note::parse(signed.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read.verify(&key(PETER)).is_ok(), true);
        prop_assert_eq!(&read.text, &text);
        prop_assert_eq!(read, signed);
    }
}
