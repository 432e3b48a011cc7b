//! Answers the Agent2Agent protocol, version 1.0, in a host's own name, for each of its public agents.
//!
//! It is a front: a component that exports `wasi:http/incoming-handler`, of which each request has a fresh instance, and that reaches the
//! host's public API and its agents as a stranger does (see [`ports`]). Agents know nothing of the protocol: a message becomes a request
//! ([`input`]), and the answer an artifact ([`output`]); one that speaks the protocol answers with events of its own ([`events`]).
//! docs/A2A.md says what clients see, [`settings`] what the operator sets.
//!
//! The way of a request: [`serve`] is HTTP and JSON-RPC, [`methods`] and [`rest`] name what is asked, [`send`] takes messages and [`tasks`] the rest.
//! A message is run by the instance that took it ([`run`]), whether its client waits or not; it writes what comes of that as events of the
//! task ([`writer`], [`rows`]), and all other instances read along ([`reader`]). A message that comes twice is run once ([`claims`]), what costs
//! money is sold by the host ([`sale`]), and a task is its caller's alone ([`caller`], [`index`]). Only [`wasi`] knows WASI; the rest is plain
//! code that is tested natively. Nothing of a message, an answer or a payment is logged or repeated in an error.

mod caller;
mod card;
mod claims;
mod clock;
mod context;
mod error;
mod events;
mod index;
mod input;
mod message;
mod methods;
mod output;
mod pages;
mod params;
mod pay;
mod ports;
mod reader;
mod reply;
mod rest;
mod rows;
mod run;
mod sale;
mod send;
mod serve;
mod settings;
mod sign;
mod task;
mod tasks;
mod wasi;
mod writer;

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
            package hypervisor:a2a;

            world a2a {
                import hypervisor:plugin/crypto@0.1.1;
                import hypervisor:plugin/attestation@0.1.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
        world: "hypervisor:a2a/a2a",
        generate_all,
    });
}

struct A2a;

wasip2::http::proxy::export!(A2a);

/// How long a request that can not be served may take to be told so.
const UNSET_MS: u64 = 10_000;

impl Guest for A2a {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let settings = Settings::from_environment();
        let timeout = settings.as_ref().map_or(UNSET_MS, |it| it.timeout_ms);
        let world = Wasi::new(timeout, out);
        let incoming = http::incoming(&http::Wasi::within(timeout), &request);
        let settings = settings.as_ref().map_err(Clone::clone);
        serve::serve(&world, settings, incoming);
        world.drain();
    }
}
