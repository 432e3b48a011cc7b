//! One engine: a runtime with its globals, and running code in it until it is done.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Error, Function, Module, Object, Persistent,
    Promise, Runtime, TypedArray, Value,
};

use crate::Fault;
use crate::fault::{self, NAME};
use crate::fetch::{Event, Exchanges};
use crate::native::{self, Began};
use crate::typescript::{self, Lines, Unused};

/// Each is called with the functions of [`native`] and an object that they share, in this order.
pub const PRELUDE: [(&str, &str); 9] = [
    ("<inspect>", include_str!("prelude/inspect.js")),
    ("<process>", include_str!("prelude/process.js")),
    ("<timers>", include_str!("prelude/timers.js")),
    ("<bytes>", include_str!("prelude/bytes.js")),
    ("<web>", include_str!("prelude/web.js")),
    ("<streams>", include_str!("prelude/streams.js")),
    ("<messages>", include_str!("prelude/messages.js")),
    ("<fetch>", include_str!("prelude/fetch.js")),
    ("<handler>", include_str!("prelude/handler.js")),
];

/// The modules that a script can import, each the members of a global or of an object of the prelude.
pub const MODULES: [(&str, &str); 4] = [
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

/// An engine, with all that ran in it.
pub struct Engine {
    pub(crate) context: Context,
    pub(crate) shared: Persistent<Object<'static>>,
    pub(crate) asked: Asked,
    pub(crate) began: Began,
    pub(crate) exchanges: Exchanges,
    /// Where the lines of what was TypeScript are.
    pub(crate) lines: Rc<RefCell<Vec<Lines>>>,
    pub(crate) handler: RefCell<Option<Persistent<Function<'static>>>>,
    pub(crate) turns: Cell<u32>,
}

/// How code ended that did not give what it is for.
#[derive(Debug)]
pub enum End {
    /// It ended itself with this code.
    Exit(u8),
    /// It is no program.
    Invalid(Fault),
    /// An error was left.
    Uncaught(Fault),
    /// The engine failed.
    Failed(String),
}

/// What code gave, or how it ended; outside of it an error of the engine.
pub type Ended<T> = Result<Result<T, End>, Error>;

/// How long code runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nothing is left that it waits for.
    Done,
    /// Its promise is settled.
    Settled,
}

