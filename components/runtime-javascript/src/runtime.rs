//! Handlers and sessions: what lives on in an engine between calls of it.

use std::time::Instant;

use rquickjs::context::EvalOptions;
use rquickjs::promise::PromiseState;
use rquickjs::{CatchResultExt, Ctx, Error, Function, Module, Object, Persistent, Promise};

use crate::bindings::exports::hypervisor::plugin::runtime::Bundle;
use crate::engine::{End, Ended, Engine, Until, value_of};
use crate::fault;
use crate::files::Files;
use crate::turn;

/// What tracebacks call the source that runs before the modules.
const SETUP: &str = "<setup>";

impl Engine {
    /// Loads a bundle.
    pub fn set_up(&self, mut bundle: Bundle) -> Result<(), End> {
        let (setup, main) = (bundle.setup.take(), std::mem::take(&mut bundle.main));
        let files = Files::new(bundle, self.lines.clone());
        let files = files.map_err(|words| End::Invalid(fault::plain(&words)))?;
        let path = match main.as_str() {
            "" => None,
            name => {
                let words = format!("the main module '{name}' is not in the bundle");
                let path = files.found(name.trim_start_matches("./"));
                Some(path.ok_or_else(|| End::Invalid(fault::plain(&words)))?)
            }
        };
        self.context
            .runtime()
            .set_loader(files.clone(), files.clone());
        self.begun()?;
        if let Some(source) = setup {
            self.within(|ctx, shared| {
                let declared = self.declared(ctx, SETUP, &source);
                let evaluated = declared.and_then(|module| module.eval().catch(ctx));
                match evaluated {
                    Ok((_, promise)) => self.settled(ctx, shared, &promise, "the setup"),
                    Err(error) => Ok(Err(self.unbegun(ctx, shared, error)?)),
                }
            })?;
        }
        if let Some(path) = path {
            self.within(|ctx, shared| self.imported(ctx, shared, &path))?;
        }
        self.collected();
        Ok(())
    }

    /// Imports the main module and takes its handler.
    fn imported<'js>(&self, ctx: &Ctx<'js>, shared: &Object<'js>, path: &str) -> Ended<()> {
        let imported = Module::import(ctx, format!("./{path}")).catch(ctx);
        let promise = match imported {
            Ok(promise) => promise,
            Err(error) => return Ok(Err(self.unbegun(ctx, shared, error)?)),
        };
        if let Err(end) = self.settled(ctx, shared, &promise, "a module")? {
            return Ok(Err(end));
        }
        let module: Object = promise.result().unwrap_or(Err(Error::WouldBlock))?;
        let handler: Function = shared.get("handler")?;
        Ok(
            match handler.call::<_, Function>((module, path)).catch(ctx) {
                Ok(handler) => {
                    let handler = Persistent::save(ctx, handler);
                    self.handler.replace(Some(handler));
                    Ok(())
                }
                Err(error) => Err(self.left(ctx, shared, value_of(ctx, error)?)),
            },
        )
    }

    /// Calls the handler. All of it is JSON.
    pub fn call(&self, event: &str, context: &str) -> Result<String, End> {
        self.begun()?;
        self.within(|ctx, shared| {
            let Some(handler) = self.handler.borrow().clone() else {
                let words = "there is no handler: the bundle that was set up names no main module";
                return Ok(Err(End::Uncaught(fault::plain(words))));
            };
            let answer: Function = shared.get("answer")?;
            let handler = handler.restore(ctx)?;
            let promise: Promise = answer.call((handler, event, context))?;
            if let Err(end) = self.settled(ctx, shared, &promise, "the handler")? {
                return Ok(Err(end));
            }
            promise.result().unwrap_or(Err(Error::WouldBlock)).map(Ok)
        })
    }

    /// Runs a turn of a session.
    pub fn evaluate(&self, source: &str) -> Result<Option<String>, End> {
        if source.trim().is_empty() {
            return Ok(None);
        }
        self.begun()?;
        let turn = self.turns.get().saturating_add(1);
        self.turns.set(turn);
        let ended = self.within(|ctx, shared| {
            let mut options = EvalOptions::default();
            let name = format!("<turn {turn}>");
            let (script, lines) = turn::rewritten(&name, source);
            self.lines.borrow_mut().extend(lines);
            options.filename = Some(name);
            // What is assigned without a declaration is a global, as every console has it.
            options.strict = false;
            options.promise = true;
            let promise: Promise = match ctx.eval_with_options(script, options).catch(ctx) {
                Ok(promise) => promise,
                Err(error) => return Ok(Err(self.unbegun(ctx, shared, error)?)),
            };
            if let Err(end) = self.settled(ctx, shared, &promise, "the turn")? {
                return Ok(Err(end));
            }
            let value: Object = promise.result().unwrap_or(Err(Error::WouldBlock))?;
            let shown: Function = shared.get("shown")?;
            shown.call((value,)).map(Ok)
        });
        self.collected();
        ended
    }

    /// Nothing of the time before is left: no timer, no clock, no exit.
    fn begun(&self) -> Result<(), End> {
        self.asked.set(None);
        self.began.set(Instant::now());
        self.within(|_, shared| {
            shared
                .get::<_, Function>("begin")?
                .call::<_, ()>((Vec::<String>::new(),))?;
            let renew: Function = shared.get("renew")?;
            renew.call::<_, ()>(()).map(Ok)
        })
    }

    /// Waits until a promise is settled; an error where it is not kept.
    fn settled<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        promise: &Promise<'js>,
        who: &str,
    ) -> Ended<()> {
        if let Err(end) = self.drive(ctx, shared, promise, Until::Settled)? {
            return Ok(Err(end));
        }
        Ok(match promise.state() {
            PromiseState::Resolved => Ok(()),
            PromiseState::Pending => {
                let words = format!("{who} waits for a promise that nothing can settle any more");
                Err(End::Uncaught(fault::plain(&words)))
            }
            PromiseState::Rejected => {
                drop(promise.result::<rquickjs::Value>());
                Err(self.left(ctx, shared, ctx.catch()))
            }
        })
    }

    /// What is dead is not kept, and what was under way is dropped before that.
    fn collected(&self) {
        self.leave();
        self.context.runtime().run_gc();
    }
}
