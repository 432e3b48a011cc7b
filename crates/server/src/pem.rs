//! Certificates and keys that the configuration names, in PEM.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;

/// A certificate with what signs it, and its key; `names` are what the configuration calls the two files.
///
/// # Errors
/// Where one cannot be read.
pub fn identity(
    [certificate, key]: [&Path; 2],
    names: [&'static str; 2],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(names[0], certificate, &error))?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(names[1], key, &error))?;
    Ok((chain, secret))
}

/// A file of the configuration that is not what it should be.
pub fn unusable(key: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File {
        key,
        message: format!("{}: {error}; it names a file in PEM", path.display()),
    }
}