impl Engine {
    /// With all globals.
    pub fn new() -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        let context = Context::full(&runtime)?;
        let asked = Asked::default();
        let began = Began::new(Cell::new(Instant::now()));
        let exchanges = Exchanges::default();
        let shared = context.with(|ctx| {
            let shared = Object::new(ctx.clone())?;
            let native = native::functions(&ctx, &asked, &began, &exchanges)?;
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
            began,
            exchanges,
            lines: Rc::default(),
            handler: RefCell::default(),
            turns: Cell::default(),
        })
    }

    /// Runs a script to its end: until it has returned and nothing is left that it waits for.
    pub fn run(&self, source: &str, arguments: Vec<String>) -> Result<(), End> {
        self.within(|ctx, shared| {
            let begin: Function = shared.get("begin")?;
            begin.call::<_, ()>((arguments,))?;
            let promise = match self.started(ctx, shared, source)? {
                Ok(promise) => promise,
                Err(end) => return Ok(Err(end)),
            };
            if let Err(end) = self.drive(ctx, shared, &promise, Until::Done)? {
                return Ok(Err(end));
            }
            if promise.state() == PromiseState::Pending {
                let words =
                    "the script ended at a top-level await that nothing can settle any more";
                return Ok(Err(End::Uncaught(fault::plain(words))));
            }
            let code: f64 = shared.get::<_, Function>("code")?.call(())?;
            Ok(match native::exit_code(code) {
                0 => Ok(()),
                code => Err(End::Exit(code)),
            })
        })
    }

    /// Does something in the engine. Where the code has ended itself, that is how it ended, whatever was under way.
    pub(crate) fn within<T>(
        &self,
        steps: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>) -> Ended<T>,
    ) -> Result<T, End> {
        self.context.with(|ctx| {
            let shared = self.shared.clone().restore(&ctx);
            let ended = shared.and_then(|shared| steps(&ctx, &shared));
            match self.asked.get() {
                Some(code) => Err(End::Exit(code)),
                None => ended.unwrap_or_else(|error| Err(End::Failed(error.to_string()))),
            }
        })
    }

    /// Runs all that is to be run, and waits for timers and for what was sent.
    pub(crate) fn drive<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        promise: &Promise<'js>,
        until: Until,
    ) -> Ended<()> {
        let (next, rejected) = (
            shared.get::<_, Function>("next")?,
            shared.get::<_, Function>("rejected")?,
        );
        loop {
            while ctx.execute_pending_job() {
                if self.asked.get().is_some() {
                    return Ok(Ok(()));
                }
            }
            // A list of one, because a rejection may be for no reason at all.
            if let Some(reasons) = rejected.call::<_, Option<Vec<Value>>>(())? {
                let reason = reasons.into_iter().next();
                return Ok(reason.map_or(Ok(()), |it| Err(self.left(ctx, shared, it))));
            }
            let is_pending = promise.state() == PromiseState::Pending;
            if until == Until::Settled && !is_pending {
                return Ok(Ok(()));
            }
            let is_awaited = self.exchanges.is_awaited();
            let gone_on = match next.call((is_pending || is_awaited,)) {
                Ok(None) if !is_awaited => return Ok(Ok(())),
                Ok(pause) => self.wait(ctx, shared, pause),
                Err(error) => Err(error),
            };
            match gone_on.catch(ctx) {
                Ok(()) => {}
                Err(_) if self.asked.get().is_some() => return Ok(Ok(())),
                Err(error) => {
                    let thrown = value_of(ctx, error)?;
                    return Ok(Err(self.left(ctx, shared, thrown)));
                }
            }
        }
    }

    /// Waits for so many milliseconds, if there is a number, or until something has come of what was sent, and hands that over.
    fn wait<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        pause: Option<f64>,
    ) -> Result<(), Error> {
        // A script that gave numbers another meaning may wait for ever: that is the host's to end.
        let pause = pause.map(|it| match it > 0.0 {
            true => Duration::try_from_secs_f64(it / 1e3).unwrap_or(Duration::MAX),
            false => Duration::ZERO,
        });
        if self.exchanges.is_empty() {
            if let Some(pause) = pause.filter(|it| !it.is_zero()) {
                std::thread::sleep(pause);
            }
            return Ok(());
        }
        let events = self.exchanges.wait(pause);
        let arrived: Function = shared.get("arrived")?;
        for (id, event) in events {
            match event {
                Event::Response { status, headers } => {
                    arrived.call::<_, ()>((id, "response", status, headers))?;
                }
                Event::Piece(bytes) => {
                    let piece = TypedArray::<u8>::new(ctx.clone(), bytes)?;
                    arrived.call::<_, ()>((id, "piece", piece))?;
                }
                Event::End => arrived.call::<_, ()>((id, "end"))?,
                Event::Failed(it) => arrived.call::<_, ()>((id, "failed", it.words, it.code))?,
            }
        }
        Ok(())
    }

    /// Nothing is under way any more: what was sent has handles of the host, which nobody else may have.
    pub fn leave(&self) {
        if self.exchanges.clear() {
            let told = self.within(|_, shared| {
                shared
                    .get::<_, Function>("forget")?
                    .call::<_, ()>(())
                    .map(Ok)
            });
            // It is told again where the next call begins.
            drop(told);
        }
    }

    /// What was thrown and not caught.
    pub(crate) fn left<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        thrown: Value<'js>,
    ) -> End {
        End::Uncaught(fault::of(ctx, shared, thrown, &self.lines.borrow()))
    }

    /// An error of code that was being begun: it is no program, or failed.
    pub(crate) fn unbegun<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        error: CaughtError<'js>,
    ) -> Result<End, Error> {
        let is_syntax = fault::is_syntax(&error);
        let fault = fault::of(ctx, shared, value_of(ctx, error)?, &self.lines.borrow());
        Ok(match is_syntax {
            true => End::Invalid(fault),
            false => End::Uncaught(fault),
        })
    }

    /// Begins a script, as JavaScript or, if it is none, as TypeScript. Gives the promise of its end.
    fn started<'js>(
        &self,
        ctx: &Ctx<'js>,
        shared: &Object<'js>,
        source: &str,
    ) -> Ended<Promise<'js>> {
        let declared = self.declared(ctx, NAME, source);
        let evaluated = declared.and_then(|module| module.eval().catch(ctx));
        Ok(match evaluated {
            Ok((_, promise)) => Ok(promise),
            Err(error) => Err(self.unbegun(ctx, shared, error)?),
        })
    }

    /// A module, of JavaScript or, if it is none, of TypeScript.
    pub(crate) fn declared<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        source: &str,
    ) -> Result<Module<'js>, CaughtError<'js>> {
        let declared = Module::declare(ctx.clone(), name, source).catch(ctx);
        if let Err(error) = &declared
            && fault::is_syntax(error)
            && let Some((script, map)) = typescript::strip(name, source, Unused::Left)
        {
            self.lines.borrow_mut().push(map);
            return Module::declare(ctx.clone(), name, script).catch(ctx);
        }
        declared
    }
}

/// What was thrown.
pub fn value_of<'js>(ctx: &Ctx<'js>, error: CaughtError<'js>) -> Result<Value<'js>, Error> {
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
