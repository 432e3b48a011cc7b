//! The methods of the protocol, whatever binding they came by.

use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::A2aError;
use crate::ports::World;
use crate::reply::Reply;
use crate::{send, tasks};

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A message, and what comes of it.
    Send,
    /// The same, as it comes.
    Stream,
    /// A task.
    Get,
    /// The caller's tasks.
    List,
    /// Has a task given up.
    Cancel,
    /// What becomes of a task, as it comes.
    Subscribe,
    /// Anything about webhooks.
    Push,
    /// The card for those who are known.
    ExtendedCard,
}

impl Method {
    /// The one of this name in JSON-RPC.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SendMessage" => Self::Send,
            "SendStreamingMessage" => Self::Stream,
            "GetTask" => Self::Get,
            "ListTasks" => Self::List,
            "CancelTask" => Self::Cancel,
            "SubscribeToTask" => Self::Subscribe,
            "CreateTaskPushNotificationConfig"
            | "GetTaskPushNotificationConfig"
            | "ListTaskPushNotificationConfigs"
            | "DeleteTaskPushNotificationConfig" => Self::Push,
            "GetExtendedAgentCard" => Self::ExtendedCard,
            _ => return None,
        })
    }

    /// Whether its parameters come in the body of a request of HTTP.
    pub fn takes_body(self) -> bool {
        matches!(self, Self::Send | Self::Stream)
    }
}

/// Answers one.
pub fn answer<W: World>(
    context: &Context<'_, W>,
    method: Method,
    params: &Map<String, Value>,
    reply: &Reply<'_, W>,
) -> Result<(), A2aError> {
    let result = match method {
        Method::Send => return send::send(context, params, false, reply),
        Method::Stream => return send::send(context, params, true, reply),
        Method::Subscribe => return tasks::subscribe(context, params, reply),
        Method::Get => tasks::get(context, params)?,
        Method::List => tasks::list(context, params)?,
        Method::Cancel => tasks::cancel(context, params)?,
        Method::Push => return Err(A2aError::PushNotSupported),
        Method::ExtendedCard => {
            return Err(A2aError::Unsupported("there is no card but the public one"));
        }
    };
    reply.result(result, Vec::new());
    Ok(())
}
