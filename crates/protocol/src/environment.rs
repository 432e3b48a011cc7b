//! The bodies of the endpoints about environments, and what is sealed in them.
//!
//! An *environment* is code that was set up once: its memory is kept as the setup left it, and each call of its handler starts from
//! there in an instance of its own. A *turn* is source that runs in it and moves it on.
//!
//! | endpoint | operation | field 0 | field 1 | result (sealed) |
//! |---|---|---|---|---|
//! | `POST /environments/setup` | `setup` | [`Bundle`] | [`Terms`] | [`SetupAnswer`] |
//! | `POST /environments/execute` | `execute` | the id | [`ExecuteInput`] | [`ExecuteAnswer`] |
//! | `POST /environments/evaluate` | `evaluate` | the id | [`EvaluateInput`] | [`EvaluateAnswer`] |
//! | `POST /environments/fork` | `fork` | the id | [`Terms`] | [`EnvironmentInfo`] of the copy |
//! | `POST /environments/extend` | `extend` | the id | [`Terms`] | [`EnvironmentInfo`] |
//! | `POST /environments/list` | `environment-list` | empty | [`Page`] | [`EnvironmentList`] |
//! | `POST /environments/log` | `environment-log` | the id | [`Page`] | [`EnvironmentLog`] |
//! | `POST /environments/remove` | `environment-remove` | the id | – | [`EnvironmentInfo`] of what was removed |
//!
//! Every body is an [`EnvironmentRequest`]; what is in the fields is CBOR, an id is text. A field 1 that is left out is one with nothing
//! set. The host sees from outside which of these it is, and how long it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format::{decode_cbor, encode_cbor_into};
use crate::owner::OwnerProof;
use crate::wire::sealed;
use crate::{Commitment, Error, Exit, HexArray, HexBytes, PublicKey, SealedRequest, SessionId};

/// The label of hashes of the log.
const LOG_LABEL: &[u8] = b"hypervisor/v1 environment-log\0";

/// Body of every sealed request about environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRequest {
    /// Field 0, sealed: a bundle or an id.
    pub encrypted_environment: HexBytes,
    /// Field 1, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_input: Option<HexBytes>,
    /// The client's public key C.
    pub public_key: HexBytes,
    /// The session; may be left out while the key has exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Which request of the session this is.
    #[serde(default)]
    pub sequence: u64,
    /// Whose environment it is.
    pub owner: OwnerProof,
}

/// What a handler is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// `python`, or `javascript`, which is TypeScript's too.
    pub language: String,
    /// The name of the module with the handler; empty where there is none, for turns alone.
    #[serde(default)]
    pub main: String,
    /// The source of every module, `main` among them, by its path: `lib/dates.ts`.
    #[serde(default)]
    pub modules: BTreeMap<String, HexBytes>,
    /// Packages that modules import, by their file's name: in Python wheels without native code, in JavaScript an ES module each.
    #[serde(default)]
    pub packages: BTreeMap<String, HexBytes>,
    /// Source that runs before `main` is loaded, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
}

/// What an environment is to have. What is absent is the host's default, or stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What its owner calls it, up to 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It ends when nobody has used it for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// It ends so long from now, used or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Limits of a call, at most the host's. They hold for the setup as well.
    #[serde(default)]
    pub limits: CallLimits,
    /// Origins that its code may send HTTP requests to, as far as the operator allows them: `https://api.example.com`,
    /// `https://*.example.com`, `*`; absent, none. They hold for the setup as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<Vec<String>>,
}

/// Limits of one call. What is absent is the environment's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLimits {
    /// Processor time, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Elapsed time, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Memory, bytes, the engine's own among it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl CallLimits {
    /// These, and where one is absent the other's.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms.or(other.cpu_ms),
            wall_ms: self.wall_ms.or(other.wall_ms),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
        }
    }

    /// The lower of each.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        let lower = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            cpu_ms: lower(self.cpu_ms, outer.cpu_ms),
            wall_ms: lower(self.wall_ms, outer.wall_ms),
            memory_bytes: lower(self.memory_bytes, outer.memory_bytes),
        }
    }
}

/// What a handler is called with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecuteInput {
    /// `event.data`: JSON; `null` where it is empty.
    #[serde(default)]
    pub data: String,
    /// `event.env`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: HexBytes,
    /// Limits of this call, at most the environment's.
    #[serde(default)]
    pub limits: CallLimits,
}

/// A turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateInput {
    /// What runs.
    pub source: String,
    /// Standard input.
    #[serde(default)]
    pub stdin: HexBytes,
    /// Limits of this turn, at most the environment's.
    #[serde(default)]
    pub limits: CallLimits,
}

