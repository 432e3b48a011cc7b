//! The load generator: `wrk`, as the peers are measured with it.

use std::process::Command;

use crate::error::{Context, Error, Result};

const CONNECTIONS: &str = "-c32";
const SECONDS: &str = "-d2s";

/// What a URL answered.
pub(crate) struct Load {
    pub(crate) requests_a_second: f64,
    pub(crate) requests: f64,
}

/// Asks a URL as often as it answers, every time with a 2xx status.
pub(crate) fn load(url: &str) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["-t1", CONNECTIONS, SECONDS, url])
        .output()
        .context("wrk (scripts/setup-bench.sh installs it)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(wrong) = text.lines().find(|line| line.contains("Non-2xx")) {
        return Err(Error::new(format!("{url}: {}", wrong.trim())));
    }
    let figure = |find: fn(&str) -> Option<&str>| {
        let found = text.lines().map(str::trim).find_map(find);
        found.and_then(|figure| figure.trim().parse().ok())
    };
    let rate = figure(|line| line.strip_prefix("Requests/sec:"));
    let requests = figure(|line| Some(line.split_once(" requests in ")?.0));
    let load = rate
        .zip(requests)
        .map(|(requests_a_second, requests)| Load {
            requests_a_second,
            requests,
        });
    load.context("wrk gave no figure")
}
