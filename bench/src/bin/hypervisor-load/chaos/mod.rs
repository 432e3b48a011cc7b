//! What a host stands on is broken, and comes back: whatever was charged has its answer, nothing is charged twice, and the host
//! serves afterwards.

mod buyers;
mod clock;
mod descriptors;
mod disk;
mod flap;
mod kill;
mod memory;
mod relay;

use std::time::Duration;

use clap::{Args, ValueEnum};
use hypervisor_bench::error::Result;
use hypervisor_bench::report::Section;

use crate::Live;
use crate::outcome::Outcome;

#[derive(Debug, Clone, Args)]
pub(crate) struct Chaos {
    /// What is broken; everything where nothing is named.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Kills in all, spread over four ways to be paid.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(4..))]
    kills: u16,
    /// How often each fault comes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The host is killed at any moment while it is paid.
    Kill,
    /// The facilitator refuses connections, goes silent, fails, and answers nobody after its work.
    Facilitator,
    /// The same of the chain's RPC.
    Rpc,
    /// The state's disk is full, and has room again.
    DiskFull,
    /// The clock goes forward and back.
    Clock,
    /// No descriptor is left.
    Descriptors,
    /// Programs take all the memory they may, and the kernel takes the host's.
    Memory,
}

impl Chaos {
    pub(crate) async fn run(&self, live: Live) -> Result<Vec<Outcome>> {
        let scenarios = match self.scenarios.as_slice() {
            [] => Scenario::value_variants(),
            some => some,
        };
        let mut outcomes = Vec::with_capacity(scenarios.len());
        for scenario in scenarios {
            live.progress(&format!("{}: …", scenario.name()));
            outcomes.push(match scenario {
                Scenario::Kill => kill::run(self.kills.into()).await?,
                Scenario::Facilitator => {
                    flap::run(flap::Broken::Facilitator, self.rounds.into()).await?
                }
                Scenario::Rpc => flap::run(flap::Broken::Rpc, self.rounds.into()).await?,
                Scenario::DiskFull => disk::run(self.rounds.into()).await?,
                Scenario::Clock => clock::run().await?,
                Scenario::Descriptors => descriptors::run(self.rounds.into()).await?,
                Scenario::Memory => memory::run(self.rounds.into()).await?,
            });
        }
        Ok(outcomes)
    }
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Facilitator => "facilitator",
            Self::Rpc => "rpc",
            Self::DiskFull => "disk-full",
            Self::Clock => "clock",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
        }
    }

    fn section(self, about: impl Into<String>) -> Section {
        let name = self.name();
        Section::new(name, about).repeated_by(format!("make chaos SCENARIOS={name}"))
    }
}

/// How long something stays broken, and how long it is whole before it breaks again.
const BROKEN: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(2);
