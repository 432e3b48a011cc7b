//! What a host says of itself, for a terminal.

use std::io::{self, Write};
use std::time::Duration;

use hypervisor::admin::{Fleet, Recent, Status};

use crate::output::plain;

/// Requests that `top` shows.
const RECENT: usize = 12;
/// Characters of a digest that are shown.
const DIGEST: usize = 16;
/// Eighths of a line's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes all of it.
///
/// # Errors
/// When it cannot be written.
pub fn print(out: &mut impl Write, status: &Status) -> io::Result<()> {
    head(out, status)?;
    writeln!(out, "listening     {}", status.listening)?;
    writeln!(out, "log level     {}", plain(&status.level))?;
    let attestation = &status.attestation;
    let proof = Some(" (it proves nothing)").filter(|_| attestation.simulated);
    let proof = proof.unwrap_or_default();
    writeln!(
        out,
        "attestation   {}{proof}, {} wait for a quote",
        plain(&attestation.backend),
        attestation.waiting
    )?;
    if let Some(manifest) = &status.manifest_sha384 {
        writeln!(out, "manifest      {}", plain(manifest))?;
    }
    writeln!(out, "log entries   {}", status.log_entries)?;
    for plugin in &status.plugins {
        let rules = plugin.rules_sha256.as_deref().map(short);
        let rules = rules.map_or(String::new(), |rules| format!(", rules {rules}"));
        writeln!(
            out,
            "plugin        {} {}{rules}",
            plain(&plugin.name),
            short(&plugin.sha384)
        )?;
    }
    bounds(out, status)?;
    if let Some(it) = &status.fleet {
        writeln!(out)?;
        fleet(out, it)?;
    }
    steps(out, status)?;
    recent(out, status, usize::MAX)?;
    owners(out, status)
}

/// Writes what changes from moment to moment.
///
/// # Errors
/// When it cannot be written.
pub fn top(out: &mut impl Write, status: &Status) -> io::Result<()> {
    head(out, status)?;
    let last = status.samples.last().copied().unwrap_or_default();
    writeln!(
        out,
        "last 5 s      {} runs, {} refused; half within {}, 95 of 100 within {}",
        last.runs,
        last.refused,
        micros(last.half_us),
        micros(last.most_us)
    )?;
    let counts: Vec<u64> = status.samples.iter().map(|it| it.runs).collect();
    writeln!(out, "ten minutes   {}", bars(&counts, 60))?;
    bounds(out, status)?;
    recent(out, status, RECENT)
}

/// Writes the nodes of a fleet; a star is at the one that says so.
///
/// # Errors
/// When it cannot be written.
pub fn fleet(out: &mut impl Write, fleet: &Fleet) -> io::Result<()> {
    writeln!(
        out,
        "  node      state    sessions  seen   up         version   address"
    )?;
    let now = fleet.nodes.iter().map(|it| it.seen_at).fold(0, u64::max);
    for node in &fleet.nodes {
        writeln!(
            out,
            "{} {:<9} {:<8} {:>8}  {:<6} {:<10} {:<9} {}",
            if node.tag == fleet.tag { '*' } else { ' ' },
            plain(&node.tag),
            plain(&node.state),
            node.sessions,
            span(now.saturating_sub(node.seen_at)),
            span(now.saturating_sub(node.started_at)),
            plain(&node.version),
            plain(node.address.as_deref().unwrap_or("-"))
        )?;
    }
    if let Some(key) = &fleet.key {
        write!(out, "key {}", plain(&key.id))?;
        if let (Some(to), Some(phase)) = (&key.to, &key.phase) {
            write!(out, ", changes to {}: {}", plain(to), plain(phase))?;
        }
        for tag in &key.waits_for {
            write!(out, ", waits for {}", plain(tag))?;
        }
        writeln!(out)?;
    }
    let (takeovers, forwarded) = (fleet.takeovers, fleet.forwarded);
    writeln!(
        out,
        "by this node: {takeovers} takeovers, {forwarded} requests forwarded"
    )
}

