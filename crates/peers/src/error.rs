//! Why a host has no key of its fleet.

use std::fmt;
use std::path::PathBuf;

/// Evidence that a policy does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The check that failed first, by its stable name.
    pub check: String,
    /// What is wrong, in one sentence.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.check, self.reason)
    }
}

/// Why a host has no key of its fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no policy.
    #[error("{0}")]
    Policy(String),
    /// This build cannot hold evidence against a policy.
    #[error(
        "this build of the host judges nobody, so that no other one can be given a key: build one with `FEATURES=peers make release`, or use a key file"
    )]
    NoJudge,
    /// The host makes no evidence, so that no other one can judge it.
    #[error("`key = \"peers\"` needs evidence, and there is none: {0}")]
    NoEvidence(String),
    /// The host's own evidence does not pass its policy.
    #[error(
        "this host's own evidence does not pass the fleet's policy, so that no other host would give it the key, and it makes none: {0}"
    )]
    Unfit(Refused),
    /// Members refuse this host, or this host refuses them.
    #[error("no member gave this host the fleet's key: {0}")]
    Refused(String),
    /// Nobody answered in time.
    #[error("no member gave this host the fleet's key within {0} s: {1}")]
    Unanswered(u64, String),
    /// The key is being changed.
    #[error(
        "the fleet's key is being changed already, to {0}: `hypervisor-ctl fleet` says how far that is and which hosts it waits for"
    )]
    UnderWay(String),
    /// A key that rows are under is with nobody who can be asked.
    #[error("the fleet has the key {0}, and no host that lives gave it to this one: {1}")]
    Lacking(String, String),
    /// What the database says of a rotation is not what this host knows.
    #[error(
        "what the database says of the key {0} is out of date or false: the database was set back, and the key stays as it is"
    )]
    SetBack(String),
    /// The hosts of the fleet cannot be looked up.
    #[error(transparent)]
    Fleet(#[from] hypervisor_fleet::Error),
    /// The key is lost.
    #[error(
        "the fleet's key {0} is lost: no host that has it lives, and this platform has not sealed it, or gives no key to seal with (TDX gives none). \
         What is in the database cannot be read any more by anybody: agents, environments and payments. To begin again, with a new key \
         and without them, delete all rows (`delete from hypervisor_rows`) or name an empty database, and start one host; \
         if a host of this fleet still runs somewhere, let it reach the database first"
    )]
    Lost(String),
    /// There are rows, and none says which key they are under.
    #[error(
        "the database has rows, and no row that names the fleet's key: it is of a fleet with a key file, or somebody deleted that row. \
         A new key would not open them, so none is made; name an empty database to begin a fleet by peers"
    )]
    NoKeyRow,
    /// The row that names the key is not about the key that members have.
    #[error(
        "the database says that the fleet's key is {said}, and a member whose evidence passes the policy has {has}: somebody changed the database"
    )]
    OtherKey {
        /// What the row says.
        said: String,
        /// What the member gave.
        has: String,
    },
    /// The row cannot be read.
    #[error(
        "the row of the database that names the fleet's key cannot be read: somebody changed it"
    )]
    BadKeyRow,
    /// The database.
    #[error(transparent)]
    Rows(#[from] hypervisor_store::Error),
    /// Keys cannot be made or used.
    #[error(transparent)]
    Protocol(#[from] hypervisor_protocol::Error),
}
