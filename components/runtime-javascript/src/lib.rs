//! QuickJS-ng as a plugin: it runs scripts in JavaScript and TypeScript.
//!
//! ```text
//! lib          the world
//! engine       a runtime with its globals, and running one script in it to its end
//! bytes        the one place that reads the engine's memory
//! native       what the prelude asks Rust for: bytes in and out, chance, time, URLs, digests
//! prelude/     the globals that a browser or Node.js has and a bare engine has not, in JavaScript
//! typescript   TypeScript made JavaScript, with a map of its lines
//! fault        an error in the language's own words
//! ```
//!
//! It keeps nothing between scripts, and draws nothing of chance before one: the host may make an instance ready, copy it, and
//! run a script in each copy.

mod bytes;
mod engine;
mod fault;
mod native;
mod typescript;

use std::cell::RefCell;

use bindings::exports::hypervisor::plugin::script::{Fault, Guest, ScriptError};

use crate::engine::{End, Engine};

/// What the world needs of the canonical ABI; the macro writes `unsafe` functions.
#[expect(unsafe_code)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package hypervisor:runtime-javascript@0.1.0;

            world runtime-javascript {
                import hypervisor:plugin/crypto@0.1.1;
                export hypervisor:plugin/script@0.1.1;
            }
        ",
        generate_all,
    });

    export!(JavaScript with_types_in self);

    use super::JavaScript;
}

struct JavaScript;

thread_local! {
    /// An engine that an empty script made ready.
    static READY: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

impl Guest for JavaScript {
    fn run(source: String, args: Vec<String>) -> Result<(), ScriptError> {
        let ready = READY.with(RefCell::take);
        let engine = match ready.map_or_else(Engine::new, Ok) {
            Ok(engine) => engine,
            Err(error) => return Err(ScriptError::InternalError(Some(error.to_string()))),
        };
        if source.is_empty() && args.is_empty() {
            READY.with(|slot| slot.replace(Some(engine)));
            return Ok(());
        }
        let end = engine.run(&source, args);
        // The instance ends with its script: giving its objects back one by one would be for nothing.
        std::mem::forget(engine);
        match end {
            End::Ok | End::Exit(0) => Ok(()),
            End::Exit(code) => Err(ScriptError::Exit(code)),
            End::Invalid(fault) => Err(ScriptError::InvalidSource(fault)),
            End::Uncaught(fault) => Err(ScriptError::Uncaught(fault)),
            End::Failed(message) => Err(ScriptError::InternalError(Some(message))),
        }
    }
}