fn head(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let up = status.now.saturating_sub(status.started_at);
    writeln!(
        out,
        "hypervisor {}  {}  up {}",
        plain(&status.version),
        plain(&status.state),
        span(up)
    )?;
    match &status.reason {
        Some(reason) => writeln!(out, "not ready     {}", plain(reason)),
        None => Ok(()),
    }
}

fn bounds(out: &mut impl Write, status: &Status) -> io::Result<()> {
    for it in &status.in_use {
        let full = (it.full_since).map(|since| span(status.now.saturating_sub(since)));
        let full = full.map_or(String::new(), |span| format!("  full for {span}"));
        let (name, used, most) = (plain(&it.name), it.used, it.most);
        writeln!(out, "{name:<13} {used} of {most}{full}")?;
    }
    writeln!(out, "sessions      {}", status.sessions)
}

fn steps(out: &mut impl Write, status: &Status) -> io::Result<()> {
    writeln!(out, "\nstep          count  half within  95 of 100 within")?;
    for step in &status.steps {
        writeln!(
            out,
            "{:<10} {:>8} {:>12} {:>17}",
            plain(&step.step),
            step.count,
            micros(step.half_us),
            micros(step.most_us)
        )?;
    }
    Ok(())
}

fn recent(out: &mut impl Write, status: &Status, most: usize) -> io::Result<()> {
    writeln!(
        out,
        "\nago        request     end       received      sent       cpu      wall    memory"
    )?;
    for Recent {
        at,
        kind,
        outcome,
        received_bytes,
        sent_bytes,
        cpu_us,
        wall_us,
        peak_memory_bytes,
    } in status.recent.iter().take(most)
    {
        writeln!(
            out,
            "{:<10} {:<11} {:<9} {:>8} {:>9} {:>9} {:>9} {:>9}",
            span(status.now.saturating_sub(*at)),
            plain(kind),
            plain(outcome),
            bytes(*received_bytes),
            bytes(*sent_bytes),
            micros(*cpu_us),
            micros(*wall_us),
            bytes(*peak_memory_bytes)
        )?;
    }
    Ok(())
}

/// Writes what each owner has.
///
/// # Errors
/// When it cannot be written.
pub fn owners(out: &mut impl Write, status: &Status) -> io::Result<()> {
    for owner in &status.owners {
        writeln!(
            out,
            "\nowner {}: agents {}, environments {} ({})",
            plain(&owner.owner),
            owner.agents.len(),
            owner.environments,
            bytes(owner.environment_bytes)
        )?;
        for agent in &owner.agents {
            let private = if agent.private { "  private" } else { "" };
            writeln!(
                out,
                "  {}  {}  {}{private}",
                plain(&agent.address),
                plain(&agent.version),
                short(&agent.digest)
            )?;
        }
    }
    Ok(())
}

fn short(digest: &str) -> String {
    plain(digest).chars().take(DIGEST).collect()
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn micros(micros: u64) -> String {
    let time = Duration::from_micros(micros);
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// The last of the counts as a line of bars, the highest of them at full height.
fn bars(counts: &[u64], width: usize) -> String {
    let last = counts.iter().skip(counts.len().saturating_sub(width));
    let most = last.clone().copied().max().unwrap_or_default().max(1);
    last.map(|count| {
        let eighth = count.saturating_mul(7).div_ceil(most);
        let bar = usize::try_from(eighth).ok().and_then(|it| BARS.get(it));
        bar.copied().unwrap_or('█')
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_times_and_sizes_are_short() {
        let spans = [5, 61, 7_300, 200_000].map(span);
        assert_eq!(spans, ["5 s", "1 min", "2 h 1 min", "2 days"]);
        let times = [7, 1_500, 2_500_000].map(micros);
        assert_eq!(times, ["7 µs", "1.5 ms", "2.5 s"]);
        let sizes = [7, 2_048, 3 << 20, 5 << 30].map(bytes);
        assert_eq!(sizes, ["7 B", "2 KiB", "3 MiB", "5 GiB"]);
    }

    #[test]
    fn bars_are_as_high_as_their_count() {
        assert_eq!(bars(&[0, 1, 50, 100], 3), "▂▅█");
        assert_eq!(bars(&[0, 0], 60), "▁▁");
        assert_eq!(bars(&[], 60), "");
    }
}
