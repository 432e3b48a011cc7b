//! Counters of the whole host, for the admin port. Their labels are classes: never a name, an address or a digest.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::executor::Exit;

/// A family of counters, one for each value of a label.
struct Family<const N: usize> {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Family<N> {
    const fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> Self {
        Self {
            name,
            help,
            label,
            values,
            counts: [const { AtomicU64::new(0) }; N],
        }
    }

    /// Counts one of `value`; what is in no class counts as the last one.
    fn count(&self, value: &str) {
        let found = self.values.iter().position(|known| *known == value);
        let index = found.unwrap_or(N.saturating_sub(1));
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, out: &mut String) {
        let Self {
            name, help, label, ..
        } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (value, count) in self.values.iter().zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{{label}=\"{value}\"}} {count}");
        }
    }
}

static AGENT_CALLS: Family<5> = Family::new(
    "hypervisor_agent_calls_total",
    "Calls of agents, by how they ended.",
    "exit",
    ["ok", "code", "trap", "limit", "other"],
);
static OUTGOING: Family<8> = Family::new(
    "hypervisor_agent_outgoing_requests_total",
    "Requests that agents sent, by what became of them.",
    "outcome",
    [
        "sent",
        "internal",
        "not_listed",
        "policy",
        "private_address",
        "limit",
        "chain",
        "failed",
    ],
);
static DEPLOYS: Family<3> = Family::new(
    "hypervisor_agent_deploys_total",
    "Deployments, by what became of them.",
    "outcome",
    ["deployed", "removed", "refused"],
);
static SWAPS: Family<3> = Family::new(
    "hypervisor_plugin_swaps_total",
    "Plugins that were put in the place of another.",
    "plugin",
    ["payments", "policy", "refused"],
);

/// A call of an agent ended.
pub(crate) fn agent_call(exit: &Exit) {
    AGENT_CALLS.count(match exit {
        Exit::Ok => "ok",
        Exit::Code { .. } => "code",
        Exit::Trap { .. } => "trap",
        Exit::Limit { .. } => "limit",
        Exit::Denied { .. } | Exit::Rejected { .. } => "other",
    });
}

/// An agent sent a request, or was kept from it.
pub(crate) fn outgoing(outcome: &str) {
    OUTGOING.count(outcome);
}

/// An agent was deployed or removed, or refused.
pub(crate) fn deploy(outcome: &str) {
    DEPLOYS.count(outcome);
}

/// A plugin was swapped, or refused.
pub(crate) fn swap(plugin: &str) {
    SWAPS.count(plugin);
}

/// Everything in the text format of Prometheus, version 0.0.4. `gauges` are names with help and value.
pub fn text(gauges: &[(&str, &str, u64)]) -> String {
    let mut out = String::new();
    AGENT_CALLS.write(&mut out);
    OUTGOING.write(&mut out);
    DEPLOYS.write(&mut out);
    SWAPS.write(&mut out);
    for (name, help, value) in gauges {
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_with_their_labels() {
        static TEST: Family<2> = Family::new("test_total", "Help.", "kind", ["a", "other"]);
        TEST.count("a");
        TEST.count("something else");
        let mut out = String::new();
        TEST.write(&mut out);
        assert_eq!(
            out,
            "# HELP test_total Help.\n# TYPE test_total counter\ntest_total{kind=\"a\"} 1\ntest_total{kind=\"other\"} 1\n"
        );
    }
}
