//! What a host's audit trail is made of, and heads that are signed on P-256.

use hypervisor_tlog::note::Note;
use hypervisor_tlog::trail::{Consistency, ENTRY, Entry, Kind, Origin};
use hypervisor_tlog::tree::{leaf, verify_consistency};
use hypervisor_tlog::{Error, Head, SignedCheckpoint, Tree, VerifierKey};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;

/// Public logs that sign with ECDSA, with a checkpoint of each.
const PUBLIC: [(&str, &str); 2] = [
    (
        "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
        "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n— rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n",
    ),
    (
        "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5XJVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8=",
        "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n— pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4\n",
    ),
];

fn identity(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).unwrap()
}

fn sign(key: &SigningKey) -> impl Fn(&[u8]) -> [u8; 64] {
    |message| {
        let signature: p256::ecdsa::Signature = key.sign(message);
        signature.to_bytes().into()
    }
}

fn verifier(name: &str, key: &SigningKey) -> VerifierKey {
    let point = key.verifying_key().to_sec1_point(true);
    VerifierKey::p256(name, point.as_bytes()).unwrap()
}

fn tree(size: u8) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|number| tree.push(leaf(&[number])));
    tree
}

#[test]
fn checkpoints_of_public_logs_that_sign_with_ecdsa_verify() {
    for (key, checkpoint) in PUBLIC {
        let parsed: VerifierKey = key.parse().unwrap();
        assert_eq!(parsed.to_string(), key);
        Note::parse(checkpoint.as_bytes())
            .unwrap()
            .verify(&parsed)
            .unwrap();
        let other = checkpoint.replacen('\n', "\n1", 1);
        let other = Note::parse(other.as_bytes()).unwrap();
        assert!(matches!(other.verify(&parsed), Err(Error::Forged(_))));
    }
}

#[test]
fn a_head_that_an_identity_signed_is_its_and_nobody_elses() {
    let (one, two) = (identity(1), identity(2));
    let name = "hypervisor/audit/00000000000000000000000000000001";
    let head = tree(5).head();
    let signed = SignedCheckpoint::signed_by(head, &verifier(name, &one), sign(&one));
    let read = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
    assert_eq!(read.verify_log(&verifier(name, &one)).unwrap(), head);
    let other = read.verify_log(&verifier(name, &two));
    assert!(matches!(other, Err(Error::Unsigned(_))));
    let other = read.verify_log(&verifier("hypervisor/audit/2", &one));
    assert!(matches!(other, Err(Error::Origin { .. })));
    let forged = SignedCheckpoint::signed_by(head, &verifier(name, &one), sign(&two));
    let forged = forged.verify_log(&verifier(name, &one));
    assert!(matches!(forged, Err(Error::Forged(_))));
}

#[test]
fn a_proof_of_consistency_is_read_as_it_was_written() {
    let key = identity(1);
    let name = verifier("hypervisor/audit/1", &key);
    let (old, new) = (tree(5).head(), tree(13).head());
    let proof = Consistency {
        old: 5,
        path: tree(13).consistency(5, 13).unwrap(),
        checkpoint: SignedCheckpoint::signed_by(new, &name, sign(&key)),
    };
    let read = Consistency::parse(proof.to_string().as_bytes()).unwrap();
    assert_eq!(read, proof);
    let head: Head = read.checkpoint.verify_log(&name).unwrap();
    verify_consistency(&old, &head, &read.path).unwrap();
    // To itself there is nothing to prove.
    let same = Consistency {
        old: 13,
        path: Vec::new(),
        ..proof
    };
    let read = Consistency::parse(same.to_string().as_bytes()).unwrap();
    assert_eq!(read, same);
}

#[test]
fn an_entry_has_the_bytes_that_the_documentation_says() {
    let entry = Entry {
        kind: Kind::Swap,
        time: 0x0102_0304_0506_0708,
        digest: Entry::swap("policy", &[1; 48], &[2; 48]),
    };
    let encoded = hex(&entry.encode());
    assert_eq!(encoded, format!("030102030405060708{}", hex(&entry.digest)));
    // Made by another program, out of labels, lengths and values.
    assert_eq!(
        hex(&Entry::admin("take-down", "weather")),
        "8191e8db5c0d5f68d86007a78cde2a428ec0a58970fea0a8fbbe46d739059537"
    );
    assert_eq!(
        hex(&entry.digest),
        "be863e4e8e1fbf175bb1c63977f08143a0f08ad836a47d4c49274c23bddbaeed"
    );
    assert_eq!(
        hex(&Entry::start(&[3; 33])),
        "d2e283d73bc8479eb59d456d574907433f6183c74656d73f28b67aafe9d4ed3d"
    );
    assert_eq!(
        hex(&Entry::call("0190", "weather.operator", &[4; 48])),
        "7d8090430f311f4e6b080f85d48111e92f4b7a9ce88fc710d959ecca1bd60954"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_of_trails_say_whether_they_last() {
    let lasting = "hypervisor/audit/0123456789abcdef0123456789abcdef";
    let passing = format!("{lasting}/passing");
    for (text, is_lasting) in [(lasting, true), (&passing, false)] {
        let origin: Origin = text.parse().unwrap();
        assert_eq!(
            (origin.to_string().as_str(), origin.is_lasting),
            (text, is_lasting)
        );
    }
    for text in [
        "",
        "hypervisor/audit/",
        "hypervisor/audit/0123456789ABCDEF0123456789abcdef",
        "hypervisor/audit/+123456789abcdef0123456789abcdef",
        "hypervisor/audit/0123456789abcdef0123456789abcdef/lasting",
        "other/audit/0123456789abcdef0123456789abcdef",
    ] {
        assert!(text.parse::<Origin>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn entries_are_read_as_they_were_written_and_other_bytes_are_refused(
        kind in 0_u8..=255, time: u64, digest: [u8; 32], bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let written = [&[kind][..], &time.to_be_bytes(), &digest].concat();
        match Entry::decode(&written) {
            Ok(entry) => prop_assert_eq!(entry.encode().to_vec(), written),
            Err(_) => prop_assert!(kind == 0 || kind > 6),
        }
        prop_assert!(Entry::decode(&bytes).is_err() || bytes.len() == ENTRY);
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "(old [0-9]{0,21}\n)?([A-Za-z0-9+/=]{0,50}\n){0,5}\n?.{0,40}") {
        let _ = Consistency::parse(text.as_bytes());
        let _ = text.parse::<Origin>();
        let _ = text.parse::<VerifierKey>();
    }

    #[test]
    fn an_altered_key_is_no_key(at in 0..170_usize, byte in 0x21_u8..0x7f) {
        let (text, _) = PUBLIC[0];
        let mut altered = text.as_bytes().to_vec();
        if let Some(place) = altered.get_mut(at)
            && *place != byte
        {
            *place = byte;
            let altered = String::from_utf8(altered).unwrap();
            // The name is not part of the id of such a key.
            if let Ok(read) = altered.parse::<VerifierKey>() {
                let original = text.parse::<VerifierKey>().unwrap();
                prop_assert!(read.name() != original.name() && read.id() == original.id());
            }
        }
    }
}
