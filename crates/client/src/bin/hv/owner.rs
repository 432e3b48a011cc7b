//! `--owner`: whose agents they are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use hypervisor_client::agents::{create_owner_key, load_owner_key};
use hypervisor_client::protocol::OwnerKey;

use crate::Failure;
use crate::console::note;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Owner")]
pub(crate) struct Owner {
    /// The owner's key: a file of 64 hex digits that only you can read. Where it is left out, `hv call`, `hv mcp` and `hv proxy` call agents for nobody, and the
    /// other commands take ~/.config/hypervisor/owner.key.
    #[arg(long = "owner", value_name = "FILE", env = "HYPERVISOR_OWNER")]
    file: Option<OsString>,
}

impl Owner {
    /// The key, which must be there.
    pub(crate) fn key(&self) -> Result<OwnerKey, Failure> {
        let path = self.path()?;
        if self.given().is_none() && !path.exists() {
            return Err(Failure::Usage(format!(
                "there is no owner's key in {}: `hv deploy` makes one, and so does `hv env create`; or name one with --owner FILE",
                path.display()
            )));
        }
        Ok(load_owner_key(&path)?)
    }

    /// The key, made where there is none.
    pub(crate) fn key_or_new(&self) -> Result<OwnerKey, Failure> {
        let path = self.path()?;
        if path.exists() {
            return Ok(load_owner_key(&path)?);
        }
        let key = create_owner_key(&path)?;
        note(format_args!(
            "made the owner's key {}: anyone who has it owns what is deployed with it; keep a copy in a safe place",
            path.display()
        ))?;
        Ok(key)
    }

    /// The key, if one was named.
    pub(crate) fn named(&self) -> Result<Option<OwnerKey>, Failure> {
        Ok(self.given().map(load_owner_key).transpose()?)
    }

    /// The key, if one was named or the usual one is there.
    pub(crate) fn found(&self) -> Result<Option<OwnerKey>, Failure> {
        match self.path() {
            Ok(path) if self.given().is_some() || path.exists() => Ok(Some(load_owner_key(&path)?)),
            _ => Ok(None),
        }
    }

    fn given(&self) -> Option<&Path> {
        // An empty variable is none.
        let file = self.file.as_deref().filter(|file| !file.is_empty());
        file.map(Path::new)
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match self.given() {
            Some(path) => Ok(path.to_owned()),
            None => usual(variable("XDG_CONFIG_HOME"), variable("HOME")).ok_or_else(|| {
                Failure::Usage(
                    "there is no folder for the owner's key, as HOME is not set: name a file with --owner FILE"
                        .to_owned(),
                )
            }),
        }
    }
}

/// As the XDG Base Directory Specification has it: a configuration folder that is not absolute counts as none.
fn usual(config: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    config
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| PathBuf::from(home).join(".config")))
        .map(|folder| folder.join("hypervisor").join("owner.key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_is_in_the_configuration_folder() {
        let some = |text: &str| Some(OsString::from(text));
        for (config, home, file) in [
            (some("/c"), some("/h"), "/c/hypervisor/owner.key"),
            (some("c"), some("/h"), "/h/.config/hypervisor/owner.key"),
            (None, some("/h"), "/h/.config/hypervisor/owner.key"),
        ] {
            assert_eq!(usual(config, home), Some(PathBuf::from(file)));
        }
        assert_eq!(usual(None, None), None);
    }
}
