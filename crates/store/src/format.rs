//! In which format a folder of state is, so that a version of the host that cannot read it leaves it alone.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::Error;
use crate::private::{io, private_folder, write_new};

/// The format that this version writes, and the latest that it reads. It is raised when an earlier version could not read what is
/// written, or would damage it.
const FORMAT: u32 = 1;
const FILE: &str = "format";

/// Makes a folder of state, or shuts the one that is there, and checks that this version can read what is in it. One that does not name its
/// format is in the first.
///
/// # Errors
/// [`Error::Newer`], [`Error::Format`] and [`Error::Io`]: nothing in it was changed.
pub fn state_folder(folder: &Path) -> Result<(), Error> {
    let path = folder.join(FILE);
    let found = found(&path)?;
    if let Some(found) = found.filter(|&it| it > FORMAT) {
        return Err(Error::Newer {
            folder: folder.to_owned(),
            found,
            known: FORMAT,
        });
    }
    private_folder(folder)?;
    match found {
        Some(_) => Ok(()),
        None => write_new(&path, format!("{FORMAT}\n").as_bytes()),
    }
}

/// The format that a folder names.
fn found(path: &Path) -> Result<Option<u32>, Error> {
    match fs::read(path) {
        Ok(said) => match number(&said) {
            Some(number) => Ok(Some(number)),
            None => Err(Error::Format(path.to_owned())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

fn number(said: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(said).ok()?.trim_end().parse().ok()?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_marked_once_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        for _ in 0..2 {
            state_folder(&state).unwrap();
            assert_eq!(fs::read(state.join(FILE)).unwrap(), b"1\n");
        }
        let mode = fs::metadata(state.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_a_later_version_wrote_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "2\n").unwrap();
        let error = state_folder(folder.path()).unwrap_err();
        assert!(matches!(
            error,
            Error::Newer {
                found: 2,
                known: 1,
                ..
            }
        ));
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"2\n");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for said in ["", "0", "-1", "one", "1 2", "99999999999", "1x"] {
            fs::write(folder.path().join(FILE), said).unwrap();
            let error = state_folder(folder.path()).unwrap_err();
            assert!(matches!(error, Error::Format(_)), "{said:?}");
        }
    }
}
