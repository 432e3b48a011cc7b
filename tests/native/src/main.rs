//! Runs programs in QuickJS as it is, with nothing beside the language but `process.stdout.write`.
//!
//! A program is a line of JSON on standard input, its modules by their paths; the answer is a line of JSON, what it wrote. Each has an
//! engine of its own. One module, `main.js`, is a script; of more, `main.js` has a handler, which is called once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::function::Func;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Exception, Function, Module, Object, Runtime,
};

/// A program that runs longer is interrupted.
const LONGEST: Duration = Duration::from_secs(60);
const MAIN: &str = "main.js";

type Files = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("standard input or output: {0}")]
    Io(#[from] std::io::Error),
    #[error("a program: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the engine: {0}")]
    Engine(#[from] rquickjs::Error),
}

fn main() -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let files: Files = serde_json::from_str(&line?)?;
        let written = run(files)?;
        serde_json::to_writer(&mut output, &written)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

/// What a program wrote, and after it the error that it left, if it left one.
fn run(files: Files) -> Result<String, Error> {
    let runtime = Runtime::new()?;
    let until = Instant::now() + LONGEST;
    runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() > until)));
    let main = (files.len() == 1)
        .then(|| files.get(MAIN).cloned())
        .flatten();
    let modules = Modules(Rc::new(RefCell::new(files)));
    runtime.set_loader(modules.clone(), modules);
    let context = Context::full(&runtime)?;
    let written = Rc::new(RefCell::new(String::new()));
    context.with(|ctx| {
        give_output(&ctx, &written)?;
        let begun = match main {
            Some(script) => begin_script(&ctx, &script),
            None => begin_bundle(&ctx),
        };
        if let Err(error) = begun.catch(&ctx) {
            let mut written = written.borrow_mut();
            written.push_str(&format!("ended: {}\n", words(&error)));
        }
        while ctx.execute_pending_job() && Instant::now() < until {}
        Ok::<_, Error>(())
    })?;
    Ok(written.take())
}

/// The one thing that a program needs to be heard.
fn give_output(ctx: &Ctx<'_>, written: &Rc<RefCell<String>>) -> rquickjs::Result<()> {
    let (process, stdout) = (Object::new(ctx.clone())?, Object::new(ctx.clone())?);
    let written = Rc::clone(written);
    let write = move |text: String| written.borrow_mut().push_str(&text);
    stdout.set("write", Func::from(write))?;
    process.set("stdout", stdout)?;
    ctx.globals().set("process", process)
}

fn begin_script(ctx: &Ctx<'_>, source: &str) -> rquickjs::Result<()> {
    let module = Module::declare(ctx.clone(), "<script>", source)?;
    module.eval().map(drop)
}

fn begin_bundle(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let module: Object = Module::import(ctx, format!("./{MAIN}"))?.finish()?;
    let handler: Function = module.get("handler")?;
    handler.call::<_, rquickjs::Value>(()).map(drop)
}

fn words(error: &CaughtError<'_>) -> String {
    let text = match error {
        CaughtError::Exception(exception) => exception.message().unwrap_or_default(),
        other => other.to_string(),
    };
    text.replace('\n', " ")
}

/// The modules of a program; what they import are paths within it.
#[derive(Clone)]
struct Modules(Rc<RefCell<Files>>);

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = name
            .starts_with('.')
            .then(|| joined(folder, name))
            .flatten();
        let path = path.filter(|path| self.0.borrow().contains_key(path));
        path.ok_or_else(|| Exception::throw_reference(ctx, &format!("there is no module '{name}'")))
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let source = self.0.borrow().get(name).cloned().unwrap_or_default();
        match name.ends_with(".json") {
            true => {
                let text = serde_json::to_string(&source).unwrap_or_default();
                Module::declare(
                    ctx.clone(),
                    name,
                    format!("export default JSON.parse({text});"),
                )
            }
            false => Module::declare(ctx.clone(), name, source),
        }
    }
}

/// A path from a folder on; none where it leads out of the program.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
