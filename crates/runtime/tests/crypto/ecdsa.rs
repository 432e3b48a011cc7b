//! ECDSA on P-256 and secp256k1.

use super::*;

mod p256 {
    use super::*;

    // RFC 6979, A.2.5: the key, and the signature of "sample" with SHA-256. Its `s` is the high one.
    const X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    const Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    const SIGNATURE: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716
                             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

    fn uncompressed() -> Vec<u8> {
        hex(&format!("04{X}{Y}"))
    }

    fn verify(key: Vec<u8>, message: &[u8], signature: Vec<u8>) -> Result<(), ErrorCode> {
        Instance::default()
            .crypto()
            .p256_verify(key, message.into(), signature)
    }

    #[test]
    fn verifies_rfc_6979_a_2_5_under_either_form_of_the_key() {
        assert_eq!(verify(uncompressed(), b"sample", hex(SIGNATURE)), Ok(()));
        assert_eq!(
            verify(hex(&format!("03{X}")), b"sample", hex(SIGNATURE)),
            Ok(())
        );
    }

    #[test]
    fn refuses_another_message_and_another_key() {
        assert_eq!(
            verify(uncompressed(), b"simple", hex(SIGNATURE)),
            Err(ErrorCode::VerificationFailed)
        );
        assert_eq!(
            verify(hex(&format!("02{X}")), b"sample", hex(SIGNATURE)),
            Err(ErrorCode::VerificationFailed)
        );
    }

    #[test]
    fn refuses_what_is_not_a_point() {
        let mut off_curve = uncompressed();
        *off_curve.last_mut().unwrap() ^= 1;
        let mut hybrid = uncompressed();
        hybrid[0] = 7;
        let compact = hex(&format!("05{X}"));
        for key in [
            off_curve,
            hybrid,
            compact,
            vec![0; 33],
            vec![0; 65],
            [vec![2], vec![0xff; 32]].concat(),
        ] {
            assert_eq!(
                verify(key, b"sample", hex(SIGNATURE)),
                Err(ErrorCode::InvalidPublicKey)
            );
        }
    }

    #[test]
    fn refuses_wrong_lengths() {
        let der = [hex("3045"), vec![0; 69]].concat();
        assert_eq!(
            verify(uncompressed(), b"sample", der),
            Err(length("signature", 71, 64, 64))
        );
        assert_eq!(
            verify(vec![0], b"sample", hex(SIGNATURE)),
            Err(length("public-key", 1, 33, 65))
        );
        assert_eq!(
            verify(vec![4; 64], b"sample", hex(SIGNATURE)),
            Err(ErrorCode::InvalidPublicKey)
        );
    }

    #[test]
    fn refuses_r_and_s_that_are_zero_or_not_below_the_order() {
        for signature in [
            vec![0; 64],
            vec![0xff; 64],
            [vec![1; 32], vec![0; 32]].concat(),
        ] {
            assert_eq!(
                verify(uncompressed(), b"sample", signature),
                Err(ErrorCode::InvalidSignature)
            );
        }
    }
}

mod secp256k1 {
    use super::*;

    // A known answer of Ethereum's precompiled contract 1 (ecrecover).
    const HASH: &str = "38d18acb67d25c8bb9942764b62f18e17054f66a817bd4295423adf9ed98873e";
    const SIGNATURE: &str = "38d18acb67d25c8bb9942764b62f18e17054f66a817bd4295423adf9ed98873e
                             789d1dd423d25f0772d2748d60f7e4b81bb14d086eba8e8e8efb6dcff8a4ae02";
    const V: u8 = 27;
    const ADDRESS: &str = "ceaccac640adf55b2028469bd36ba501f28b699d";

    fn recover(prehash: Vec<u8>, signature: Vec<u8>, id: u8) -> Result<Vec<u8>, ErrorCode> {
        Instance::default()
            .crypto()
            .secp256k1_recover(prehash, signature, id)
    }

    fn verify(key: Vec<u8>, prehash: Vec<u8>, signature: Vec<u8>) -> Result<(), ErrorCode> {
        Instance::default()
            .crypto()
            .secp256k1_verify(key, prehash, signature)
    }

    /// The other signature of the same hash by the same key: n - s.
    fn high_s() -> Vec<u8> {
        let (r, s) = k256::ecdsa::Signature::from_slice(&hex(SIGNATURE))
            .unwrap()
            .split_scalars();
        k256::ecdsa::Signature::from_scalars(r, -s)
            .unwrap()
            .to_vec()
    }

    #[test]
    fn recovers_the_address_that_ethereum_recovers() {
        let key = recover(hex(HASH), hex(SIGNATURE), V - 27).unwrap();
        assert_eq!((key.len(), key[0]), (65, 4));
        let hash = Instance::default()
            .crypto()
            .digest(Keccak256, key[1..].to_vec())
            .unwrap();
        assert_eq!(hash[12..], hex(ADDRESS));
    }

    #[test]
    fn verifies_under_the_recovered_key_and_not_under_the_other_one() {
        let key = recover(hex(HASH), hex(SIGNATURE), 0).unwrap();
        let other = recover(hex(HASH), hex(SIGNATURE), 1).unwrap();
        let third = [
            vec![2],
            hex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
        ]
        .concat();
        assert_ne!(key, other);
        assert_eq!(verify(key, hex(HASH), hex(SIGNATURE)), Ok(()));
        assert_eq!(
            verify(third, hex(HASH), hex(SIGNATURE)),
            Err(ErrorCode::VerificationFailed)
        );
    }

    #[test]
    fn refuses_a_high_s() {
        let key = recover(hex(HASH), hex(SIGNATURE), 0).unwrap();
        assert_eq!(recover(hex(HASH), high_s(), 1), Err(ErrorCode::HighS));
        assert_eq!(verify(key, hex(HASH), high_s()), Err(ErrorCode::HighS));
    }

    #[test]
    fn refuses_recovery_ids_other_than_0_and_1() {
        for id in [2, 3, 4, 27, 28, 255] {
            assert_eq!(
                recover(hex(HASH), hex(SIGNATURE), id),
                Err(ErrorCode::RecoveryFailed),
                "{id}"
            );
        }
    }

    #[test]
    fn refuses_an_r_that_is_no_x_of_a_point() {
        let signature = [vec![0; 31], vec![5], vec![0; 31], vec![1]].concat();
        assert_eq!(
            recover(hex(HASH), signature, 0),
            Err(ErrorCode::RecoveryFailed)
        );
    }

    #[test]
    fn refuses_r_and_s_that_are_zero_or_not_below_the_order() {
        for signature in [vec![0; 64], vec![0xff; 64]] {
            assert_eq!(
                recover(hex(HASH), signature, 0),
                Err(ErrorCode::InvalidSignature)
            );
        }
    }

    #[test]
    fn refuses_wrong_lengths() {
        let with_v = [hex(SIGNATURE), vec![V]].concat();
        assert_eq!(
            recover(hex(HASH), with_v, 0),
            Err(length("signature", 65, 64, 64))
        );
        assert_eq!(
            recover(vec![0; 31], hex(SIGNATURE), 0),
            Err(length("prehash", 31, 32, 32))
        );
        assert_eq!(
            verify(vec![4; 64], hex(HASH), hex(SIGNATURE)),
            Err(ErrorCode::InvalidPublicKey)
        );
    }
}
