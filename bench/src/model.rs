//! A fleet larger than any that was run: sessions that open again after a host is lost, what the database has to do, and what is
//! reached first.
//!
//! Sessions are simulated, quote by quote. The database's part is arithmetic over what each host asks of it, in seconds of
//! one of its cores.

use clap::Args;
use serde::Serialize;

/// What the model is made from. The defaults were measured on two cores (docs/FLEET.md).
#[derive(Debug, Clone, Args)]
pub struct Inputs {
    /// Attested sessions on each host.
    #[arg(long, default_value_t = 10_000)]
    pub sessions: u32,
    /// Seconds in which clients of a lost host notice it, evenly.
    #[arg(long, default_value_t = 10.0)]
    pub notice: f64,
    /// Hosts lost at once, of a hundred; one at least.
    #[arg(long, default_value_t = 1.0)]
    pub lost: f64,
    /// Seconds that a quote takes.
    #[arg(long, default_value_t = 1.0)]
    pub quote: f64,
    /// Milliseconds of processor time that opening a session takes beside its quote.
    #[arg(long, default_value_t = 0.4)]
    pub open: f64,
    /// Processors of a host.
    #[arg(long, default_value_t = 2.0)]
    pub cores: f64,
    /// Paid calls a second on each host.
    #[arg(long, default_value_t = 5.0)]
    pub payments: f64,
    /// Milliseconds of a core of the database for one paid call.
    #[arg(long, default_value_t = 0.6)]
    pub payment_cost: f64,
    /// Agents deployed in the fleet.
    #[arg(long, default_value_t = 1_000)]
    pub agents: u32,
    /// Bytes of an agent's component and machine code, MiB.
    #[arg(long, default_value_t = 3.0)]
    pub agent: f64,
    /// Deployments a minute in the fleet.
    #[arg(long, default_value_t = 1.0)]
    pub deployments: f64,
    /// Microseconds of a core of the database for one statement, whatever it reads.
    #[arg(long, default_value_t = 60.0)]
    pub statement: f64,
    /// Microseconds for each row that a statement reads.
    #[arg(long, default_value_t = 0.3)]
    pub row: f64,
    /// Processors of the database.
    #[arg(long, default_value_t = 4.0)]
    pub database: f64,
    /// Connections that the database takes.
    #[arg(long, default_value_t = 500)]
    pub connections: u32,
    /// MiB a second that the database sends.
    #[arg(long, default_value_t = 120.0)]
    pub network: f64,
}

/// Seconds between two heartbeats of a host, each of which reads the rows of all.
const HEARTBEAT: f64 = 2.0;
/// Connections of one host to the database at most.
const POOL: u32 = 8;
/// Sums that a host asks for each second: agents and environments.
const LOOKS: f64 = 2.0;
/// How full something may be before it counts as reached.
const FULL: f64 = 0.7;

/// What one size of fleet comes to.
#[derive(Debug, Clone, Serialize)]
pub struct Outlook {
    /// Hosts.
    pub nodes: u32,
    /// Seconds until all sessions of the lost hosts are open again.
    pub reopened: f64,
    /// Quotes that each surviving host made for them.
    pub quotes: u32,
    /// Commits a second.
    pub writes: f64,
    /// Share of the database's processors: payments, heartbeats, looks for changes, and all.
    pub busy: Busy,
    /// Connections to the database at most.
    pub connections: u32,
    /// Seconds until every host has read an agent that all are asked for at once.
    pub fan_out: f64,
    /// What is reached first; none where nothing is.
    pub first: Option<&'static str>,
}

/// Shares of the database's processors: 1 is all of them.
#[derive(Debug, Clone, Serialize)]
pub struct Busy {
    /// Paid calls.
    pub payments: f64,
    /// Heartbeats, and reading who there is.
    pub heartbeats: f64,
    /// Looking for agents and environments that changed.
    pub looks: f64,
    /// All.
    pub all: f64,
}

