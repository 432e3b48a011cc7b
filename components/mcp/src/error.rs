//! What goes wrong, in the terms of JSON-RPC and in words for the model.

use front::error::{Forbidden, HostError, WebError, WrongVariable};
use serde_json::{Map, Value, json};

use crate::version::MODERN;

/// An error of the protocol: the client asked in a way that has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The body is not JSON that is taken here.
    #[error("Parse error: {0}")]
    Parse(&'static str),
    /// The body is JSON, and no single request or notification.
    #[error("Invalid request: {0}")]
    Request(&'static str),
    /// There is no such method.
    #[error("Method not found: {0}")]
    Method(String),
    /// The parameters are not those of the method.
    #[error("Invalid params: {0}")]
    Params(String),
    /// A header says something else than the body.
    #[error("Header mismatch: {0}")]
    Header(String),
    /// A version of the protocol that is not spoken here.
    #[error("Unsupported protocol version")]
    Version(String),
    /// The request does not come from where requests are taken from.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// HTTP that is not this transport's.
    #[error("{1}")]
    Http(u16, &'static str),
    /// The operator's settings can not be read. It names the variable, and not what stands in it.
    #[error("The operator's settings: {0}")]
    Settings(String),
    /// The host can not be asked, or an agent does not answer what it is asked.
    #[error("Internal error: {0}")]
    Internal(String),
    /// There is no agent of that name that is a server.
    #[error("There is no server `{0}`")]
    NoServer(String),
    /// What is asked for takes capabilities that the client did not declare: these.
    #[error("Missing required client capability")]
    Capability(Map<String, Value>),
    /// An error of an agent that is a server itself, in its words.
    #[error("{message}")]
    Agent {
        /// The code of JSON-RPC, or of MCP, or the agent's own.
        code: i32,
        /// What happened.
        message: String,
        /// What programs are told.
        data: Option<Value>,
    },
}

impl RpcError {
    /// The code of JSON-RPC, or of MCP.
    pub fn code(&self) -> i32 {
        match self {
            Self::Parse(_) => -32700,
            Self::Request(_) | Self::Forbidden(_) | Self::Http(..) | Self::NoServer(_) => -32600,
            Self::Method(_) => -32601,
            Self::Params(_) => -32602,
            Self::Settings(_) | Self::Internal(_) => -32603,
            Self::Header(_) => -32020,
            Self::Capability(_) => -32021,
            Self::Version(_) => -32022,
            Self::Agent { code, .. } => *code,
        }
    }

    /// The HTTP status in the revision that has a status for each; the older ones answer 200 for what a request is told.
    pub fn status(&self) -> u16 {
        match self {
            Self::Parse(_)
            | Self::Request(_)
            | Self::Params(_)
            | Self::Header(_)
            | Self::Capability(_)
            | Self::Version(_) => 400,
            Self::Method(_) | Self::NoServer(_) => 404,
            Self::Forbidden(_) => 403,
            Self::Http(status, _) => *status,
            Self::Settings(_) => 500,
            Self::Internal(_) => 200,
            Self::Agent { code, .. } => match code {
                -32601 => 404,
                -32602 | -32021 => 400,
                _ => 200,
            },
        }
    }

    /// The member `error` of a response.
    pub fn to_value(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code().into());
        error.insert("message".to_owned(), self.to_string().into());
        let data = match self {
            Self::Version(requested) => Some(json!({"supported": MODERN, "requested": requested})),
            Self::Capability(required) => Some(json!({"requiredCapabilities": required})),
            Self::Agent { data, .. } => data.clone(),
            _ => None,
        };
        if let Some(data) = data {
            error.insert("data".to_owned(), data);
        }
        Value::Object(error)
    }
}

/// Why a tool has no result of its own. The model is told, and may try otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An argument that the tool can not take.
    #[error("{0}")]
    Argument(String),
    /// There is no such agent, or none that everybody may know of.
    #[error("there is no agent `{0}`: use search_agents")]
    NoAgent(String),
    /// The host was not reached.
    #[error("the host did not answer: {0}")]
    Host(WebError),
    /// The agent was not reached.
    #[error("the agent did not answer: {0}")]
    Agent(WebError),
    /// What the host answered is longer than what is read here.
    #[error("the answer is longer than {0} bytes: ask for less output")]
    TooLong(usize),
    /// What the host answered is not what it says it answers.
    #[error("the host's answer can not be read: {0}")]
    Unreadable(&'static str),
    /// The host refused.
    #[error("{0}")]
    Problem(String),
}

/// The host keeps nothing for this front, or not any more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host does not keep what this takes")]
pub struct Unkept;

impl From<Unkept> for RpcError {
    fn from(error: Unkept) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error {
            HostError::NoAgent(reference) => Self::NoAgent(reference),
            HostError::Web(error) => Self::Host(error),
            HostError::TooLong(most) => Self::TooLong(most),
            HostError::Unreadable(what) => Self::Unreadable(what),
            HostError::Problem(text) => Self::Problem(text),
        }
    }
}

impl From<Forbidden> for RpcError {
    fn from(Forbidden(why): Forbidden) -> Self {
        Self::Forbidden(why)
    }
}

impl From<WrongVariable> for RpcError {
    fn from(error: WrongVariable) -> Self {
        Self::Settings(error.to_string())
    }
}
