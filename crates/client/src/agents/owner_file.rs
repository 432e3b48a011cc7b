//! Where an owner keeps the key.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use hypervisor_protocol::OwnerKey;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::error::Error;

/// More than any key file has.
const MAX_FILE: u64 = 1024;
const DIGITS: usize = 64;

/// Reads an owner's key from a file: one line of 64 hex digits. The file must be readable by its owner alone.
///
/// # Errors
/// [`Error::OwnerKey`] when it can not be read, can be read by others, or holds something else.
pub fn load_owner_key(path: &Path) -> Result<OwnerKey, Error> {
    let wrong = |reason: String| Error::OwnerKey {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    // Of what was opened: the name could mean another file by now.
    let metadata = file.metadata().map_err(|error| wrong(error.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(wrong(format!(
            "others can read it or write to it: run chmod 600 {}",
            path.display()
        )));
    }
    // Enough from the start: growing would leave copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    let digits = text.trim_ascii();
    let mut bytes = Zeroizing::new([0; 32]);
    // The decoder would take a prefix off by itself.
    if digits.len() != DIGITS
        || digits.starts_with("0x")
        || const_hex::decode_to_slice(digits, bytes.as_mut_slice()).is_err()
    {
        return Err(wrong(format!("it is not one line of {DIGITS} hex digits")));
    }
    OwnerKey::from_bytes(&bytes).map_err(|error| wrong(error.to_string()))
}

/// Makes an owner's key and keeps it in a new file with mode 0600; a folder that is missing is made with mode 0700. Whoever
/// has the key owns what is deployed with it, and nothing replaces a lost one.
///
/// # Errors
/// [`Error::OwnerKey`] when there is such a file already, or it can not be written.
pub fn create_owner_key(path: &Path) -> Result<OwnerKey, Error> {
    let wrong = |reason: String| Error::OwnerKey {
        path: path.to_owned(),
        reason,
    };
    let (key, bytes) = OwnerKey::generate().map_err(Error::Protocol)?;
    let mut line = Zeroizing::new([0; DIGITS + 1]);
    if let Some((end, digits)) = line.split_last_mut() {
        const_hex::encode_to_slice(bytes.as_slice(), digits)
            .map_err(|error| wrong(error.to_string()))?;
        *end = b'\n';
    }
    write_new(path, line.as_slice()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => wrong("it is there already".to_owned()),
        _ => wrong(format!("it cannot be written: {error}")),
    })?;
    Ok(key)
}

/// Under its name the file is whole or not there, and it never replaces another.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Its mode is 0600.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)
        .map_err(|error| error.error)?
        .sync_all()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    const KEY: &str = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";

    fn file(folder: &TempDir, text: &str, mode: u32) -> PathBuf {
        let path = folder.path().join("owner.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refused(text: &str, mode: u32) -> String {
        let folder = TempDir::new().unwrap();
        let path = file(&folder, text, mode);
        let error = load_owner_key(&path).unwrap_err().to_string();
        assert!(error.contains("owner.key"), "{error}");
        error
    }

    #[test]
    fn a_key_that_was_made_is_read_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("deeper/hypervisor/owner.key");
        let made = create_owner_key(&path).unwrap();
        assert_eq!(load_owner_key(&path).unwrap().id(), made.id());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 65);
    }

    #[test]
    fn a_key_that_is_there_is_never_replaced() {
        let folder = TempDir::new().unwrap();
        let path = file(&folder, KEY, 0o600);
        let error = create_owner_key(&path).unwrap_err().to_string();
        assert!(error.contains("it is there already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), KEY);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    #[test]
    fn a_newline_and_upper_case_are_allowed() {
        let folder = TempDir::new().unwrap();
        let plain = load_owner_key(&file(&folder, KEY, 0o600)).unwrap().id();
        for (text, mode) in [
            (format!("{KEY}\n"), 0o400),
            (KEY.to_uppercase() + "\r\n", 0o600),
        ] {
            let folder = TempDir::new().unwrap();
            let path = file(&folder, &text, mode);
            assert_eq!(load_owner_key(&path).unwrap().id(), plain);
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused_with_the_remedy() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let error = refused(KEY, mode);
            assert!(error.contains("run chmod 600"), "{mode:o}: {error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        let zero = "0".repeat(64);
        let prefixed = format!("0x{}", &KEY[..62]);
        let long = format!("{KEY}{KEY}");
        for text in [
            "",
            "\n",
            &KEY[..62],
            &zero,
            &prefixed,
            &long,
            &KEY.replace('c', "g"),
        ] {
            let error = refused(text, 0o600);
            assert!(!error.contains(&KEY[2..10]), "{error}");
        }
        assert!(refused(&KEY[..62], 0o600).contains("64 hex digits"));
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let folder = TempDir::new().unwrap();
        let error = load_owner_key(&folder.path().join("owner.key")).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
