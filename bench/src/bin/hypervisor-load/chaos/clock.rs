//! A clock that goes forward and back under the host alone: libfaketime stands between it and the system's clock of the day, and leaves
//! the clock that only goes forward.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::Unit;
use hypervisor_tests::Host;
use hypervisor_tests::payments::kills::settings;
use hypervisor_tests::payments::orders::FLOWS;
use hypervisor_tests::payments::{Chain, Facilitator};

use super::buyers::{Bought, Buyers, Wares};
use super::{Scenario, WHOLE};
use crate::market::hold_serving;
use crate::outcome::{Outcome, hold};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const BUYERS: usize = 2;
/// How far the host's clock is from the true one, seconds, one after the other.
const SKEWS: [i64; 6] = [0, 40, -40, 3600, -3600, 0];

pub(super) async fn run() -> Result<Outcome> {
    let skews = SKEWS.map(|skew| format!("{skew:+}")).join(", ");
    let mut section = Scenario::Clock.section(format!(
        "seconds from the true time: {skews}; {BUYERS} buyers"
    ));
    if !Path::new(LIBRARY).exists() {
        return Ok(Outcome::skipped(
            section,
            "no libfaketime (Debian's package)",
        ));
    }
    let mut faults = Vec::new();
    for flow in FLOWS {
        let folder = tempfile::tempdir().context("a folder")?;
        let file = folder.path().join("skew");
        set(&file, 0)?;
        let chain = Arc::new(Chain::start());
        let facilitator = Facilitator::start(&chain);
        let config = settings(flow, BUYERS, &chain, facilitator.url(), chain.rpc_url());
        let path = file.display().to_string();
        let environment = [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", path.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let host = Arc::new(Host::surrounded(environment.into(), "warn", &config));
        let wares = Wares::of(flow, &host, &chain).await;
        let mut all = Bought::default();
        let mut measured = Vec::new();
        for skew in SKEWS {
            set(&file, skew)?;
            let off = skew_of(&host).await? - skew as f64;
            measured.push(off);
            hold(&mut faults, off.abs() < 5.0, || {
                format!("the host's clock is {off:+.0} s from where it was put")
            });
            let buyers = Buyers::start(BUYERS, &wares);
            tokio::time::sleep(WHOLE).await;
            all.add(buyers.end().await?);
            hold_serving(&mut faults, &format!("at {skew:+} s"), &host).await;
        }
        let (mut group, more) = all.check(format!("{flow:?}"), &chain).await;
        group.add("from where the clock was put", Unit::Seconds, measured);
        section.push(group);
        faults.extend(more);
    }
    Ok(Outcome::of(section, faults))
}

/// Moves the clock.
fn set(file: &Path, skew: i64) -> Result<()> {
    // Read at any moment: there in one piece.
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{skew:+}\n")).context("moving a clock")?;
    std::fs::rename(next, file).context("moving a clock")
}

/// How far the host's clock is from this one's, by what a session says of its end; less a lifetime.
async fn skew_of(host: &Host) -> Result<f64> {
    const LIFETIME: f64 = 86_400.0;
    let session = host.client().open_session().await.context("a session")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_secs_f64();
    Ok(session.expires_at() as f64 - LIFETIME - now)
}
