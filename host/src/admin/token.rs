//! The secret that shows who the operator is: in a file that only the operator's user can read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::Error;

/// Random bytes of a token that is made here.
const BYTES: usize = 32;
/// Characters of a token at least, and bytes of its file at most.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=1024;
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The token of the admin port.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token in `file`; where there is no file, makes one with a new token.
    ///
    /// # Errors
    /// When the file cannot be read or written, others may read it, or its token is too short.
    pub fn obtain(file: &Path) -> Result<Self, Error> {
        match Self::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(file),
            read => read,
        }
        .map_err(|source| Error::AdminToken {
            path: file.to_owned(),
            source,
        })
    }

    /// Reads the token in `file`.
    ///
    /// # Errors
    /// As [`Self::obtain`], and when there is no file.
    pub fn read(file: &Path) -> io::Result<Self> {
        let opened = File::open(file)?;
        if opened.metadata()?.mode() & OTHERS != 0 {
            return Err(io::Error::other(
                "other users can read it; run `chmod 600` on it",
            ));
        }
        let mut text = Zeroizing::new(String::new());
        let most = u64::try_from(*LENGTH.end()).unwrap_or(u64::MAX);
        opened.take(most).read_to_string(&mut text)?;
        let token = Zeroizing::new(text.trim().to_owned());
        let is_one = LENGTH.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        if !is_one {
            return Err(io::Error::other(
                "a token is one line of at least 32 printable characters",
            ));
        }
        Ok(Self(token))
    }

    fn create(file: &Path) -> io::Result<Self> {
        if let Some(folder) = file.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut random = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut *random).map_err(io::Error::other)?;
        let token = Zeroizing::new(crate::manifest::hex(&*random));
        let mut created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        created.write_all(token.as_bytes())?;
        created.write_all(b"\n")?;
        Ok(Self(token))
    }

    /// Whether the value of an `Authorization` field shows this token.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let shown = authorization.split_at_checked(SCHEME.len());
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case(SCHEME) && bool::from(shown.ct_eq(self.0.as_bytes()))
        })
    }

    /// The value of an `Authorization` field that shows this token.
    pub fn authorization(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", *self.0))
    }
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/admin.token");
        let made = Token::obtain(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let read = Token::obtain(&file).unwrap();
        assert_eq!(*made.0, *read.0);
        assert_eq!(made.0.len(), 2 * BYTES);
        assert_eq!(format!("{made:?}"), "Token");
    }

    #[test]
    fn a_token_that_others_may_read_or_that_is_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let allow = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(0o640);
        assert!(Token::obtain(&file).is_err());
        allow(0o600);
        assert!(Token::obtain(&file).is_ok());
        std::fs::write(&file, "short").unwrap();
        assert!(Token::obtain(&file).is_err());
    }

    #[test]
    fn only_the_whole_token_shows_it() {
        let token = Token(Zeroizing::new("secret".to_owned()));
        for shown in ["Bearer secret", "bearer secret", "BEARER secret"] {
            assert!(token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        for other in [
            "",
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secretx",
            "Basic secret",
        ] {
            assert!(!token.is_shown_by(other.as_bytes()), "{other}");
        }
    }
}
