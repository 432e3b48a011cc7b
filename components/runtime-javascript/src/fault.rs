//! Errors, in the language's own words.

use rquickjs::{CaughtError, Ctx, Function, Object, Value};

use crate::Fault;
use crate::engine::PRELUDE;
use crate::typescript::Lines;

/// What the script is called in tracebacks.
pub const NAME: &str = "<script>";

/// What the engine says where there is no memory left.
const NO_MEMORY: &str = "out of memory";

/// Longer texts are cut.
const LONGEST_MESSAGE: usize = 16 << 10;
const LONGEST_TRACEBACK: usize = 64 << 10;

/// Whether an error says that the source is no program.
pub fn is_syntax(error: &CaughtError<'_>) -> bool {
    match error {
        CaughtError::Exception(exception) => {
            let name = exception.as_object().get::<_, String>("name");
            name.is_ok_and(|name| name == "SyntaxError")
        }
        CaughtError::Value(_) | CaughtError::Error(_) => false,
    }
}

/// What was thrown, which may be anything.
pub fn of<'js>(ctx: &Ctx<'js>, shared: &Object<'js>, thrown: Value<'js>, lines: &[Lines]) -> Fault {
    let (kind, message, stack) = match thrown.as_object().filter(|it| it.is_error()) {
        Some(error) => {
            let text = |name| text_of(error, name);
            let kind = text("name").unwrap_or_else(|| "Error".to_owned());
            let stack = text("stack").unwrap_or_default();
            (kind, text("message").unwrap_or_default(), stack)
        }
        None => {
            // Something that is no error has neither name nor place.
            let words = inspected(ctx, shared, thrown);
            ("Error".to_owned(), words, String::new())
        }
    };
    if kind == "InternalError" && message == NO_MEMORY {
        return fault("MemoryError", message, &stack, lines);
    }
    fault(&kind, message, &stack, lines)
}

/// What no line of the code is to blame for.
pub fn plain(words: &str) -> Fault {
    fault("Error", words.to_owned(), "", &[])
}

fn fault(kind: &str, message: String, stack: &str, lines: &[Lines]) -> Fault {
    let message = cut(message, LONGEST_MESSAGE);
    let restored = |stack: String, lines: &Lines| lines.restored(&stack);
    let stack = lines.iter().fold(stack.to_owned(), restored);
    let mut traceback = match message.as_str() {
        "" => format!("Uncaught {kind}\n"),
        message => format!("Uncaught {kind}: {message}\n"),
    };
    // The prelude's own places say nothing to who wrote the script.
    for line in stack.lines().filter(|line| !is_inner(line)) {
        traceback.push_str(line);
        traceback.push('\n');
    }
    Fault {
        kind: cut(kind.to_owned(), 256),
        message,
        traceback: cut(traceback, LONGEST_TRACEBACK),
    }
}

fn is_inner(line: &str) -> bool {
    let mut places = PRELUDE.iter().map(|(name, _)| format!("({name}"));
    places.any(|place| line.contains(&place))
}

/// A property that is text; a getter of the script's own may say anything.
fn text_of(error: &Object<'_>, name: &str) -> Option<String> {
    error.get::<_, Option<String>>(name).ok().flatten()
}

/// Anything as text, as `console` shows it; the script may have broken what that takes.
fn inspected<'js>(ctx: &Ctx<'js>, shared: &Object<'js>, thrown: Value<'js>) -> String {
    let inspect = shared.get::<_, Function>("inspect");
    let text = inspect.and_then(|it| it.call::<_, String>((thrown,)));
    text.unwrap_or_else(|_| {
        drop(ctx.catch());
        "something that cannot be shown".to_owned()
    })
}

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}
