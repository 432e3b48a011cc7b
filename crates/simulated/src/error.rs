//! Everything that can go wrong while simulating.

/// An error of the simulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A certificate, CRL or key could not be made.
    #[error("can not make the simulated {what}: {reason}")]
    Pki {
        /// Which part.
        what: &'static str,
        /// What the encoder says.
        reason: String,
    },
    /// Collateral could not be encoded as JSON.
    #[error("can not encode the simulated collateral: {0}")]
    Json(#[from] serde_json::Error),
    /// A time is outside what X.509 can say.
    #[error(
        "{seconds} seconds after 1970 is no time that a certificate can hold; choose one before the year 2050"
    )]
    Time {
        /// The time asked for.
        seconds: u64,
    },
}
