//! What goes wrong, in the terms of the protocol.

use front::error::{Forbidden, HostError, WebError, WrongVariable};
use front::http::Outgoing;
use serde_json::{Value, json};

/// An error that a client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum A2aError {
    /// The body is not JSON that is taken here.
    #[error("Parse error: {0}")]
    Parse(&'static str),
    /// The body is JSON, and no single request.
    #[error("Invalid request: {0}")]
    Request(&'static str),
    /// There is no such method.
    #[error("Method not found")]
    Method,
    /// The parameters are not those of the method.
    #[error("Invalid params: {0}")]
    Params(String),
    /// The host can not be asked, or can not keep what has to be kept.
    #[error("Internal error: {0}")]
    Internal(String),
    /// There is no such task, or it is somebody else's.
    #[error("Task not found")]
    TaskNotFound,
    /// The task can not be canceled now.
    #[error("Task not cancelable: {0}")]
    TaskNotCancelable(&'static str),
    /// Nobody is told of tasks by webhooks.
    #[error("Push notifications are not supported")]
    PushNotSupported,
    /// The agent or the task does not take this now.
    #[error("Unsupported operation: {0}")]
    Unsupported(&'static str),
    /// A media type that is not taken.
    #[error("Content type not supported: {0}")]
    ContentType(&'static str),
    /// A version of the protocol that is not spoken here.
    #[error("Version not supported: this agent speaks A2A 1.0, as `A2A-Version: 1.0`")]
    Version,
    /// There is no such agent.
    #[error("There is no such agent")]
    NoAgent,
    /// The host has no room for more now.
    #[error("The host is busy: {0}")]
    Busy(String, Option<u64>),
    /// A payment that was used for something else.
    #[error("The payment was used already, for another call")]
    PaymentUsed,
    /// HTTP that is not this protocol's.
    #[error("{1}")]
    Http(u16, &'static str),
    /// The request does not come from where requests are taken from.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// The operator's settings can not be read. It names the variable, and not what stands in it.
    #[error("The operator's settings: {0}")]
    Settings(String),
    /// An answer of the host's that is passed on: it asks for a payment.
    #[error("A payment is required")]
    Demand(Box<Outgoing>),
}

impl A2aError {
    /// The code of JSON-RPC, or of A2A.
    pub fn code(&self) -> i32 {
        match self {
            Self::Parse(_) => -32700,
            Self::Request(_) | Self::Forbidden(_) | Self::Http(..) => -32600,
            Self::Method => -32601,
            Self::Params(_) | Self::PaymentUsed => -32602,
            Self::Internal(_)
            | Self::Busy(..)
            | Self::Settings(_)
            | Self::NoAgent
            | Self::Demand(_) => -32603,
            Self::TaskNotFound => -32001,
            Self::TaskNotCancelable(_) => -32002,
            Self::PushNotSupported => -32003,
            Self::Unsupported(_) => -32004,
            Self::ContentType(_) => -32005,
            Self::Version => -32009,
        }
    }

    /// HTTP status, status of google.rpc, and reason.
    pub fn rest(&self) -> (u16, &'static str, &'static str) {
        const WRONG: &str = "INVALID_ARGUMENT";
        const STATE: &str = "FAILED_PRECONDITION";
        match self {
            Self::Parse(_) => (400, WRONG, "PARSE_ERROR"),
            Self::Request(_) => (400, WRONG, "INVALID_REQUEST"),
            Self::Method => (404, "NOT_FOUND", "METHOD_NOT_FOUND"),
            Self::Params(_) => (400, WRONG, "INVALID_PARAMS"),
            Self::Internal(_) => (500, "INTERNAL", "INTERNAL_ERROR"),
            Self::Settings(_) => (500, "INTERNAL", "SETTINGS"),
            Self::TaskNotFound => (404, "NOT_FOUND", "TASK_NOT_FOUND"),
            Self::TaskNotCancelable(_) => (400, STATE, "TASK_NOT_CANCELABLE"),
            Self::PushNotSupported => (400, STATE, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
            Self::Unsupported(_) => (400, STATE, "UNSUPPORTED_OPERATION"),
            Self::ContentType(_) => (415, WRONG, "CONTENT_TYPE_NOT_SUPPORTED"),
            Self::Version => (400, STATE, "VERSION_NOT_SUPPORTED"),
            Self::NoAgent => (404, "NOT_FOUND", "AGENT_NOT_FOUND"),
            Self::Busy(..) => (503, "UNAVAILABLE", "UNAVAILABLE"),
            Self::PaymentUsed => (409, "ALREADY_EXISTS", "DUPLICATE_NONCE"),
            Self::Demand(_) => (402, STATE, "PAYMENT_REQUIRED"),
            Self::Forbidden(_) => (403, "PERMISSION_DENIED", "FORBIDDEN"),
            Self::Http(status, _) => (*status, WRONG, "INVALID_REQUEST"),
        }
    }

    /// The HTTP status of the error in an answer of JSON-RPC: 200 for what the request itself is told.
    pub fn rpc_status(&self) -> u16 {
        match self {
            Self::Forbidden(_)
            | Self::Http(..)
            | Self::Settings(_)
            | Self::ContentType(_)
            | Self::NoAgent
            | Self::Busy(..)
            | Self::PaymentUsed
            | Self::Demand(_) => self.rest().0,
            _ => 200,
        }
    }

    /// What google.rpc has as details of an error.
    pub fn details(&self) -> Value {
        json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.rest().2,
            "domain": "a2a-protocol.org",
            "metadata": {},
        }])
    }
}

impl From<Forbidden> for A2aError {
    fn from(Forbidden(why): Forbidden) -> Self {
        Self::Forbidden(why)
    }
}

impl From<WrongVariable> for A2aError {
    fn from(error: WrongVariable) -> Self {
        Self::Settings(error.to_string())
    }
}

impl From<HostError> for A2aError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::NoAgent(_) => Self::NoAgent,
            HostError::Web(WebError::Busy) => Self::Busy(error.to_string(), None),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoreError> for A2aError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Busy(error.to_string(), None),
            StoreError::Broken => Self::Internal(error.to_string()),
        }
    }
}

/// Why rows were not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The host takes no more of them.
    #[error("there is no room for more tasks")]
    Full,
    /// What was read is not what was written.
    #[error("the state can not be read")]
    Broken,
}

/// Why something was not signed or proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The host has nothing that gives evidence.
    #[error("this host has no attester: {0}")]
    Unavailable(String),
    /// More evidence is asked for than there can be.
    #[error("the attester is busy: try again later")]
    Busy,
    /// The host failed.
    #[error("the host failed")]
    Failed,
}
