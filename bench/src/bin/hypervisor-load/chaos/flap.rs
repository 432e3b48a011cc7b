//! A facilitator, and a chain's RPC, that come and go.

use std::sync::Arc;

use hypervisor_bench::error::Result;
use hypervisor_tests::Host;
use hypervisor_tests::payments::faulty::{self, Fault, Reply};
use hypervisor_tests::payments::kills::settings;
use hypervisor_tests::payments::orders::FLOWS;
use hypervisor_tests::payments::{Chain, Facilitator};

use super::buyers::{Buyers, Wares};
use super::relay::{Relay, Weather};
use super::{BROKEN, Scenario, WHOLE};
use crate::market::hold_serving;
use crate::outcome::Outcome;

const BUYERS: usize = 4;

/// What comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Facilitator,
    Rpc,
}

pub(super) async fn run(broken: Broken, rounds: usize) -> Result<Outcome> {
    let scenario = match broken {
        Broken::Facilitator => Scenario::Facilitator,
        Broken::Rpc => Scenario::Rpc,
    };
    let too = match broken {
        Broken::Facilitator => "",
        Broken::Rpc => ", each while the facilitator's answers to settlements are lost",
    };
    let mut section = scenario.section(format!(
        "refuses connections, is silent, answers 500, and does its work without an answer, {rounds} times {} s each{too}; {BUYERS} buyers",
        BROKEN.as_secs()
    ));
    let mut faults = Vec::new();
    for flow in FLOWS {
        let chain = Arc::new(Chain::start());
        let facilitator = Facilitator::start(&chain);
        // The RPC is asked where the facilitator's answer is lost, so that it has to be.
        let lossy = faulty::Facilitator::start(Some(facilitator.url())).await;
        let (relay, config) = match broken {
            Broken::Facilitator => {
                let relay = Relay::before(facilitator.url()).await?;
                let config = settings(flow, BUYERS, &chain, &relay.url(), chain.rpc_url());
                (relay, config)
            }
            Broken::Rpc => {
                let relay = Relay::before(chain.rpc_url()).await?;
                let config = settings(flow, BUYERS, &chain, &lossy.url(), &relay.url());
                (relay, config)
            }
        };
        let host = Arc::new(Host::logging("warn", &config));
        let wares = Wares::of(flow, &host, &chain).await;
        let buyers = Buyers::start(BUYERS, &wares);
        for _ in 0..rounds {
            for weather in Weather::FOUL {
                relay.turns(weather);
                lossy.on_settle(Fault::after(Reply::Dropped));
                tokio::time::sleep(BROKEN).await;
                relay.turns(Weather::Fair);
                lossy.on_settle(Fault::none());
                tokio::time::sleep(WHOLE).await;
            }
        }
        let bought = buyers.end().await?;
        let (group, more) = bought.check(format!("{flow:?}"), &chain).await;
        section.push(group);
        faults.extend(more);
        hold_serving(&mut faults, "afterwards", &host).await;
    }
    Ok(Outcome::of(section, faults))
}
