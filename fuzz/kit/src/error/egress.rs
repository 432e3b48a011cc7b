//! Why a pattern of origins is none. The crate's own file has errors of the engine beside it.

/// Why a text is no pattern of origins. Messages do not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Neither `http` nor `https`.
    #[error("an origin begins with `http://` or `https://`; `*` alone is any origin")]
    Scheme,
    /// Something after host and port.
    #[error("an origin ends after host and port: leave out path, query and fragment")]
    Path,
    /// `user@` in front of the host.
    #[error("an origin has no user information: leave out everything up to `@`")]
    UserInformation,
    /// The port is no number, or not one that can be connected to.
    #[error("a port is a number from 1 to 65535; leave out the colon for the scheme's own port")]
    Port,
    /// A `*` elsewhere than as the first label, or in front of an address.
    #[error("`*` stands for one or more labels in front of a name, as in `https://*.example.com`")]
    Wildcard,
    /// Neither a name nor an address.
    #[error(
        "a host is a name of labels of 1 to 63 ASCII letters, digits, `-` and `_` (an international name in its `xn--` form), four decimal numbers with dots, or an IPv6 address in `[` and `]` without a zone"
    )]
    Host,
}
