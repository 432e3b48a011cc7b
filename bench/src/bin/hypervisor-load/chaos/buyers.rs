//! Buyers: each makes one order after the other, and brings each until it is answered or refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hypervisor_bench::error::{Context, Result};
use hypervisor_bench::report::{Group, Unit};
use hypervisor_tests::Host;
use hypervisor_tests::payments::orders::{Flow, Order, Said};
use hypervisor_tests::payments::{Chain, Payment};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::outcome::{hold, hold_paid};

/// Before an order is brought again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an order may stay without an answer once everything is whole again.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of orders.
#[derive(Default)]
pub(super) struct Bought {
    pub(super) answered: usize,
    /// Brought again, because there was no answer yet.
    again: usize,
    /// Refused: nothing of these may be on the chain.
    refused: Vec<Payment>,
    pub(super) faults: Vec<String>,
}

/// Buyers at work.
pub(super) struct Buyers {
    over: watch::Sender<bool>,
    working: JoinSet<Bought>,
}

/// What they buy, where.
#[derive(Clone)]
pub(super) struct Wares {
    pub(super) flow: Flow,
    pub(super) host: Arc<Host>,
    pub(super) chain: Arc<Chain>,
    pub(super) offer: Value,
}

impl Wares {
    pub(super) async fn of(flow: Flow, host: &Arc<Host>, chain: &Arc<Chain>) -> Self {
        Order::prepare(flow, host).await;
        Self {
            flow,
            offer: Order::offer(flow, host).await,
            host: Arc::clone(host),
            chain: Arc::clone(chain),
        }
    }
}

impl Buyers {
    /// So many, all with the money of the first payer.
    pub(super) fn start(many: usize, wares: &Wares) -> Self {
        let over = watch::Sender::new(false);
        let mut working = JoinSet::new();
        for number in 0..many {
            working.spawn(buy(number, wares.clone(), over.subscribe()));
        }
        Self { over, working }
    }

    /// Has them make no more orders, and waits for the answers to those that they made.
    pub(super) async fn end(mut self) -> Result<Bought> {
        self.over.send_replace(true);
        let mut all = Bought::default();
        while let Some(one) = self.working.join_next().await {
            all.add(one.context("a buyer")?);
        }
        Ok(all)
    }
}

impl Bought {
    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.again += other.again;
        self.refused.extend(other.refused);
        self.faults.extend(other.faults);
    }

    /// Holds it to what is on the chain.
    pub(super) async fn check(mut self, title: String, chain: &Chain) -> (Group, Vec<String>) {
        let payer = chain.payer(0).address();
        let transfers = chain.transfers().await;
        let charged = transfers.iter().filter(|it| it.from == payer).count();
        let mut group = Group::new(title);
        group.add(
            "payments that were answered",
            Unit::Count,
            [self.answered as f64],
        );
        group.add("payments on the chain", Unit::Count, [charged as f64]);
        group.add(
            "refused, and not charged",
            Unit::Count,
            [self.refused.len() as f64],
        );
        group.add("brought again", Unit::Count, [self.again as f64]);
        for payment in &self.refused {
            let nonce = payment.authorization.nonce;
            let spent = chain.authorization_state(payer, nonce).await;
            hold(&mut self.faults, !spent, || {
                "a refused payment is charged".to_owned()
            });
        }
        let answered = self.answered;
        hold_paid(&mut self.faults, charged, answered);
        hold(&mut self.faults, answered > 0, || {
            "nothing was sold".to_owned()
        });
        (group, self.faults)
    }
}

async fn buy(buyer: usize, wares: Wares, over: watch::Receiver<bool>) -> Bought {
    let mut bought = Bought::default();
    let mut number = buyer * 1_000_000;
    while !*over.borrow() {
        number += 1;
        let payment = Payment::for_offer(wares.chain.payer(0), &wares.offer);
        let order = Order::new(wares.flow, &wares.host, number, payment.clone()).await;
        bring(order, payment, &wares.host, &over, &mut bought).await;
    }
    bought
}

/// Brings one order until something came of it.
async fn bring(
    order: Order,
    payment: Payment,
    host: &Host,
    over: &watch::Receiver<bool>,
    bought: &mut Bought,
) {
    let mut pending = Some(order);
    let mut whole_since = None;
    while let Some(order) = pending.take() {
        let said = match order.sent().await {
            Ok(said) => said,
            Err(lost) => {
                bought.faults.push(lost);
                return;
            }
        };
        match &said {
            Said::Answered => bought.answered += 1,
            Said::Refused(_) => bought.refused.push(payment.clone()),
            Said::Again | Said::Anew => {
                bought.again += 1;
                if *over.borrow() {
                    let since = *whole_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        bought.faults.push("a payment has no answer".to_owned());
                        return;
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        pending = order.after(said, host).await;
    }
}
