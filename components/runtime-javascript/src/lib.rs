//! QuickJS-ng as a plugin: it runs scripts, handlers and sessions in JavaScript and TypeScript.
//!
//! ```text
//! lib          the world
//! engine       a runtime with its globals, and running code in it to its end
//! runtime      handlers and sessions: what lives on between calls
//! files        the modules of a bundle
//! turn         a turn of a session as a script
//! bytes        the one place that reads the engine's memory
//! native       what the prelude asks Rust for: bytes in and out, chance, time, URLs, digests
//! prelude/     the globals that a browser or Node.js has and a bare engine has not, in JavaScript
//! typescript   TypeScript made JavaScript, with a map of its lines
//! fetch        what scripts send over HTTP, and waiting for it
//! fault        an error in the language's own words
//! ```
//!
//! It keeps nothing between scripts, and draws nothing of chance before one: the host may make an instance ready, copy it, and
//! run a script in each copy.

mod bytes;
mod engine;
mod fault;
mod fetch;
mod files;
mod native;
mod runtime;
mod turn;
mod typescript;

use std::cell::RefCell;

use bindings::exports::hypervisor::plugin::runtime::{Bundle, Guest as Runtime};
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
                export hypervisor:plugin/runtime@0.1.1;
            }
        ",
        generate_all,
    });

    export!(JavaScript with_types_in self);

    use super::JavaScript;
}

struct JavaScript;

thread_local! {
    /// An engine: one that an empty script made ready, or that was set up.
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

impl Guest for JavaScript {
    fn run(source: String, args: Vec<String>) -> Result<(), ScriptError> {
        let engine = taken()?;
        if source.is_empty() && args.is_empty() {
            native::open_streams();
            ENGINE.with(|slot| slot.replace(Some(engine)));
            return Ok(());
        }
        let ended = engine.run(&source, args);
        // The instance ends with its script: giving its objects back one by one would be for nothing.
        std::mem::forget(engine);
        match ended {
            Ok(()) | Err(End::Exit(0)) => Ok(()),
            Err(end) => Err(in_wit(end)),
        }
    }
}

impl Runtime for JavaScript {
    fn open_streams() {
        native::open_streams();
    }

    fn setup(bundle: Bundle) -> Result<(), ScriptError> {
        kept(|engine| engine.set_up(bundle))
    }

    fn call(event: String, context: String) -> Result<String, ScriptError> {
        kept(|engine| engine.call(&event, &context))
    }

    fn evaluate(source: String) -> Result<Option<String>, ScriptError> {
        kept(|engine| engine.evaluate(&source))
    }
}

/// The engine of this instance, made where there is none.
fn taken() -> Result<Engine, ScriptError> {
    let ready = ENGINE.with(RefCell::take);
    let engine = ready.map_or_else(Engine::new, Ok);
    engine.map_err(|error| ScriptError::InternalError(Some(error.to_string())))
}

/// Does something with the engine of this instance, which stays.
fn kept<T>(work: impl FnOnce(&Engine) -> Result<T, End>) -> Result<T, ScriptError> {
    let engine = taken()?;
    let ended = work(&engine);
    engine.leave();
    ENGINE.with(|slot| slot.replace(Some(engine)));
    ended.map_err(in_wit)
}

fn in_wit(end: End) -> ScriptError {
    match end {
        End::Exit(code) => ScriptError::Exit(code),
        End::Invalid(fault) => ScriptError::InvalidSource(fault),
        End::Uncaught(fault) => ScriptError::Uncaught(fault),
        End::Failed(message) => ScriptError::InternalError(Some(message)),
    }
}
