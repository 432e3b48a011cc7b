//! Exporting what a serving host measures, by OTLP: the host itself has keys, and nothing in it that speaks to collectors.

mod metrics;
mod openmetrics;
mod sampling;
mod send;
mod settings;
mod spans;
mod wire;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;

use crate::error::Error;
use crate::operator::Admin;
use sampling::Sampling;
use send::{NotSent, Sender};

pub use settings::Settings;

/// The longest pause after something failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Parts that are read in one round at the most: twice what a host keeps.
const PARTS: usize = 16;

/// Exports from one host.
pub struct Exporter {
    admin: Admin,
    traces: Option<Sender>,
    metrics: Option<Sender>,
    sampling: Sampling,
    resource: Resource,
    span_delay: Duration,
    metric_interval: Duration,
}

/// How far the spans of a host were exported.
#[derive(Debug, Default)]
struct Position {
    started_at: u64,
    next: u64,
}

/// Why a round did not end well, and when to begin the next, where that is known.
struct Failed {
    words: String,
    after: Option<Duration>,
}

impl Exporter {
    /// Of the host at this admin port.
    ///
    /// # Errors
    /// [`Error::Telemetry`] where a file is not what the settings say.
    pub fn new(admin: Admin, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            admin,
            traces: settings.traces.map(Sender::new).transpose()?,
            metrics: settings.metrics.map(Sender::new).transpose()?,
            sampling: settings.sampling,
            resource: wire::resource(&settings.resource),
            span_delay: settings.span_delay,
            metric_interval: settings.metric_interval,
        })
    }

    /// Exports what there is, once.
    ///
    /// # Errors
    /// [`Error::Telemetry`] where the host does not give it, or the collector does not take it.
    pub async fn once(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), Error> {
        let failed = |failed: Failed| Error::Telemetry(failed.words);
        let mut position = Position::default();
        self.export_spans(&mut position, say)
            .await
            .map_err(failed)?;
        self.export_metrics(say).await.map_err(failed)
    }

    /// Exports until it is told to stop, and then what came meanwhile. What goes wrong is said, once, and tried again.
    pub async fn run(&self, stop: watch::Receiver<bool>, say: &(dyn Fn(&str) + Sync)) {
        let traces = async {
            let mut position = Position::default();
            let mut rounds = Rounds::new(self.span_delay, stop.clone());
            while self.traces.is_some() && rounds.go_on {
                let ended = self.export_spans(&mut position, say).await;
                rounds.pause(ended, say).await;
            }
        };
        let metrics = async {
            let mut rounds = Rounds::new(self.metric_interval, stop.clone());
            while self.metrics.is_some() && rounds.go_on {
                let ended = self.export_metrics(say).await;
                rounds.pause(ended, say).await;
            }
        };
        tokio::join!(traces, metrics);
    }

    /// The host keeps the last requests, so that nothing is kept here: what was not taken is read again.
    async fn export_spans(
        &self,
        position: &mut Position,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Failed> {
        let Some(sender) = &self.traces else {
            return Ok(());
        };
        for _ in 0..PARTS {
            let got = self.admin.spans(position.next).await?;
            if got.started_at != position.started_at {
                let is_first = position.started_at == 0;
                *position = Position {
                    started_at: got.started_at,
                    next: 0,
                };
                if !is_first {
                    continue;
                }
            }
            if got.lost > 0 && position.next > 0 {
                say(&format!(
                    "{} requests went by before they were read; their spans are lost",
                    got.lost
                ));
            }
            let taken = got.requests.iter().filter(|it| self.sampling.takes(it));
            let spans: Vec<Span> = taken.flat_map(spans::of).collect();
            if !spans.is_empty() {
                let message = spans::export(&self.resource, spans);
                match sender.send::<ExportTraceServiceResponse>(&message).await {
                    Ok(answer) => {
                        let partly = answer.partial_success.unwrap_or_default();
                        let words = (partly.rejected_spans, partly.error_message);
                        say_partly("spans", &words, say);
                    }
                    Err(NotSent { words, again: None }) => {
                        say(&format!("{words}; these spans are lost"));
                    }
                    Err(not_sent) => return Err(not_sent.into()),
                }
            }
            position.next = got.next;
            if got.requests.is_empty() {
                break;
            }
        }
        Ok(())
    }

    async fn export_metrics(&self, say: &(dyn Fn(&str) + Sync)) -> Result<(), Failed> {
        let Some(sender) = &self.metrics else {
            return Ok(());
        };
        let text = self.admin.metrics().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        let message = openmetrics::read(&text)
            .and_then(|families| metrics::export(&self.resource, families, now));
        let message = message.map_err(|error| Failed {
            words: format!(
                "the host's metrics: {error}; is it of the same version as this program?"
            ),
            after: None,
        })?;
        let sent = sender.send::<ExportMetricsServiceResponse>(&message);
        let partly = sent.await?.partial_success.unwrap_or_default();
        let words = (partly.rejected_data_points, partly.error_message);
        say_partly("data points", &words, say);
        Ok(())
    }
}

/// The pauses between rounds.
struct Rounds {
    interval: Duration,
    stop: watch::Receiver<bool>,
    /// What was said last, and how long the pause after it was.
    trouble: Option<(String, Duration)>,
    go_on: bool,
    is_last: bool,
}

impl Rounds {
    fn new(interval: Duration, stop: watch::Receiver<bool>) -> Self {
        Self {
            interval,
            stop,
            trouble: None,
            go_on: true,
            is_last: false,
        }
    }

    /// Waits for the next round. After a stop there is one more.
    async fn pause(&mut self, ended: Result<(), Failed>, say: &(dyn Fn(&str) + Sync)) {
        let pause = match ended {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    say("exporting again");
                }
                self.interval
            }
            Err(Failed { words, after }) => {
                let last = self.trouble.take();
                if last.as_ref().is_none_or(|(said, _)| *said != words) {
                    say(&words);
                }
                let longer = last.map_or(self.interval, |(_, pause)| pause.saturating_mul(2));
                let pause = after.unwrap_or(longer.min(LONGEST_PAUSE));
                self.trouble = Some((words, pause));
                pause
            }
        };
        self.go_on = !self.is_last;
        if self.go_on {
            self.is_last = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                // Whoever could say it has gone, too.
                _ = self.stop.wait_for(|stops| *stops) => true,
            };
        }
    }
}

/// A collector may take a message and leave some of it.
fn say_partly(what: &str, (rejected, words): &(i64, String), say: &(dyn Fn(&str) + Sync)) {
    if *rejected > 0 || !words.is_empty() {
        say(&format!("the collector left {rejected} {what}: {words}"));
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            words: error.to_string(),
            after: None,
        }
    }
}

impl From<NotSent> for Failed {
    fn from(NotSent { words, again }: NotSent) -> Self {
        Self {
            words,
            after: again.flatten(),
        }
    }
}
