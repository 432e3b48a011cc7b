//! Logging. Only this project's own events are ever written, at any level an operator asks for: libraries below it
//! trace the bytes they handle, and those are clients' data. Warnings and errors of libraries carry none and pass.

use std::io::IsTerminal;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Form of log lines on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line for machines.
    Json,
}

/// Starts logging. `directives` is the value of `RUST_LOG`; `info` where there is none.
pub fn start(format: LogFormat, directives: Option<&str>) {
    let levels = EnvFilter::new(directives.unwrap_or("info"));
    let subscriber = tracing_subscriber::registry()
        .with(output(format).with_filter(FilterFn::new(may_be_written)))
        .with(levels);
    // Fails only when logging was started before, as tests in one process do.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("hypervisor") || *metadata.level() <= Level::WARN
}

fn output<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let base = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => base.with_target(false).boxed(),
        LogFormat::Json => base.json().flatten_event(true).boxed(),
    }
}
