//! Files of keys: the private one for its owner alone, and beside it the one that anybody may have.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::written;
use hypervisor_tlog::note::{Algorithm, MAX_KEY};
use hypervisor_tlog::{SigningKey, folder};
use zeroize::Zeroizing;

pub(super) fn generate(name: &str, to: &Path, witness: bool) -> Result<(), Error> {
    let algorithm = match witness {
        true => Algorithm::Cosignature,
        false => Algorithm::Ed25519,
    };
    let key = SigningKey::generate(name, algorithm)?;
    let mut public = to.as_os_str().to_owned();
    public.push(".pub");
    let verifier = key.verifier().to_string();
    write(to, 0o600, &key.to_text())?;
    write(&PathBuf::from(public), 0o644, &verifier)?;
    written(writeln!(io::stdout(), "{verifier}"))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .map_err(|source| Error::FileUnwritable {
            path: path.to_owned(),
            source,
        })
}

pub(super) fn read(path: &Path) -> Result<SigningKey, Error> {
    let bytes = folder::read(path, MAX_KEY)?.ok_or_else(|| Error::FileUnreadable {
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Ok(text.trim_end().parse()?)
}
