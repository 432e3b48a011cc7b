//! Hosts that are killed at any moment, with payments under way.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::orders::{FLOWS, Flow, Order, Said};
use super::purchase::{config, confirmed_by};
use super::{Chain, Facilitator, Payer, Payment};
use crate::{Host, eventually};

/// Payments that are under way when a host is killed.
pub const AT_ONCE: usize = 2;

/// What came of one flow.
#[derive(Clone, Debug)]
pub struct Series {
    /// The flow.
    pub flow: Flow,
    /// How often its host was killed.
    pub kills: usize,
    /// Payments that were made, each of which was answered.
    pub answered: usize,
    /// Payments on the chain.
    pub charged: usize,
}

/// Kills so many hosts, in all flows together, at moments that come of the seed.
///
/// # Errors
/// Where what was paid for is lost.
pub async fn run(kills: usize, seed: u64) -> Result<Vec<Series>, String> {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let kills = kills.div_ceil(FLOWS.len());
    // Each flow has a host, a payer and a thread of its own: a host that starts holds up no other's kill.
    let answered: Vec<Result<usize, String>> = std::thread::scope(|scope| {
        let flows: Vec<_> = FLOWS
            .into_iter()
            .enumerate()
            .map(|(index, flow)| {
                let settings = settings(flow, AT_ONCE, &chain, facilitator.url(), chain.rpc_url());
                let payer = chain.payer(index);
                let chance = Chance(seed.wrapping_add(index.try_into().unwrap()));
                scope.spawn(move || {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_all().build().unwrap();
                    runtime.block_on(series(flow, &settings, payer, (kills, chance)))
                })
            })
            .collect();
        flows.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let transfers = chain.transfers().await;
    let flows = FLOWS.into_iter().zip(answered).enumerate();
    flows
        .map(|(index, (flow, answered))| {
            let payer = chain.payer(index).address();
            Ok(Series {
                flow,
                kills,
                answered: answered?,
                charged: transfers.iter().filter(|it| it.from == payer).count(),
            })
        })
        .collect()
}

/// The configuration of a host of this flow.
pub fn settings(
    flow: Flow,
    unsettled: usize,
    chain: &Chain,
    facilitator: &str,
    rpc: &str,
) -> String {
    let attestation = match flow.is_agent {
        // Agents and answers in the clear are kept under the platform's key.
        true => "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'kills'\n",
        false => "",
    };
    let more = format!(
        "settle_first = {}\nunsettled = {unsettled}\nwall = '10s'\n{}\n{attestation}",
        flow.settles_first,
        confirmed_by(rpc),
    );
    config(chain, facilitator, &more)
}

/// Numbers from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    /// A part of `whole`.
    fn part(&mut self, whole: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandths = u32::try_from((mixed ^ (mixed >> 31)) % 1000).unwrap();
        whole * thousandths / 1000
    }
}

/// Kills a host again and again; how many payments were answered, which are all.
async fn series(
    flow: Flow,
    settings: &str,
    payer: &Payer,
    (kills, mut chance): (usize, Chance),
) -> Result<usize, String> {
    // At the most talkative level the log of a long run would be the largest of its files.
    let mut host = Host::logging("info", settings);
    Order::prepare(flow, &host).await;
    let offer = Order::offer(flow, &host).await;
    let mut made = 0;
    let mut orders: Vec<Order> = Vec::new();
    // The first round is not disturbed: it says how long one takes.
    let mut usual = None;
    for _ in 0..=kills {
        while orders.len() < AT_ONCE {
            made += 1;
            let payment = Payment::for_offer(payer, &offer);
            orders.push(Order::new(flow, &host, made, payment).await);
        }
        let started = Instant::now();
        let mut under_way = JoinSet::new();
        for order in orders.drain(..) {
            under_way.spawn(async move { (order.sent().await, order) });
        }
        if let Some(usual) = usual {
            tokio::time::sleep(chance.part(usual)).await;
            host.kill_and_restart();
        }
        let ended = under_way.join_all().await;
        usual.get_or_insert(started.elapsed() * 5 / 4);
        for (said, order) in ended {
            orders.extend(order.after(sold(said)?, &host).await);
        }
    }
    for order in orders {
        let mut order = Some(order);
        eventually("what was paid for is answered", async || {
            let under_way = order.take()?;
            let said = match sold(under_way.sent().await) {
                Ok(said) => said,
                Err(lost) => return Some(Err(lost)),
            };
            order = under_way.after(said, &host).await;
            order.is_none().then_some(Ok(()))
        })
        .await?;
    }
    Ok(made)
}

/// A good payment is never refused.
fn sold(said: Result<Said, String>) -> Result<Said, String> {
    match said? {
        Said::Refused(why) => Err(format!("a good payment was refused: {why}")),
        said => Ok(said),
    }
}