impl Outlook {
    /// What so many hosts come to.
    pub fn of(nodes: u32, inputs: &Inputs) -> Self {
        let hosts = f64::from(nodes.max(2));
        let lost = (hosts * inputs.lost / 100.0).max(1.0).min(hosts - 1.0);
        let (reopened, quotes) = reopen(f64::from(inputs.sessions) * lost / (hosts - lost), inputs);
        let core = |micros: f64| micros / 1e6 / inputs.database;
        let beats = hosts / HEARTBEAT;
        let payments = core(hosts * inputs.payments * inputs.payment_cost * 1e3);
        // One write, and one reading of the rows of all.
        let heartbeats = core(beats * 2.0f64.mul_add(inputs.statement, hosts * inputs.row));
        let rows = f64::from(inputs.agents);
        let looks = core(hosts * LOOKS.mul_add(inputs.statement, rows * inputs.row));
        let busy = Busy {
            payments,
            heartbeats,
            looks,
            all: payments + heartbeats + looks,
        };
        let connections = nodes.saturating_mul(POOL);
        let heads = hosts * rows / 1024.0 * inputs.deployments / 60.0;
        let fan_out = hosts * inputs.agent / inputs.network;
        let parts = [
            (
                "the database's processors, most of all by payments",
                payments,
            ),
            (
                "the database's processors, most of all by heartbeats",
                heartbeats,
            ),
            (
                "the database's processors, most of all by looks for changes",
                looks,
            ),
        ];
        let most = parts.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let processors = most.map_or("the database's processors", |(what, _)| what);
        let taken = f64::from(connections) / f64::from(inputs.connections);
        let reached = [
            ("connections to the database", taken),
            (processors, busy.all / FULL),
            (
                "the database's network, by heads read after deployments",
                heads / inputs.network / FULL,
            ),
        ];
        let first = (reached.iter().filter(|(_, share)| *share > 1.0))
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        Self {
            nodes,
            reopened,
            quotes,
            // Reserved, settling, settled; and the heartbeat.
            writes: 3.0f64.mul_add(hosts * inputs.payments, beats),
            busy,
            connections,
            fan_out,
            first: first.map(|(what, _)| *what),
        }
    }

    /// The same, for people.
    pub fn to_text(&self) -> String {
        let Self {
            nodes,
            reopened,
            quotes,
            writes,
            busy,
            connections,
            fan_out,
            first,
        } = self;
        let percent = |share: f64| share * 100.0;
        let (all, payments) = (percent(busy.all), percent(busy.payments));
        let (heartbeats, looks) = (percent(busy.heartbeats), percent(busy.looks));
        let first = first.unwrap_or("nothing");
        format!(
            "{nodes} hosts\n  \
             sessions of the lost open again after  {reopened:.1} s, {quotes} quotes a host\n  \
             commits a second                       {writes:.0}\n  \
             the database's processors              {all:.1} %: payments {payments:.1}, heartbeats {heartbeats:.1}, looks for changes {looks:.1}\n  \
             connections to the database            {connections}\n  \
             an agent is on all hosts after         {fan_out:.1} s, if all are asked for it at once\n  \
             reached first                          {first}\n\n"
        )
    }
}

/// How long one host takes to open so many sessions again, and how many quotes: clients come evenly while they notice; each waits for its turn
/// at a processor, and then for the quote that begins next, which covers all who wait by then.
fn reopen(sessions: f64, inputs: &Inputs) -> (f64, u32) {
    let rate = inputs.cores / (inputs.open / 1e3);
    let arrived = |time: f64| match inputs.notice > 0.0 {
        true => sessions * (time / inputs.notice).min(1.0),
        false => sessions,
    };
    // When the last client comes and has had its turn.
    let prepared = |time: f64| arrived(time).min(rate * time);
    let (mut time, mut covered, mut quotes) = (0.0_f64, 0.0_f64, 0_u32);
    while covered < sessions && time < 1e6 {
        let waiting = prepared(time);
        if waiting > covered {
            covered = waiting;
            quotes = quotes.saturating_add(1);
            time += inputs.quote;
        } else {
            time += 0.01;
        }
        // The last part of a session is opened whole.
        if sessions - covered < 1.0 && waiting >= sessions {
            break;
        }
    }
    (time, quotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        inputs: Inputs,
    }

    fn inputs(arguments: &[&str]) -> Inputs {
        let all = ["model"].iter().chain(arguments);
        <Cli as clap::Parser>::parse_from(all).inputs
    }

    #[test]
    fn clients_that_notice_at_once_wait_for_one_quote_or_two() {
        let inputs = inputs(&["--notice", "0", "--open", "0.001", "--sessions", "1000"]);
        let outlook = Outlook::of(3, &inputs);
        assert!(outlook.reopened <= 2.1, "{outlook:?}");
        assert!((1..=2).contains(&outlook.quotes), "{outlook:?}");
    }

    #[test]
    fn nobody_is_open_again_before_the_last_client_notices() {
        let outlook = Outlook::of(100, &inputs(&["--notice", "30"]));
        assert!((30.0..33.0).contains(&outlook.reopened), "{outlook:?}");
    }

    #[test]
    fn the_host_is_the_bound_where_opening_takes_long() {
        let inputs = inputs(&["--notice", "1", "--open", "100", "--cores", "1"]);
        // Two hosts, one of which is lost: 10,000 sessions, ten a second.
        let outlook = Outlook::of(2, &inputs);
        assert!((1000.0..1003.0).contains(&outlook.reopened), "{outlook:?}");
    }

    #[test]
    fn what_breaks_first_is_named() {
        let few = Outlook::of(10, &inputs(&[]));
        assert_eq!(few.first, None);
        let many = Outlook::of(1_000, &inputs(&["--connections", "100"]));
        assert_eq!(many.first, Some("connections to the database"));
        let idle = inputs(&["--connections", "100000", "--payments", "100"]);
        let paid = Outlook::of(1_000, &idle);
        assert_eq!(
            paid.first,
            Some("the database's processors, most of all by payments")
        );
    }
}
