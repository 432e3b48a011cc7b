//! What a host tells of itself: its log, what the last requests took, and [`metrics`].
//!
//! Only this project's own events are ever written, at any level an operator asks for: libraries below it
//! trace the bytes they handle, and those are clients' data. Warnings and errors of libraries carry none and pass, but for those
//! that a guest or a client can have written as often as it likes. Plugins' own words are written where the operator names
//! their target, and not for a level alone.

mod lines;
pub mod metrics;
mod parent;
mod request;
mod spans;

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use hypervisor_runtime::PLUGIN_LOG;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

pub use lines::Lines;
pub use lines::since as lines_since;
pub use request::{Request, carried, request};
pub use spans::{Spans, Stepped, Traced, done, export, failed, spans_since, stepped};

/// Libraries whose warnings are about what a guest or a peer did.
const TALKATIVE: [&str; 4] = ["wasmtime_wasi_http", "wasmtime_wasi", "hyper", "h2"];

/// Form of log lines on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line for machines.
    Json,
}

/// What may be said of levels at the most, bytes.
const DIRECTIVES: usize = 1_024;
/// Whether plugins' own words are written.
static PLUGINS: AtomicBool = AtomicBool::new(false);
/// The levels in force, as they were asked for.
static LEVELS: Mutex<String> = Mutex::new(String::new());
/// Puts other levels in their place.
static CHANGE: OnceLock<Change> = OnceLock::new();

type Change = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Starts logging. `directives` is the value of `RUST_LOG`; `info` where there is none.
pub fn start(format: LogFormat, directives: Option<&str>) {
    let directives = directives.unwrap_or("info");
    let (levels, change) = reload::Layer::new(EnvFilter::new(directives));
    note(directives);
    let may_be_written = |metadata: &Metadata<'_>| match metadata.target() {
        PLUGIN_LOG => PLUGINS.load(Ordering::Relaxed),
        _ => is_safe(metadata),
    };
    let writer = lines::Keeping(std::io::stderr);
    let subscriber = tracing_subscriber::registry()
        .with(output(format, writer).with_filter(FilterFn::new(may_be_written)))
        .with(levels);
    let change: Change = Box::new(move |levels| change.reload(levels));
    CHANGE.get_or_init(|| change);
    // Fails only when logging was started before, as tests in one process do.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(panicked));
}

/// The levels in force, as `RUST_LOG` has them.
pub fn levels() -> String {
    LEVELS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Sets the levels, as `RUST_LOG` has them. What may be written at all stays the same.
///
/// # Errors
/// What is wrong with them.
pub fn set_levels(directives: &str) -> Result<(), String> {
    let directives = directives.trim();
    if directives.is_empty() || directives.len() > DIRECTIVES {
        return Err(
            "levels are written as in RUST_LOG: `info`, or `debug,plugin=debug`".to_owned(),
        );
    }
    let levels = EnvFilter::try_new(directives).map_err(|e| format!("`{directives}`: {e}"))?;
    let change = CHANGE.get().ok_or("this host has no log")?;
    // Before the levels: whether a line may be written is asked again when they change, and remembered.
    note(directives);
    change(levels).map_err(|e| e.to_string())
}

fn note(directives: &str) {
    PLUGINS.store(names(directives, PLUGIN_LOG), Ordering::Relaxed);
    directives.clone_into(&mut LEVELS.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Whether one of the directives is about this target.
fn names(directives: &str, target: &str) -> bool {
    let mut targets = directives.split(',').map(|it| it.split(['=', '[']).next());
    targets.any(|named| named.is_some_and(|named| named.trim() == target))
}

fn is_safe(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let krate = target.split("::").next().unwrap_or(target);
    target.starts_with("hypervisor")
        || (*metadata.level() <= Level::WARN && !TALKATIVE.contains(&krate))
}

/// Writes where a panic was, and not what it said: that may be made of a client's data.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "a fault in the host: a task panicked");
}

/// Fields of a line of text, and the id of the request that it is about.
struct OfRequest<F>(F);

impl<'w, F: FormatFields<'w>> FormatFields<'w> for OfRequest<F> {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'w>,
        fields: R,
    ) -> std::fmt::Result {
        if let Some(id) = request() {
            write!(writer, "request_id={} ", id.simple())?;
        }
        self.0.format_fields(writer, fields)
    }
}

impl<S, N, F> FormatEvent<S, N> for OfRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    /// Of a line that is a JSON object.
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(id) = request() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let object = line.trim_end();
        let object = object.strip_suffix('}').unwrap_or(object);
        writeln!(writer, "{object},\"request_id\":\"{}\"}}", id.simple())
    }
}

fn output<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => base
            .with_target(false)
            .fmt_fields(OfRequest(DefaultFields::new()))
            .boxed(),
        LogFormat::Json => base
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(OfRequest)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use http::Method;

    use super::*;

    /// What is written of a line within a request and one without, and the request's id.
    fn written(format: LogFormat) -> (String, String) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let subscriber =
            tracing_subscriber::registry().with(output(format, move || Sink(sink.clone())));
        let request = Request::begin(&Method::GET, None, None);
        tracing::subscriber::with_default(subscriber, || {
            let within = request.run(async { tracing::info!(size = 5, "{}", "}within}") });
            pin!(within)
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready();
            tracing::info!("without");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        (text, request.id().simple().to_string())
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_about_a_request_have_its_id_and_others_none() {
        let (text, id) = written(LogFormat::Text);
        let (within, without) = text.trim_end().split_once('\n').unwrap();
        assert!(within.contains(&format!("request_id={id} ")), "{within}");
        assert!(
            within.contains("}within}") && within.contains("size=5"),
            "{within}"
        );
        assert!(!without.contains("request_id"), "{without}");

        let (text, id) = written(LogFormat::Json);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        assert_eq!(lines[0]["request_id"], id);
        assert_eq!(
            (&lines[0]["message"], &lines[0]["size"]),
            (&"}within}".into(), &5.into())
        );
        assert!(lines[1].get("request_id").is_none());
    }

    #[test]
    fn plugins_words_need_their_target_named() {
        for directives in ["info", "trace", "debug,hypervisor=trace", "plugins=debug"] {
            assert!(!names(directives, PLUGIN_LOG), "{directives}");
        }
        for directives in [
            "plugin=debug",
            "info, plugin=debug",
            "plugin",
            "plugin[request]=debug",
        ] {
            assert!(names(directives, PLUGIN_LOG), "{directives}");
        }
    }
}
