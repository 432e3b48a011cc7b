//! Runs the programs of standard input inside a host and in the bare engine for so many seconds: `differential SECONDS`. Fails where one ends
//! otherwise.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hypervisor_tests::differential::{Bare, Tally, host, next};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(60), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tally: io::Result<Tally> = runtime.block_on(async {
        let (host, bare, mut tally) = (host(), Bare::default(), Tally::default());
        let session = host.session().await;
        let (mut programs, until) = (
            io::stdin().lock(),
            Instant::now() + Duration::from_secs(seconds),
        );
        while Instant::now() < until
            && let Some((seed, program)) = next(&mut programs)?
        {
            tally.compare(&bare, &session, seed, &program).await;
        }
        Ok(tally)
    });
    let (tally, mut out) = (tally?, io::stdout().lock());
    for (end, count) in &tally.agreed {
        writeln!(out, "differential: {count:6} {end}")?;
    }
    writeln!(
        out,
        "differential: {:6} in all, and {} too near to a limit",
        tally.agreed.values().sum::<usize>(),
        tally.near
    )?;
    for (seed, bare, inside) in &tally.differ {
        writeln!(
            out,
            "differential: {seed}: {bare} in the bare engine, {inside} inside"
        )?;
    }
    Ok(match tally.differ.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
