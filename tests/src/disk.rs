//! A disk of a test's own, which can be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system over a folder; gone when dropped.
pub struct Small {
    folder: PathBuf,
    mebibytes: usize,
}

impl Small {
    /// Eight mebibytes; an error where this user may not mount.
    pub fn over(folder: &Path) -> Result<Self, String> {
        Self::of(8, folder)
    }

    /// As many mebibytes.
    pub fn of(mebibytes: usize, folder: &Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        let options = format!("size={mebibytes}m,mode=0700");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]);
        let output = mount.arg(folder).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Self {
            folder: folder.to_owned(),
            mebibytes,
        })
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        fs::write(self.folder.join("filler"), vec![0; self.mebibytes << 20]).unwrap_err();
    }

    /// Frees what was filled.
    pub fn empty(&self) {
        fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Its users are ended after it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
