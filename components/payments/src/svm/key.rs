//! Public keys, and the addresses of token accounts, which are derived from them.

use std::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha256};

/// A public key, or an address that has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

/// The token program.
pub const TOKEN: Key = known(b"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// Its successor.
pub const TOKEN_2022: Key = known(b"TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
/// The program of the accounts that wallets keep their tokens in.
const ASSOCIATED_TOKEN: Key = known(b"ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/// Sets what a transaction may cost.
pub const COMPUTE_BUDGET: Key = known(b"ComputeBudget111111111111111111111111111111");
/// Does nothing: its data is a note.
pub const MEMO: Key = known(b"MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
/// Transfers nothing: wallets add its assertions.
pub const LIGHTHOUSE: Key = known(b"L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

/// A key that is written here, read by the compiler.
const fn known(text: &[u8]) -> Key {
    Key(bs58::decode(text).into_array_const_unwrap())
}

impl Key {
    /// Reads base58. Each key has one form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        // The longest has 44 digits.
        (text.len() <= 44 && matches!(bs58::decode(text).onto(&mut key), Ok(32)))
            .then_some(Self(key))
    }

    /// The account in which the wallet of `self` keeps tokens of `mint`, under a token program. `None` is next to impossible.
    ///
    /// It is the first of 256 hashes that is no point of the curve, so that nobody can have its key.
    pub fn token_account(&self, mint: &Key, program: &Key) -> Option<Self> {
        (0..=u8::MAX).rev().find_map(|bump| {
            let hash: [u8; 32] = Sha256::new()
                .chain_update(self.0)
                .chain_update(program.0)
                .chain_update(mint.0)
                .chain_update([bump])
                .chain_update(ASSOCIATED_TOKEN.0)
                .chain_update(b"ProgramDerivedAddress")
                .finalize()
                .into();
            CompressedEdwardsY(hash)
                .decompress()
                .is_none()
                .then_some(Self(hash))
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_form() {
        let text = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
        assert_eq!(Key::parse(text).unwrap().to_string(), text);
        let system = "1".repeat(32);
        assert_eq!(Key::parse(&system), Some(Key([0; 32])));
        for bad in [
            "",
            "1",
            &text[4..],
            &format!("1{text}"),
            &text.replace('4', "0"),
            &format!("{text} "),
            &"z".repeat(44),
            &"1".repeat(1000),
        ] {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
    }

    /// Those that `findAssociatedTokenPda` of @solana-program/token 0.9.0 and token-2022 0.6.1 find.
    #[test]
    fn token_accounts_are_where_the_official_library_finds_them() {
        let [owner, mint] = [
            "cqyuNf6Ct21UWRZYEyPkBDHDWGwTkRcjSvvvvpexjFP",
            "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        ]
        .map(|text| Key::parse(text).unwrap());
        for (program, account) in [
            (TOKEN, "EB2QEv5CNBv66NAdZs9iUGE6S4RiSvD9UfjuVhyroXXi"),
            (TOKEN_2022, "8bDi4iYgPRzYipGncnror14BkPWxVhBxdZY6UNDDHFrv"),
        ] {
            let found = owner.token_account(&mint, &program).unwrap();
            assert_eq!(found.to_string(), account);
        }
    }
}
