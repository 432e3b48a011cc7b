//! Hosts that are killed at any moment: whatever was charged has its answer, and nothing is charged twice.

use std::time::{Duration, Instant};

use hypervisor_tests::agents::manifest;
use hypervisor_tests::payments::sign::random;
use hypervisor_tests::payments::{Chain, Facilitator, Payer, Payment, Version};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Answer, Host, eventually};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::payments::kit::{Purchase, asked, config, confirmed};

/// Kills of all flows together; `HYPERVISOR_KILLS` has another number.
const KILLS: usize = 60;
/// Payments that are under way when a host is killed.
const AT_ONCE: usize = 2;

/// One way in which paid work is done.
#[derive(Clone, Copy, Debug)]
struct Flow {
    is_agent: bool,
    settles_first: bool,
}

const FLOWS: [Flow; 4] = [
    Flow {
        is_agent: false,
        settles_first: false,
    },
    Flow {
        is_agent: false,
        settles_first: true,
    },
    Flow {
        is_agent: true,
        settles_first: false,
    },
    Flow {
        is_agent: true,
        settles_first: true,
    },
];

#[tokio::test]
async fn hosts_killed_at_random_charge_once_for_what_they_answer() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let kills = number("HYPERVISOR_KILLS").map_or(KILLS, |it: u64| it.try_into().unwrap());
    let seed = number("HYPERVISOR_KILLS_SEED").unwrap_or_else(|| u64::from_le_bytes(random()));
    println!("HYPERVISOR_KILLS={kills} HYPERVISOR_KILLS_SEED={seed}");
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let started = Instant::now();
    // Each flow has a host, a payer and a thread of its own: a host that starts holds up no other's kill.
    let paid: Vec<usize> = std::thread::scope(|scope| {
        let flows: Vec<_> = FLOWS
            .into_iter()
            .enumerate()
            .map(|(index, flow)| {
                let settings = settings(flow, &chain, facilitator.url());
                let payer = chain.payer(index);
                let chance = Chance(seed.wrapping_add(index.try_into().unwrap()));
                scope.spawn(move || {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_all().build().unwrap();
                    let kills = kills.div_ceil(FLOWS.len());
                    runtime.block_on(series(flow, &settings, payer, (kills, chance)))
                })
            })
            .collect();
        flows.into_iter().map(|it| it.join().unwrap()).collect()
    });
    println!("{paid:?} payments in {:?}", started.elapsed());
    let transfers = chain.transfers().await;
    for (index, paid) in paid.into_iter().enumerate() {
        let payer = chain.payer(index).address();
        let charged = transfers.iter().filter(|it| it.from == payer).count();
        assert_eq!(charged, paid, "{:?}, seed {seed}", FLOWS[index]);
    }
}

fn settings(flow: Flow, chain: &Chain, facilitator: &str) -> String {
    let attestation = match flow.is_agent {
        // Agents and answers in the clear are kept under the platform's key.
        true => "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'kills'\n",
        false => "",
    };
    let more = format!(
        "settle_first = {}\nunsettled = {AT_ONCE}\nwall = '10s'\n{}\n{attestation}",
        flow.settles_first,
        confirmed(chain),
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
) -> usize {
    let mut host = Host::with(settings);
    if flow.is_agent {
        let manifest = manifest("hello", "price = '0.01 USDC'");
        host.register("hello", &guest("http-hello"), &manifest);
        host.client().deploy_registered("hello").await.unwrap();
    }
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
            orders.extend(order.after(said, &host).await);
        }
    }
    for order in orders {
        let mut order = Some(order);
        eventually("what was paid for is answered", async || {
            let under_way = order.take()?;
            let said = under_way.sent().await;
            order = under_way.after(said, &host).await;
            order.is_none().then_some(())
        })
        .await;
    }
    made
}

/// One payment, and what it is brought for.
struct Order {
    flow: Flow,
    number: usize,
    payment: Payment,
    asks: Asks,
}

enum Asks {
    Sealed(Box<Purchase>),
    Agent(String),
}

/// What came of one attempt.
enum Said {
    /// What was paid for.
    Answered,
    /// Nothing yet: the same request again.
    Again,
    /// The session ended with the host: another request, with the same payment.
    Anew,
}

impl Order {
    /// What each costs.
    async fn offer(flow: Flow, host: &Host) -> Value {
        match flow.is_agent {
            false => Purchase::of_echo(host, "").await.offer(Version::V2).await,
            true => {
                let response = reqwest::get(host.agent("hello", "/")).await.unwrap();
                let answer = Answer {
                    status: response.status().as_u16(),
                    headers: response.headers().clone(),
                    body: Vec::new(),
                };
                asked(&answer, Version::V2)["accepts"][0].clone()
            }
        }
    }

    async fn new(flow: Flow, host: &Host, number: usize, payment: Payment) -> Self {
        let asks = match flow.is_agent {
            false => Asks::Sealed(Box::new(Purchase::of_echo(host, &number.to_string()).await)),
            true => Asks::Agent(host.agent("hello", &format!("/{number}"))),
        };
        Self {
            flow,
            number,
            payment,
            asks,
        }
    }

    /// Sends it with its payment. Panics where a payment is lost.
    async fn sent(&self) -> Said {
        let (name, value) = self.payment.header();
        let answer = match &self.asks {
            Asks::Sealed(purchase) => purchase.try_send(&[(name, &value)]).await,
            Asks::Agent(url) => get(url, (name, &value)).await,
        };
        let Ok(answer) = answer else {
            return Said::Again;
        };
        match (answer.status, &self.asks) {
            (200, Asks::Sealed(purchase)) => {
                let expected = format!("{}\n", self.number);
                assert_eq!(purchase.opened(&answer).result, expected.as_bytes());
                Said::Answered
            }
            (200, Asks::Agent(_)) => {
                let expected = format!("hello from GET /{}\n", self.number);
                assert_eq!(answer.body, expected.as_bytes());
                Said::Answered
            }
            (503, _) => Said::Again,
            (_, Asks::Sealed(_))
                if answer.status != 402 && answer.problem() == "unknown-session" =>
            {
                Said::Anew
            }
            _ => panic!("{:?}: a payment is lost: {answer:?}", self.flow),
        }
    }

    /// The order as it is brought next; none where it was answered.
    async fn after(self, said: Said, host: &Host) -> Option<Self> {
        let Self {
            flow,
            number,
            payment,
            asks,
        } = self;
        match (said, asks) {
            (Said::Answered, _) => None,
            (Said::Again, Asks::Sealed(purchase)) => Some(Self {
                asks: Asks::Sealed(Box::new(purchase.moved(host))),
                flow,
                number,
                payment,
            }),
            (Said::Again | Said::Anew, _) => Some(Self::new(flow, host, number, payment).await),
        }
    }
}

async fn get(url: &str, (name, value): (&str, &str)) -> reqwest::Result<Answer> {
    let response = reqwest::Client::new().get(url).header(name, value);
    let response = response.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await?.to_vec(),
    })
}
