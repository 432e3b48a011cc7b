//! Everything at once, for minutes: nothing fails that was not asked to, and memory stays where it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use hypervisor_bench::error::Result;
use hypervisor_bench::report::{Group, Section, Unit};
use tokio::sync::watch;

use crate::Live;
use crate::kinds::{Kind, finished, work};
use crate::market::{Market, hold_serving};
use crate::outcome::{Outcome, hold, hold_paid};
use crate::tally::Tally;
use crate::watch::{Samples, Watch};

/// Full within seconds: by default it would fill for minutes, and hide what else grows.
const CACHE: &str = "compile_cache = '32 MiB'";

#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Calls at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(9..=2000))]
    workers: u16,
    /// For how long.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(5..))]
    seconds: u16,
    /// These kinds alone.
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Most memory that the host may have, MiB.
    #[arg(long, default_value_t = 1024.0)]
    memory: f64,
    /// Most that it may grow in a minute over the second half, MiB.
    #[arg(long, default_value_t = 48.0)]
    slope: f64,
}

impl Load {
    pub(crate) async fn run(&self, live: Live) -> Result<Outcome> {
        let kinds = Kind::of(self.workers.into(), &self.only);
        let market = Arc::new(Market::open(kinds.len(), CACHE).await?);
        let tally = Tally::default();
        let (over, is_over) = watch::channel(false);
        let watch = Watch::start(&market.host, Duration::from_secs(1));
        let workers = work(&market, &kinds, Duration::ZERO, &tally, &is_over).await?;
        let started = Instant::now();
        let time = Duration::from_secs(self.seconds.into());
        while started.elapsed() < time {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let seconds = started.elapsed().as_secs();
            live.progress(&format!("{seconds} s: {} done", tally.done()));
        }
        over.send_replace(true);
        let rate = tally.done() as f64 / started.elapsed().as_secs_f64();
        let samples = watch.end()?;
        finished(workers).await?;

        let mut section = Section::new(
            "load",
            format!("{} calls at once for {} s", kinds.len(), self.seconds),
        )
        .repeated_by("make load");
        tally
            .groups()
            .into_iter()
            .for_each(|group| section.push(group));
        let mut all = Group::new("all kinds");
        all.add("done", Unit::Count, [tally.done() as f64]);
        all.add("done in a second", Unit::PerSecond, [rate]);
        let failures = tally.failures();
        all.add_with_aim("kinds of errors", Unit::Count, [failures.len() as f64], "0");
        section.push(all);
        section.push(memory(&samples));
        let mut faults = failures;
        let most = samples.most(|sample| sample.resident + sample.children);
        hold(&mut faults, most < self.memory, || {
            format!("{most:.0} MiB of memory, above {:.0} MiB", self.memory)
        });
        let slope = samples.slope(|sample| sample.resident);
        hold(&mut faults, slope < self.slope, || {
            format!(
                "memory grows by {slope:.1} MiB a minute, more than {:.1}",
                self.slope
            )
        });
        let (paid, charged) = (tally.paid(), market.charged().await);
        hold_paid(&mut faults, charged, paid);
        hold_serving(&mut faults, "afterwards", &market.host).await;
        Ok(Outcome::of(section, faults))
    }
}

/// What the host took.
pub(crate) fn memory(samples: &Samples) -> Group {
    let mut group = Group::new("the host's process, each second");
    group.add(
        "resident memory",
        Unit::Mebibytes,
        samples.all(|it| it.resident),
    );
    group.add(
        "without machine code",
        Unit::Mebibytes,
        samples.all(|it| it.own),
    );
    group.add(
        "that of its compilers",
        Unit::Mebibytes,
        samples.all(|it| it.children),
    );
    let (all, own) = (samples.slope(|it| it.resident), samples.slope(|it| it.own));
    let unit = Unit::MebibytesPerMinute;
    group.add("growth over the second half", unit, [all]);
    group.add("growth without machine code", unit, [own]);
    group.add("descriptors", Unit::Count, samples.all(|it| it.descriptors));
    group.add("threads", Unit::Count, samples.all(|it| it.threads));
    group
}
