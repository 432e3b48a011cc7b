//! The `signing-key` resource.

use super::*;

#[test]
fn sign_what_their_public_key_verifies() {
    let mut instance = Instance::default();
    let key = instance.key().unwrap();
    let mut crypto = instance.crypto();
    let signature = crypto
        .sign(borrow(&key), b"a statement".into())
        .unwrap()
        .unwrap();
    let public_key = crypto.public_key(borrow(&key)).unwrap();
    assert_eq!((signature.len(), public_key.len()), (64, 33));
    assert_eq!(
        crypto.p256_verify(public_key.clone(), b"a statement".into(), signature.clone()),
        Ok(())
    );
    let other = crypto.p256_verify(public_key, b"another".into(), signature);
    assert_eq!(other, Err(ErrorCode::VerificationFailed));
}

#[test]
fn sign_the_same_message_the_same_way() {
    let mut instance = Instance::default();
    let key = instance.key().unwrap();
    let mut crypto = instance.crypto();
    let first = crypto.sign(borrow(&key), b"a statement".into()).unwrap();
    assert_eq!(
        crypto.sign(borrow(&key), b"a statement".into()).unwrap(),
        first
    );
}

#[test]
fn differ_from_each_other() {
    let mut instance = Instance::default();
    let (one, two) = (instance.key().unwrap(), instance.key().unwrap());
    let mut crypto = instance.crypto();
    assert_ne!(
        crypto.public_key(one).unwrap(),
        crypto.public_key(two).unwrap()
    );
}

#[test]
fn are_bounded_in_number_and_dropping_one_makes_room() {
    let mut instance = Instance::with(CryptoLimits {
        max_signing_keys: 2,
        ..CryptoLimits::default()
    });
    let first = instance.key().unwrap();
    let _second = instance.key().unwrap();
    assert_eq!(instance.key().err(), Some(ErrorCode::TooManyKeys(2)));
    instance.crypto().drop(first).unwrap();
    assert!(instance.key().is_ok());
    assert_eq!(instance.key().err(), Some(ErrorCode::TooManyKeys(2)));
}

#[test]
fn are_gone_when_dropped() {
    let mut instance = Instance::default();
    let key = instance.key().unwrap();
    let stale = borrow(&key);
    instance.crypto().drop(key).unwrap();
    assert!(instance.crypto().sign(stale, vec![]).is_err());
}

#[test]
fn refuse_a_message_beyond_the_bound() {
    let mut instance = Instance::with(CryptoLimits {
        max_input: 10,
        ..CryptoLimits::default()
    });
    let key = instance.key().unwrap();
    let refused = instance.crypto().sign(key, vec![0; 11]).unwrap();
    assert_eq!(refused, Err(length("message", 11, 0, 10)));
}

#[test]
fn do_not_show_themselves_when_printed() {
    assert_eq!(
        format!("{:?}", SigningKey::generate().unwrap()),
        "SigningKey { .. }"
    );
}

/// The public key of this name in an instance of its own.
fn named(root: &KeyRoot, program: u8, label: &str) -> Vec<u8> {
    let mut instance = Instance::of(root, [program; 48]);
    let mut crypto = instance.crypto();
    let key = crypto.named(label.to_owned()).unwrap().unwrap();
    let signature = crypto.sign(borrow(&key), b"a statement".into());
    let public_key = crypto.public_key(key).unwrap();
    let signature = signature.unwrap().unwrap();
    let verified = crypto.p256_verify(public_key.clone(), b"a statement".into(), signature);
    assert_eq!(verified, Ok(()));
    public_key
}

#[test]
fn of_a_name_are_the_same_in_every_instance_of_a_program_and_nowhere_else() {
    let root = KeyRoot::generate().unwrap();
    let key = named(&root, 1, "card");
    assert_eq!(named(&root, 1, "card"), key);
    assert_ne!(named(&root, 2, "card"), key, "another program");
    assert_ne!(named(&root, 1, "cards"), key, "another name");
    let other = KeyRoot::generate().unwrap();
    assert_ne!(named(&other, 1, "card"), key, "another host");
}

#[test]
fn of_a_name_need_one_and_a_program_that_is_known() {
    let root = KeyRoot::generate().unwrap();
    let mut instance = Instance::of(&root, [1; 48]);
    for (label, actual) in [("", 0), ("a".repeat(65).as_str(), 65)] {
        let refused = instance.crypto().named(label.to_owned()).unwrap().err();
        assert_eq!(refused, Some(length("label", actual, 1, 64)));
    }
    let nobody = Instance::default().crypto().named("card".to_owned());
    assert!(matches!(
        nobody.unwrap(),
        Err(ErrorCode::InternalError(Some(_)))
    ));
}

#[test]
fn of_a_name_count_like_others() {
    let root = KeyRoot::generate().unwrap();
    let mut instance = Instance::of(&root, [1; 48]);
    let limit = CryptoLimits::default().max_signing_keys;
    let mut crypto = instance.crypto();
    for _ in 0..limit {
        assert!(crypto.named("card".to_owned()).unwrap().is_ok());
    }
    let refused = crypto.named("card".to_owned()).unwrap().err();
    assert_eq!(refused, Some(ErrorCode::TooManyKeys(limit)));
}
