//! The routes that run something sealed.

use std::borrow::Cow;

use hypervisor_protocol::Operation;

use super::serve::PREFIX;

/// One route: its path, and what its body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) path: Cow<'static, str>,
    pub(super) operation: Operation,
    /// Promises evidence of the result.
    pub(super) attested: bool,
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
    /// A sealed call of the agent that the path names.
    pub(super) fn of_agent(reference: &str) -> Self {
        Self {
            path: format!("{PREFIX}{reference}").into(),
            operation: Operation::Agent,
            attested: false,
        }
    }
}

pub(super) const WASM: Route = route("/test/execute/wasm", Operation::Wasm);
pub(super) const PYTHON: Route = route("/test/policy/unsafe/python", Operation::Python);
pub(super) const ATTESTED_PYTHON: Route =
    attested("/test/policy/unsafe/python/attest", Operation::Python);

pub(super) const DEPLOY: Route = route("/agent/deploy", Operation::Deploy);
pub(super) const LIST: Route = route("/agent/list", Operation::List);
pub(super) const LOGS: Route = route("/agent/logs", Operation::Logs);

/// The paths of the paid routes.
pub const PAID: [&str; 4] = [
    "/x402_execute/test/wasm",
    "/x402_execute/verifiable/wasm",
    "/x402_policy/unsafe/python",
    "/x402_policy/unsafe/python/attest",
];
pub(super) const PAID_WASM: Route = route(PAID[0], Operation::Wasm);
pub(super) const PAID_ATTESTED_WASM: Route = attested(PAID[1], Operation::Wasm);
pub(super) const PAID_PYTHON: Route = route(PAID[2], Operation::Python);
pub(super) const PAID_ATTESTED_PYTHON: Route = attested(PAID[3], Operation::Python);
