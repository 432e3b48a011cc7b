//! Digests, HMAC and HKDF.

use super::*;

mod digests {
    use super::*;

    #[test]
    fn match_fips_180_4_and_ethereum() {
        for (algorithm, data, expected) in [
            (
                Sha256,
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Sha384,
                "abc",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Sha512,
                "abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                Keccak256,
                "",
                "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
            ),
        ] {
            let digest = Instance::default().crypto().digest(algorithm, data.into());
            assert_eq!(digest, Ok(hex(expected)), "{algorithm:?}");
        }
    }

    #[test]
    fn refuse_data_beyond_the_bound_and_name_it() {
        let limits = CryptoLimits {
            max_input: 10,
            ..CryptoLimits::default()
        };
        let digest = Instance::with(limits).crypto().digest(Sha256, vec![0; 11]);
        assert_eq!(digest, Err(length("data", 11, 0, 10)));
    }

    #[test]
    fn accept_a_mebibyte_by_default_as_the_interface_promises() {
        assert!(CryptoLimits::default().max_input >= 1 << 20);
    }
}

mod hmac {
    use super::*;

    const DATA: &[u8] = b"what do ya want for nothing?";

    #[test]
    fn matches_rfc_4231_case_2() {
        for (algorithm, expected) in [
            (
                Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let tag = Instance::default()
                .crypto()
                .hmac(algorithm, b"Jefe".into(), DATA.into());
            assert_eq!(tag, Ok(hex(expected)), "{algorithm:?}");
        }
    }

    #[test]
    fn hashes_a_key_longer_than_a_block_as_in_rfc_4231_case_6() {
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let tag = Instance::default()
            .crypto()
            .hmac(Sha256, vec![0xaa; 131], data.into());
        assert_eq!(
            tag,
            Ok(hex(
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ))
        );
    }

    #[test]
    fn verifies_the_tag_it_made_and_no_other() {
        for algorithm in [Sha256, Sha384, Sha512, Keccak256] {
            let mut instance = Instance::default();
            let mut crypto = instance.crypto();
            let mut tag = crypto.hmac(algorithm, b"key".into(), DATA.into()).unwrap();
            assert_eq!(
                crypto.hmac_verify(algorithm, b"key".into(), DATA.into(), tag.clone()),
                Ok(())
            );
            *tag.last_mut().unwrap() ^= 1;
            let refused = crypto.hmac_verify(algorithm, b"key".into(), DATA.into(), tag);
            assert_eq!(refused, Err(ErrorCode::VerificationFailed));
        }
    }

    #[test]
    fn refuses_a_truncated_tag() {
        let mut instance = Instance::default();
        let mut crypto = instance.crypto();
        let mut tag = crypto.hmac(Sha256, b"key".into(), DATA.into()).unwrap();
        tag.truncate(16);
        let refused = crypto.hmac_verify(Sha256, b"key".into(), DATA.into(), tag);
        assert_eq!(refused, Err(length("tag", 16, 32, 32)));
    }
}

mod hkdf {
    use super::*;

    #[test]
    fn matches_rfc_5869_a_1() {
        let okm = Instance::default().crypto().hkdf(
            Sha256,
            vec![0x0b; 22],
            hex("000102030405060708090a0b0c"),
            hex("f0f1f2f3f4f5f6f7f8f9"),
            42,
        );
        let expected =
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(okm, Ok(hex(expected)));
    }

    #[test]
    fn takes_an_empty_salt_as_zeros_as_in_rfc_5869_a_3() {
        let expected = hex(
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        );
        for salt in [vec![], vec![0; 32]] {
            let okm = Instance::default()
                .crypto()
                .hkdf(Sha256, vec![0x0b; 22], salt, vec![], 42);
            assert_eq!(okm.as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn gives_at_most_255_blocks() {
        for (algorithm, digest) in [(Sha256, 32), (Sha384, 48), (Sha512, 64), (Keccak256, 32)] {
            let mut instance = Instance::default();
            let mut crypto = instance.crypto();
            let most = 255 * digest;
            let okm = crypto
                .hkdf(algorithm, vec![1], vec![], vec![], most)
                .unwrap();
            assert_eq!(okm.len(), most as usize);
            for wrong in [0, most + 1, u32::MAX] {
                let refused = crypto.hkdf(algorithm, vec![1], vec![], vec![], wrong);
                assert_eq!(refused, Err(length("length", wrong.into(), 1, most.into())));
            }
        }
    }
}
