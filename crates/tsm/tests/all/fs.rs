//! The operating system's files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;

use hypervisor_tsm::{SystemFs, TsmFs};

#[test]
fn a_file_up_to_the_limit_is_read_whole_and_a_longer_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, [7; 100]).unwrap();
    for limit in [100, 101, 4096] {
        assert_eq!(SystemFs.read(&path, limit).unwrap(), [7; 100]);
    }
    for limit in [0, 99] {
        let error = SystemFs.read(&path, limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }
}

#[test]
fn writing_makes_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let error = SystemFs.write(&path, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!path.exists());
}

#[test]
fn only_an_empty_directory_that_was_made_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("entry");
    SystemFs.make_dir(&path).unwrap();
    assert_eq!(
        SystemFs.make_dir(&path).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    std::fs::write(path.join("file"), b"x").unwrap();
    assert!(SystemFs.remove_dir(&path).is_err());
    assert!(path.join("file").exists());
    std::fs::remove_file(path.join("file")).unwrap();
    SystemFs.remove_dir(&path).unwrap();
    assert!(!path.exists());
}
