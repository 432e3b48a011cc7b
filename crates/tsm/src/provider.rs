//! Which driver answers behind the report interface.

use crate::error::Error;
use hypervisor_evidence::Backend;

/// A driver that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Intel TDX.
    TdxGuest,
    /// AMD SEV-SNP.
    SevGuest,
}

impl Provider {
    /// Reads the content of a `provider` file.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedProvider`] for any other name.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        match content.trim_ascii_end() {
            b"tdx_guest" => Ok(Self::TdxGuest),
            b"sev_guest" => Ok(Self::SevGuest),
            _ => Err(Error::UnsupportedProvider {
                found: printable(content),
            }),
        }
    }

    /// The name that the kernel uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TdxGuest => "tdx_guest",
            Self::SevGuest => "sev_guest",
        }
    }

    /// The platform behind it.
    pub fn backend(self) -> Backend {
        match self {
            Self::TdxGuest => Backend::Tdx,
            Self::SevGuest => Backend::SevSnp,
        }
    }
}

/// The start of a small file, fit for a message.
pub(crate) fn printable(content: &[u8]) -> String {
    content
        .trim_ascii()
        .iter()
        .take(32)
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .collect()
}
