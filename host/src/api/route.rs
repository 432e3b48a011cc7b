//! The routes that run something sealed.

use hypervisor_protocol::Operation;

/// One route: its path, and what its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    /// Promises evidence of the result.
    pub(super) attested: bool,
}

const fn route(path: &'static str, operation: Operation) -> Route {
    Route {
        path,
        operation,
        attested: false,
    }
}

const fn attested(path: &'static str, operation: Operation) -> Route {
    Route {
        attested: true,
        ..route(path, operation)
    }
}

pub(super) const WASM: Route = route("/test/execute/wasm", Operation::Wasm);
pub(super) const PYTHON: Route = route("/test/policy/unsafe/python", Operation::Python);

pub(super) const ATTESTED_PYTHON: Route =
    attested("/test/policy/unsafe/python/attest", Operation::Python);

pub(super) const PAID_WASM: Route = route("/x402_execute/test/wasm", Operation::Wasm);
pub(super) const PAID_ATTESTED_WASM: Route =
    attested("/x402_execute/verifiable/wasm", Operation::Wasm);
pub(super) const PAID_PYTHON: Route = route("/x402_policy/unsafe/python", Operation::Python);
pub(super) const PAID_ATTESTED_PYTHON: Route =
    attested("/x402_policy/unsafe/python/attest", Operation::Python);

/// The paths of the paid routes.
pub const PAID: [&str; 4] = [
    PAID_WASM.path,
    PAID_ATTESTED_WASM.path,
    PAID_PYTHON.path,
    PAID_ATTESTED_PYTHON.path,
];
