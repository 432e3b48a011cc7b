//! The mix of `load` at a moderate rate for long: what grows by little shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use hypervisor_bench::error::Result;
use hypervisor_bench::report::{Group, Section, Unit};
use hypervisor_bench::stats::percentile;
use tokio::sync::watch;

use crate::Live;
use crate::kinds::{Kind, finished, work};
use crate::load::memory;
use crate::market::{Market, hold_serving};
use crate::outcome::{Outcome, hold, hold_paid};
use crate::tally::Tally;
use crate::watch::{Watch, now};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub(crate) struct Soak {
    /// For how long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    minutes: u16,
    /// Calls a second, of all kinds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
    /// These kinds alone, to find out which of them grows.
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Most that the host's memory may grow in a minute over the second half, MiB.
    #[arg(long, default_value_t = 1.0)]
    slope: f64,
}

impl Soak {
    pub(crate) async fn run(&self, live: Live) -> Result<Outcome> {
        // A worker calls once a second at the most.
        let kinds = Kind::of(self.rate.into(), &self.only);
        let pace = Duration::from_secs_f64(kinds.len() as f64 / f64::from(self.rate));
        let market = Arc::new(Market::open(kinds.len(), "").await?);
        let tally = Tally::default();
        let (over, is_over) = watch::channel(false);
        let watch = Watch::start(&market.host, Duration::from_secs(1));
        let workers = work(&market, &kinds, pace, &tally, &is_over).await?;
        let started = Instant::now();
        let (mut done, mut p50, mut p99) = (vec![], vec![], vec![]);
        let (mut files, mut stored) = (vec![], vec![]);
        for minute in 1..=self.minutes {
            tokio::time::sleep((MINUTE * u32::from(minute)).saturating_sub(started.elapsed()))
                .await;
            let mut times = tally.drain();
            let sample = now(&market.host);
            done.push(times.len() as f64);
            p50.push(percentile(&mut times, 50.0));
            p99.push(percentile(&mut times, 99.0));
            files.push(sample.files);
            stored.push(sample.stored);
            live.line(&format!(
                "{minute:>4} min: {:>6} done, p99 {:>8.1} ms, {} kinds of errors, {:>6.1} MiB resident, {:>6.1} of its own, {:>4} descriptors, {:>3} threads, state {} files, {:.1} MiB",
                times.len(),
                percentile(&mut times, 99.0),
                tally.failures().len(),
                sample.resident,
                sample.own,
                sample.descriptors,
                sample.threads,
                sample.files,
                sample.stored,
            ));
        }
        over.send_replace(true);
        let samples = watch.end()?;
        finished(workers).await?;

        let about = format!("{} calls a second for {} min", self.rate, self.minutes);
        let mut section = Section::new("soak", about).repeated_by("make soak");
        let mut each = Group::new("each minute");
        each.add("done", Unit::Count, done);
        each.add("p50", Unit::Milliseconds, p50);
        each.add("p99", Unit::Milliseconds, p99);
        each.add("files of the state", Unit::Count, files);
        each.add("bytes of the state", Unit::Mebibytes, stored);
        section.push(each);
        let mut process = memory(&samples);
        let growth = samples.slope(|it| it.stored);
        process.add("growth of the state", Unit::MebibytesPerMinute, [growth]);
        section.push(process);
        let mut faults = tally.failures();
        let slope = samples.slope(|sample| sample.resident);
        hold(&mut faults, slope < self.slope, || {
            format!(
                "memory grows by {slope:.2} MiB a minute, more than {:.2}",
                self.slope
            )
        });
        let descriptors = samples.slope(|sample| sample.descriptors);
        hold(&mut faults, descriptors < 1.0, || {
            format!("descriptors grow by {descriptors:.2} a minute")
        });
        let threads = samples.slope(|sample| sample.threads);
        hold(&mut faults, threads < 1.0, || {
            format!("threads grow by {threads:.2} a minute")
        });
        let (paid, charged) = (tally.paid(), market.charged().await);
        hold_paid(&mut faults, charged, paid);
        hold_serving(&mut faults, "afterwards", &market.host).await;
        Ok(Outcome::of(section, faults))
    }
}
