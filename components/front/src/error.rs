//! What goes wrong between a front and the host.

/// A request does not come from where requests are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub &'static str);

/// A variable of the operator's can not be read. It names the variable, and not what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {what}")]
pub struct WrongVariable {
    /// The name of the variable.
    pub name: &'static str,
    /// What is wrong with its value.
    pub what: String,
}

/// Why a request inside the host had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// Nobody has that name.
    #[error("there is none of that name")]
    NotFound,
    /// The policy does not allow it.
    #[error("the host's policy does not allow it")]
    Denied,
    /// Too many requests are under way.
    #[error("the host has too many requests under way: try again later")]
    Busy,
    /// It would call itself.
    #[error("the call would come back to itself")]
    Loop,
    /// The time was up.
    #[error("no answer came in time")]
    Timeout,
    /// The request can not be made.
    #[error("the request can not be made")]
    Invalid,
    /// The exchange broke off.
    #[error("the answer broke off")]
    Broken,
}

/// Why the host did not say what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no such agent, or none that everybody may know of.
    #[error("there is no agent `{0}`")]
    NoAgent(String),
    /// The host was not reached.
    #[error("the host did not answer: {0}")]
    Web(WebError),
    /// What the host answered is longer than what is read here.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// What the host answered is not what it says it answers.
    #[error("the host's answer can not be read: {0}")]
    Unreadable(&'static str),
    /// The host refused.
    #[error("{0}")]
    Problem(String),
}
