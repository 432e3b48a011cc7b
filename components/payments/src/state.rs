//! What is remembered of a payment between the calls: `authorized-payment.state`, which the host stores.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::header::Version;
use crate::offer::{Resource, UPTO};

/// The form of the state. A component that changes it takes the next number and still reads this one.
const FORM: u8 = 2;
/// The longest state, in bytes: a header's payment and an offer, with room.
const LONGEST: usize = 128 * 1024;

/// The state, JSON on the outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    #[serde(rename = "form")]
    form: u8,
    /// The version of the protocol: 1 or 2.
    version: u8,
    /// The facilitator that verified: the one that settles.
    pub facilitator: String,
    /// The client's payment.
    pub payload: Value,
    /// Our offer, in the words of the version.
    pub requirements: Value,
    /// When it was verified, in seconds since 1970: a transfer of it is not older.
    pub verified_at: u64,
    /// Whether it was handed to the facilitator for settlement.
    pub submitted: bool,
    /// A transaction that is known to have been sent.
    pub transaction: Option<String>,
    /// Where what it pays for is; not in form 1.
    #[serde(default)]
    pub resource: Option<String>,
}

impl State {
    /// The state of a payment that was just verified.
    pub fn new(
        version: Version,
        facilitator: String,
        payload: Value,
        requirements: Value,
        verified_at: u64,
    ) -> Self {
        Self {
            form: FORM,
            version: match version {
                Version::V1 => 1,
                Version::V2 => 2,
            },
            facilitator,
            payload,
            requirements,
            verified_at,
            submitted: false,
            transaction: None,
            resource: None,
        }
    }

    /// The same, of what is bought.
    pub fn of(self, resource: &Resource) -> Self {
        let resource = Some(resource.url().to_owned());
        Self { resource, ..self }
    }

    /// The version of the protocol.
    pub fn version(&self) -> Version {
        match self.version {
            1 => Version::V1,
            _ => Version::V2,
        }
    }

    /// Whether less than was signed for may be taken.
    pub fn is_upto(&self) -> bool {
        self.requirements.get("scheme").is_some_and(|it| it == UPTO)
    }

    /// For the host to store.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > LONGEST {
            return Err("the payment's state is too long");
        }
        let state: Self = serde_json::from_slice(bytes)
            .map_err(|_| "the payment's state is not of this component")?;
        if !(1..=FORM).contains(&state.form) || !matches!(state.version, 1 | 2) {
            return Err("the payment's state is of another release of this component");
        }
        Ok(state)
    }
}