/// Part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// From this one on, counted from 0.
    #[serde(default)]
    pub from: u64,
    /// The most entries; 100 where it is left out, 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What came of a setup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupAnswer {
    /// What was set up; none where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentInfo>,
    /// What the setup printed.
    #[serde(default)]
    pub stdout: HexBytes,
}

/// What came of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteAnswer {
    /// The call, in the log.
    pub execution: String,
    /// What the handler answered: JSON. None where it gave no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it printed.
    #[serde(default)]
    pub stdout: HexBytes,
}

/// What came of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateAnswer {
    /// Turns of the environment that were kept, this one among them if it was.
    pub turns: u64,
    /// Whether the environment went on: else it is as before the turn.
    pub kept: bool,
    /// The value of the last expression, as the language prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it printed.
    #[serde(default)]
    pub stdout: HexBytes,
}

/// An environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentInfo {
    /// 32 hex digits.
    pub id: String,
    /// What its owner calls it; may be empty.
    #[serde(default)]
    pub name: String,
    /// Its language.
    pub language: String,
    /// SHA-256 of the bundle as it was sent.
    pub bundle: HexArray<32>,
    /// SHA-384 of the component that runs it, as the component log has it.
    pub engine: HexArray<48>,
    /// What is kept of its memory, bytes.
    pub state_bytes: u64,
    /// SHA-256 of that.
    pub state: HexArray<32>,
    /// Turns that moved it on.
    pub turns: u64,
    /// Unix time, seconds.
    pub created_at: u64,
    /// When it ends if it is not used: Unix time, seconds.
    pub expires_at: u64,
    /// When it ends at the latest: Unix time, seconds.
    pub ends_at: u64,
    /// How long it stays from its last use.
    pub idle_seconds: u64,
    /// Limits of a call; what is absent is the host's.
    #[serde(default)]
    pub limits: CallLimits,
    /// Origins that its code may send HTTP requests to, as far as the operator allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<String>,
    /// Whether it survives a restart of the host.
    pub persistent: bool,
}

/// An owner's environments, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentList {
    /// Those of the page.
    pub environments: Vec<EnvironmentInfo>,
    /// How many there are in all.
    pub total: u64,
}

/// What was done with an environment, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentLog {
    /// [`LogRow`]s, each as the bytes that its hash is of.
    pub rows: Vec<HexBytes>,
    /// The first that is kept, counted from 0.
    pub first: u64,
    /// Rows that were written, those that are kept no longer among them.
    pub total: u64,
    /// The hash of the last one.
    pub head: HexArray<32>,
}

/// A row of the log of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Counted from 0.
    pub sequence: u64,
    /// When it ended: Unix time, microseconds.
    pub at: u64,
    /// What it was.
    pub kind: LogKind,
    /// The call; empty where nothing ran.
    #[serde(default)]
    pub execution: String,
    /// How it ended, of long words the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Processor time, microseconds.
    #[serde(default)]
    pub cpu_microseconds: u64,
    /// Elapsed time, microseconds.
    #[serde(default)]
    pub wall_microseconds: u64,
    /// Largest memory, bytes.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// Bytes of its field 1, and of its answer and what it printed.
    #[serde(default)]
    pub bytes: [u64; 2],
    /// The commitment to the request, which its receipt has too; none where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Commitment>,
    /// The hash of the row before; zeros in the first.
    pub previous: HexArray<32>,
}

/// What a row of the log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// It was set up, or is a copy of another.
    Setup,
    /// Its handler was called.
    Execute,
    /// A turn.
    Evaluate,
    /// A copy was made of it.
    Fork,
    /// It may stay longer, or has other terms.
    Extend,
    /// Its owner removed it.
    Remove,
    /// Its time was over.
    Expire,
    /// What a setup or a turn left was taken back: it was not paid for.
    Undo,
}

impl LogRow {
    /// The row's bytes, and their hash: SHA-256("hypervisor/v1 environment-log" ‖ 0x00 ‖ bytes).
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn encode(&self) -> Result<(Vec<u8>, [u8; 32]), Error> {
        let bytes = encode(self)?;
        let hash = row_hash(&bytes);
        Ok((bytes, hash))
    }
}

/// The hash of a row's bytes.
pub fn row_hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(LOG_LABEL);
    hash.update(bytes);
    hash.finalize().into()
}

