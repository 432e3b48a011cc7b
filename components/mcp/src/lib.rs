//! Answers the Model Context Protocol in a host's own name: what the host runs, and its agents, are tools, and agents that are servers of
//! the protocol themselves have a path each.
//!
//! It is a front: a component that exports `wasi:http/incoming-handler`, of which each request has a fresh instance, and that reaches the
//! host's public API and its agents, as a stranger does and nothing else (see [`front::ports`]). Programs run by the sealed protocol, with the
//! front as the client ([`run`]). What it takes of the operator is in [`settings`]; docs/MCP.md says what clients see.
//!
//! The way of a request: [`transport`] is HTTP, [`message`] JSON-RPC, [`version`] tells the revisions apart, [`methods`] and
//! [`tools`] answer, or [`server`] asks the agent that does, and [`reply`] brings the answer to the client. It is plain code behind
//! traits ([`ports`]), tested natively; only [`wasi`] knows WASI. Nothing that it is given to run, and nothing of a payment, is
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
mod ports;
mod reply;
mod report;
mod run;
mod server;
mod settings;
mod tools;
mod transport;
mod version;
mod wasi;
mod x402;

#[cfg(test)]
mod tests;

use front::wasi as http;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use settings::Settings;
use wasi::Wasi;

/// What is not of `wasi:cli` and `wasi:http`.
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hypervisor:mcp;

            world mcp {
                import hypervisor:plugin/crypto@0.1.1;
                import wasi:keyvalue/store@0.2.0-draft;
            }
        ",
        world: "hypervisor:mcp/mcp",
        generate_all,
    });
}

struct Mcp;

wasip2::http::proxy::export!(Mcp);

/// How long a request that can not be served may take to be told so.
const UNSET_MS: u64 = 10_000;

impl Guest for Mcp {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let settings = Settings::from_environment();
        let timeout = settings.as_ref().map_or(UNSET_MS, |it| it.timeout_ms);
        let incoming = http::incoming(&http::Wasi::within(timeout), &request);
        let settings = settings.as_ref().map_err(Clone::clone);
        // Whoever waited to the end is told so.
        let world = Wasi::within(timeout, timeout.saturating_add(UNSET_MS), out);
        if let Some(whole) = transport::serve(&world, settings, incoming) {
            world.answer(&whole);
        }
    }
}
