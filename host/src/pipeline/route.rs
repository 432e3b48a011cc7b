//! The routes that run something sealed.

use std::borrow::Cow;

use hypervisor_protocol::Operation;

use crate::agents::PREFIX;
use crate::executor::Language;

/// One route: its path, and what its body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) path: Cow<'static, str>,
    pub(crate) operation: Operation,
    /// Promises evidence of the result.
    pub(crate) attested: bool,
}

const fn route(path: &'static str, operation: Operation) -> Route {
    Route {
        path: Cow::Borrowed(path),
        operation,
        attested: false,
    }
}

const fn attested(path: &'static str, operation: Operation) -> Route {
    Route {
        path: Cow::Borrowed(path),
        operation,
        attested: true,
    }
}

impl Route {
    /// Whether it has a price.
    pub(crate) fn is_paid(&self) -> bool {
        PAID_ROUTES.contains(&self.path.as_ref())
    }

    /// The language of what the caller brings, if it is a script.
    pub(crate) fn language(&self) -> Option<Language> {
        match self.operation {
            Operation::Python => Some(Language::Python),
            Operation::Javascript => Some(Language::Javascript),
            _ => None,
        }
    }

    /// Whether the caller brings what runs, or brought it.
    pub(crate) fn brings_program(&self) -> bool {
        self.operation == Operation::Wasm || self.language().is_some() || self.needs_environments()
    }

    /// Whether it runs something in an environment, or has more kept of one.
    pub(crate) fn needs_environments(&self) -> bool {
        matches!(
            self.operation,
            Operation::Setup
                | Operation::Execute
                | Operation::Evaluate
                | Operation::Fork
                | Operation::Extend
        )
    }

    /// A sealed call of the agent that the path names.
    pub(crate) fn of_agent(reference: &str) -> Self {
        Self {
            path: format!("{PREFIX}{reference}").into(),
            operation: Operation::Agent,
            attested: false,
        }
    }
}

pub(crate) const WASM: Route = route("/test/execute/wasm", Operation::Wasm);
pub(crate) const PYTHON: Route = route("/test/policy/unsafe/python", Operation::Python);
pub(crate) const ATTESTED_PYTHON: Route =
    attested("/test/policy/unsafe/python/attest", Operation::Python);
pub(crate) const JAVASCRIPT: Route = route("/test/policy/unsafe/javascript", Operation::Javascript);
pub(crate) const ATTESTED_JAVASCRIPT: Route = attested(
    "/test/policy/unsafe/javascript/attest",
    Operation::Javascript,
);

pub(crate) const DEPLOY: Route = route("/agent/deploy", Operation::Deploy);
pub(crate) const LIST: Route = route("/agent/list", Operation::List);
pub(crate) const LOGS: Route = route("/agent/logs", Operation::Logs);

pub(crate) const SETUP: Route = route("/environments/setup", Operation::Setup);
pub(crate) const EXECUTE: Route = route("/environments/execute", Operation::Execute);
pub(crate) const EVALUATE: Route = route("/environments/evaluate", Operation::Evaluate);
pub(crate) const FORK: Route = route("/environments/fork", Operation::Fork);
pub(crate) const EXTEND: Route = route("/environments/extend", Operation::Extend);
pub(crate) const ENVIRONMENT_LIST: Route = route("/environments/list", Operation::EnvironmentList);
pub(crate) const ENVIRONMENT_LOG: Route = route("/environments/log", Operation::EnvironmentLog);
pub(crate) const ENVIRONMENT_REMOVE: Route =
    route("/environments/remove", Operation::EnvironmentRemove);

/// The paths of the paid routes.
pub const PAID_ROUTES: [&str; 11] = [
    "/x402_execute/test/wasm",
    "/x402_execute/verifiable/wasm",
    "/x402_policy/unsafe/python",
    "/x402_policy/unsafe/python/attest",
    "/x402_policy/unsafe/javascript",
    "/x402_policy/unsafe/javascript/attest",
    "/x402_environments/setup",
    "/x402_environments/execute",
    "/x402_environments/evaluate",
    "/x402_environments/fork",
    "/x402_environments/extend",
];
pub(crate) const PAID_WASM: Route = route(PAID_ROUTES[0], Operation::Wasm);
pub(crate) const PAID_ATTESTED_WASM: Route = attested(PAID_ROUTES[1], Operation::Wasm);
pub(crate) const PAID_PYTHON: Route = route(PAID_ROUTES[2], Operation::Python);
pub(crate) const PAID_ATTESTED_PYTHON: Route = attested(PAID_ROUTES[3], Operation::Python);
pub(crate) const PAID_JAVASCRIPT: Route = route(PAID_ROUTES[4], Operation::Javascript);
pub(crate) const PAID_ATTESTED_JAVASCRIPT: Route = attested(PAID_ROUTES[5], Operation::Javascript);
pub(crate) const PAID_SETUP: Route = route(PAID_ROUTES[6], Operation::Setup);
pub(crate) const PAID_EXECUTE: Route = route(PAID_ROUTES[7], Operation::Execute);
pub(crate) const PAID_EVALUATE: Route = route(PAID_ROUTES[8], Operation::Evaluate);
pub(crate) const PAID_FORK: Route = route(PAID_ROUTES[9], Operation::Fork);
pub(crate) const PAID_EXTEND: Route = route(PAID_ROUTES[10], Operation::Extend);
