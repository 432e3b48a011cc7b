//! Twice as many requests as there are places: the excess is refused at once and told when to come again, and those that have a
//! place take what they take without the excess.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use hypervisor_bench::error::{Context, Error, Result};
use hypervisor_bench::report::{Group, Section, Unit};
use hypervisor_bench::stats::percentile;
use hypervisor_client::protocol::ContentFormat;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession};
use tokio::task::JoinSet;

use crate::market::hold_serving;
use crate::outcome::{Outcome, hold};

const FORMAT: ContentFormat = ContentFormat::Cbor;
/// What each execution sleeps for, milliseconds: its time is no processor's.
const SLEEP: &str = "100";

#[derive(Debug, Clone, Args)]
pub(crate) struct Overload {
    /// Executions at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    slots: u16,
    /// Places in the queue.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=200))]
    queue: u16,
    /// Rounds, each with a full queue and with twice of it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Most that the p99 of those with a place may be, over what it is without the excess.
    #[arg(long, default_value_t = 1.5)]
    ratio: f64,
}

/// What came of requests that were sent at once.
#[derive(Debug, Default)]
struct Burst {
    /// Milliseconds of those that were answered.
    answered: Vec<f64>,
    /// Milliseconds of those that were refused.
    refused: Vec<f64>,
    /// Refused, with nothing said of when to come again.
    unsaid: usize,
    /// Everything else.
    others: Vec<String>,
}

impl Overload {
    pub(crate) async fn run(&self) -> Result<Outcome> {
        let (slots, queue) = (usize::from(self.slots), usize::from(self.queue));
        let host = Host::logging(
            "warn",
            &format!(
                "[limits]\nexecutions = {slots}\nqueue = {queue}\npeer_executions = {slots}\npeer_queue = {queue}\n"
            ),
        );
        let session = Arc::new(RawSession::open(&host).await);
        // Compiled once, and the connections are there.
        burst(&session, slots + 2 * queue).await?;
        let (mut usual, mut rest, mut ratios) = (vec![], vec![], vec![]);
        let (mut refused, mut refusals, mut unsaid, mut faults) = (vec![], vec![], 0, vec![]);
        for _ in 0..self.rounds {
            let mut full = burst(&session, slots + queue).await?;
            let mut over = burst(&session, slots + 2 * queue).await?;
            let [without, with] =
                [&mut full, &mut over].map(|burst| percentile(&mut burst.answered, 99.0));
            hold(&mut faults, full.refused.is_empty(), || {
                format!("{} refused though there was a place", full.refused.len())
            });
            // A place is free again as soon as its execution began.
            hold(&mut faults, over.answered.len() >= slots + queue, || {
                format!(
                    "{} answered, fewer than there are places",
                    over.answered.len()
                )
            });
            faults.append(&mut full.others);
            faults.append(&mut over.others);
            usual.push(without);
            rest.push(with);
            ratios.push(with / without);
            refused.push(over.refused.len() as f64);
            refusals.push(percentile(&mut over.refused, 99.0));
            unsaid += full.unsaid + over.unsaid;
        }
        hold(&mut faults, unsaid == 0, || {
            format!("{unsaid} refusals without Retry-After")
        });
        let some: f64 = refused.iter().sum();
        hold(&mut faults, some > 0.0, || "nothing was refused".to_owned());
        let ratio = percentile(&mut ratios.clone(), 50.0);
        hold(&mut faults, ratio <= self.ratio, || {
            format!("p99 is {ratio:.2} of what it is without the excess")
        });
        hold_serving(&mut faults, "afterwards", &host).await;
        let about = format!(
            "{slots} slots, a queue of {queue}, {} and {} requests at once that sleep for {SLEEP} ms",
            slots + queue,
            slots + 2 * queue
        );
        let mut section = Section::new("overload", about).repeated_by("make load");
        let mut group = Group::new("each round");
        group.add("p99, the queue full", Unit::Milliseconds, usual);
        group.add(
            "p99 of those with a place, twice the queue",
            Unit::Milliseconds,
            rest,
        );
        group.add("with the excess / without", Unit::Ratio, ratios);
        group.add("503 with Retry-After", Unit::Count, refused);
        group.add("p99 of a 503", Unit::Milliseconds, refusals);
        section.push(group);
        Ok(Outcome::of(section, faults))
    }
}

/// So many at once, each sealed before the first is sent.
async fn burst(session: &Arc<RawSession>, many: usize) -> Result<Burst> {
    let program = guest("sleepy");
    let requests = (0..many).map(|_| session.request(&program, None, &[SLEEP.as_bytes()]));
    let requests: Vec<_> = requests.collect();
    let mut sent = JoinSet::new();
    for (request, pending) in requests {
        let session = Arc::clone(session);
        sent.spawn(async move {
            let started = Instant::now();
            let answer = session.send(&request).await;
            let took = started.elapsed().as_secs_f64() * 1e3;
            let awake = (answer.status == 200)
                .then(|| session.open_answer(FORMAT, &pending, &answer).result == b"awake\n");
            (answer, took, awake)
        });
    }
    let mut burst = Burst::default();
    while let Some(came) = sent.join_next().await {
        let (answer, took, awake) = came.context("a client")?;
        match (answer.status, awake) {
            (200, Some(true)) => burst.answered.push(took),
            (503, _) if answer.problem() == "overloaded" => {
                burst.refused.push(took);
                let again = answer.headers.get("retry-after");
                let again = again.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
                burst.unsaid += usize::from(again.is_none_or(|seconds| seconds == 0));
            }
            (status, _) => burst.others.push(format!("an answer of status {status}")),
        }
    }
    match burst.answered.is_empty() {
        true => Err(Error::new("nothing was answered")),
        false => Ok(burst),
    }
}