impl EnvironmentLog {
    /// The rows, where each follows the one before, and the last of all is the one of which `head` is the hash.
    ///
    /// # Errors
    /// [`Error::Decode`] with the row that does not follow.
    pub fn verified(&self) -> Result<Vec<LogRow>, Error> {
        let wrong = |reason: String| Error::Decode {
            format: "log of an environment",
            reason,
        };
        let mut rows: Vec<LogRow> = Vec::with_capacity(self.rows.len());
        let mut last: Option<[u8; 32]> = None;
        for bytes in &self.rows {
            let row: LogRow = decode(&bytes.0)?;
            let follows = match (rows.last(), last) {
                (Some(before), Some(hash)) => {
                    before.sequence.checked_add(1) == Some(row.sequence) && row.previous.0 == hash
                }
                _ => row.sequence > 0 || row.previous.0 == [0; 32],
            };
            if !follows {
                return Err(wrong(format!(
                    "row {} does not follow the one before",
                    row.sequence
                )));
            }
            last = Some(row_hash(&bytes.0));
            rows.push(row);
        }
        let is_end =
            (rows.last()).is_some_and(|row| row.sequence.checked_add(1) == Some(self.total));
        if is_end && last != Some(self.head.0) {
            return Err(wrong("its last row is not the one of its head".to_owned()));
        }
        Ok(rows)
    }
}

/// What is sealed in a field.
///
/// # Errors
/// [`Error::Encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    encode_cbor_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Reads what was sealed in a field.
///
/// # Errors
/// [`Error::Decode`].
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    decode_cbor(bytes)
}

impl EnvironmentRequest {
    /// The body of a request sealed for one of the operations about environments.
    pub fn new(
        public_key: &PublicKey,
        session_id: SessionId,
        owner: OwnerProof,
        request: SealedRequest,
    ) -> Self {
        Self {
            encrypted_environment: request.program.into(),
            encrypted_input: request.stdin.map(HexBytes),
            public_key: public_key.to_bytes().to_vec().into(),
            session_id: Some(session_id),
            sequence: request.sequence,
            owner,
        }
    }
}

impl From<EnvironmentRequest> for SealedRequest {
    fn from(body: EnvironmentRequest) -> Self {
        sealed(
            body.sequence,
            body.encrypted_environment,
            body.encrypted_input,
            Vec::new(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(count: u64) -> EnvironmentLog {
        let mut previous = [0; 32];
        let rows = (0..count).map(|sequence| {
            let row = LogRow {
                sequence,
                at: sequence,
                kind: LogKind::Execute,
                execution: "e".to_owned(),
                exit: Some(Exit::Ok),
                cpu_microseconds: 1,
                wall_microseconds: 2,
                peak_memory_bytes: 3,
                bytes: [4, 5],
                request: None,
                previous: HexArray(previous),
            };
            let (bytes, hash) = row.encode().unwrap();
            previous = hash;
            HexBytes(bytes)
        });
        EnvironmentLog {
            rows: rows.collect(),
            first: 0,
            total: count,
            head: HexArray(previous),
        }
    }

    #[test]
    fn a_log_holds_as_it_is_and_from_any_row_on() {
        let whole = log(4);
        assert_eq!(whole.verified().unwrap().len(), 4);
        let mut later = whole.clone();
        later.rows.drain(..2);
        assert_eq!(later.verified().unwrap().len(), 2);
        assert_eq!(log(0).verified().unwrap(), []);
    }

    #[test]
    fn a_row_that_is_altered_left_out_or_cut_off_is_seen() {
        let whole = log(4);
        let mut left_out = whole.clone();
        left_out.rows.remove(1);
        left_out.verified().unwrap_err();
        let mut altered = whole.clone();
        let mut row: LogRow = decode(&altered.rows[3].0).unwrap();
        row.cpu_microseconds = 9;
        altered.rows[3] = HexBytes(row.encode().unwrap().0);
        altered.verified().unwrap_err();
        let mut begun_later = whole;
        let mut row: LogRow = decode(&begun_later.rows[1].0).unwrap();
        row.sequence = 0;
        begun_later.rows = vec![HexBytes(row.encode().unwrap().0)];
        begun_later.verified().unwrap_err();
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Bundle>(&bytes);
            let _ = decode::<Terms>(&bytes);
            let _ = decode::<ExecuteInput>(&bytes);
            let _ = decode::<EvaluateInput>(&bytes);
            let _ = decode::<LogRow>(&bytes);
        }

        #[test]
        fn limits_within_others_are_no_higher(a in any::<Option<u64>>(), b in any::<Option<u64>>()) {
            let limits = |cpu_ms| CallLimits { cpu_ms, ..CallLimits::default() };
            let both = limits(a).within(limits(b)).cpu_ms;
            for one in [a, b].into_iter().flatten() {
                prop_assert!(both.unwrap() <= one);
            }
            prop_assert_eq!(both.is_some(), a.is_some() || b.is_some());
        }
    }
}
