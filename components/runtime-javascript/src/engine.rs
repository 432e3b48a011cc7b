//! One engine: a runtime with its globals, and running a script in it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Error, Function, Module, Object, Persistent,
    Promise, Runtime, Value,
};

use crate::Fault;
use crate::fault::{self, NAME};
use crate::native;
use crate::typescript::{self, Lines};

/// Each is called with the functions of [`native`] and an object that they share, in this order.
pub const PRELUDE: [(&str, &str); 5] = [
    ("<inspect>", include_str!("prelude/inspect.js")),
    ("<process>", include_str!("prelude/process.js")),
    ("<timers>", include_str!("prelude/timers.js")),
    ("<bytes>", include_str!("prelude/bytes.js")),
    ("<web>", include_str!("prelude/web.js")),
];

/// The modules that a script can import, each the members of a global or of an object of the prelude.
const MODULES: [(&str, &str); 4] = [
    ("node:process", include_str!("prelude/modules/process.js")),
    ("node:fs", include_str!("prelude/modules/fs.js")),
    (
        "node:timers/promises",
        include_str!("prelude/modules/timers.js"),
    ),
    ("hypervisor", include_str!("prelude/modules/hypervisor.js")),
];

/// The exit code that the script asked for.
pub type Asked = Rc<Cell<Option<u8>>>;

/// An engine that ran nothing yet.
pub struct Engine {
    context: Context,
    shared: Persistent<Object<'static>>,
    asked: Asked,
}

/// How a script ended.
#[derive(Debug)]
pub enum End {
    /// At its end.
    Ok,
    /// It ended itself with this code.
    Exit(u8),
    /// It is no program.
    Invalid(Fault),
    /// An error was left.
    Uncaught(Fault),
    /// The engine failed.
    Failed(String),
}

impl Engine {
    /// With all globals.
    pub fn new() -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        let context = Context::full(&runtime)?;
        let asked = Asked::default();
        let shared = context.with(|ctx| {
            let shared = Object::new(ctx.clone())?;
            let native = native::functions(&ctx, &asked)?;
            for (name, source) in PRELUDE {
                let mut options = rquickjs::context::EvalOptions::default();
                options.filename = Some(name.to_owned());
                let begin: Function = ctx.eval_with_options(source, options)?;
                begin.call::<_, ()>((native.clone(), shared.clone()))?;
            }
            // Where the modules find it, until they have it.
            ctx.globals().set("__shared", shared.clone())?;
            for (name, source) in MODULES {
                let (_, promise) = Module::declare(ctx.clone(), name, source)?.eval()?;
                promise.finish::<()>()?;
            }
            ctx.globals().remove("__shared")?;
            Ok::<_, Error>(Persistent::save(&ctx, shared))
        })?;
        let stop = Rc::clone(&asked);
        runtime.set_interrupt_handler(Some(Box::new(move || stop.get().is_some())));
        let told = shared.clone();
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                let shared = told.clone().restore(&ctx);
                let told = shared.and_then(|it| it.get::<_, Function>("rejection"));
                let told = told.and_then(|it| it.call::<_, ()>((promise, reason, is_handled)));
                // There is nobody to tell that it failed: no memory is left, and the script meets that itself.
                drop(told);
            },
        )));
        Ok(Self {
            context,
            shared,
            asked,
        })
    }

    /// Runs a script to its end: until it has returned and nothing is left that it waits for.
    pub fn run(&self, source: &str, arguments: Vec<String>) -> End {
        self.context.with(|ctx| {
            let end = self.steps(&ctx, source, arguments);
            match self.asked.get() {
                // Whatever was under way: that ended it.
                Some(code) => End::Exit(code),
                None => end.unwrap_or_else(|error| End::Failed(error.to_string())),
            }
        })
    }

    fn steps<'js>(
        &self,
        ctx: &Ctx<'js>,
        source: &str,
        arguments: Vec<String>,
    ) -> Result<End, Error> {
        let shared = self.shared.clone().restore(ctx)?;
        shared
            .get::<_, Function>("begin")?
            .call::<_, ()>((arguments,))?;
        let (promise, lines) = match started(ctx, &shared, source)? {
            Ok(started) => started,
            Err(end) => return Ok(end),
        };
        let left =
            |error: Value<'js>| End::Uncaught(fault::of(ctx, &shared, error, lines.as_ref()));
        let (next, rejected) = (
            shared.get::<_, Function>("next")?,
            shared.get::<_, Function>("rejected")?,
        );
        loop {
            while ctx.execute_pending_job() {
                if self.asked.get().is_some() {
                    return Ok(End::Ok);
                }
            }
            // A list of one, because a rejection may be for no reason at all.
            if let Some(reasons) = rejected.call::<_, Option<Vec<Value>>>(())? {
                return Ok(reasons.into_iter().next().map_or(End::Ok, left));
            }
            match next.call::<_, Option<f64>>(()).catch(ctx) {
                Ok(None) => break,
                Ok(Some(pause)) if pause > 0.0 => {
                    // A script that gave numbers another meaning may wait for ever: that is the host's to end.
                    let pause = Duration::try_from_secs_f64(pause / 1e3);
                    std::thread::sleep(pause.unwrap_or(Duration::MAX));
                }
                Ok(Some(_)) => {}
                Err(_) if self.asked.get().is_some() => return Ok(End::Ok),
                Err(error) => return Ok(left(value_of(ctx, error)?)),
            }
        }
        if promise.state() == PromiseState::Pending {
            return Ok(End::Uncaught(fault::unsettled()));
        }
        let code: f64 = shared.get::<_, Function>("code")?.call(())?;
        Ok(End::Exit(native::exit_code(code)))
    }
}

/// A script that was begun: what it gives in the end, and where its lines were before they were TypeScript's.
type Started<'js> = (Promise<'js>, Option<Lines>);

/// Begins a script, as JavaScript or, if it is none, as TypeScript.
fn started<'js>(
    ctx: &Ctx<'js>,
    shared: &Object<'js>,
    source: &str,
) -> Result<Result<Started<'js>, End>, Error> {
    let mut lines = None;
    let mut declared = Module::declare(ctx.clone(), NAME, source).catch(ctx);
    if let Err(error) = &declared
        && fault::is_syntax(error)
        && let Some((script, map)) = typescript::strip(source)
    {
        lines = Some(map);
        declared = Module::declare(ctx.clone(), NAME, script).catch(ctx);
    }
    let evaluated = declared.and_then(|module| module.eval().catch(ctx));
    Ok(match evaluated {
        Ok((_, promise)) => Ok((promise, lines)),
        Err(error) => {
            let is_syntax = fault::is_syntax(&error);
            let fault = fault::of(ctx, shared, value_of(ctx, error)?, lines.as_ref());
            Err(match is_syntax {
                true => End::Invalid(fault),
                false => End::Uncaught(fault),
            })
        }
    })
}

fn value_of<'js>(ctx: &Ctx<'js>, error: CaughtError<'js>) -> Result<Value<'js>, Error> {
    match error {
        CaughtError::Exception(exception) => Ok(exception.into_value()),
        CaughtError::Value(value) => Ok(value),
        CaughtError::Error(error) => {
            // What Rust said, as an error of the language.
            let made = rquickjs::Exception::from_message(ctx.clone(), &error.to_string())?;
            Ok(made.into_value())
        }
    }
}
