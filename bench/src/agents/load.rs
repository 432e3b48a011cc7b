//! The load generator: `wrk`, as the peers are measured with it.

use std::process::Command;

use crate::error::{Context, Error, Result};

const CONNECTIONS: &str = "-c32";
const SECONDS: &str = "-d2s";

/// Requests a second that a URL answers, every one of them with a 2xx status.
pub(crate) fn requests_a_second(url: &str) -> Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", CONNECTIONS, SECONDS, url])
        .output()
        .context("wrk (scripts/setup-bench.sh installs it)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(wrong) = text.lines().find(|line| line.contains("Non-2xx")) {
        return Err(Error::new(format!("{url}: {}", wrong.trim())));
    }
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|figure| figure.trim().parse().ok())
        .context("wrk gave no figure")
}
