//! Answers the Model Context Protocol in a host's own name: what the host runs, and its agents, are tools.
//!
//! It is a front: a component that exports `wasi:http/incoming-handler`, of which each request has a fresh instance, and that reaches the
//! host's public API and its agents, as a stranger does and nothing else (see [`front::ports`]). Programs run by the sealed protocol, with the
//! front as the client ([`run`]). What it takes of the operator is in [`settings`]; docs/MCP.md says what clients see.
//!
//! The way of a request: [`transport`] is HTTP, [`message`] JSON-RPC, [`version`] tells the revisions apart, [`methods`] and
//! [`tools`] answer. It is plain code behind one trait, tested natively. Nothing that it is given to run, and nothing of a payment, is
//! logged or repeated in an error.

mod agents;
mod arguments;
mod builtin;
mod catalogue;
mod content;
mod error;
mod message;
mod methods;
mod names;
mod outcome;
mod report;
mod run;
mod settings;
mod tools;
mod transport;
mod version;
mod x402;

#[cfg(test)]
mod tests;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use front::wasi::{self, Wasi};
use settings::Settings;

struct Mcp;

wasip2::http::proxy::export!(Mcp);

/// How long a request that can not be served may take to be told so.
const UNSET_MS: u64 = 10_000;

impl Guest for Mcp {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let settings = Settings::from_environment();
        let timeout = settings.as_ref().map_or(UNSET_MS, |it| it.timeout_ms);
        let world = Wasi::within(timeout);
        let incoming = wasi::incoming(&world, &request);
        let settings = settings.as_ref().map_err(Clone::clone);
        let outgoing = transport::serve(&world, settings, incoming);
        wasi::outgoing(&Wasi::within(timeout), &outgoing, out);
    }
}
