//! Whatever three nodes do in whatever order, and whichever of them is taken for dead: what was charged is never free.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use hypervisor_ledger::{
    Claim, Ended, Error, Key, Ledger, Outcome, Payment, Record, Request, Settler, Standing, Tag,
    Turn,
};
use hypervisor_protocol::HexBytes;
use proptest::prelude::*;

use crate::fleet::{Fleet, good, refused, request};
use crate::store::{answer, at_once};

const PAYMENTS: usize = 3;
const NODES: usize = 3;

/// What happens next, of a node and a payment.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request brings the payment.
    Brought,
    /// Its settlement is written down.
    Submitted,
    /// The facilitator is asked, and says how it was, or nothing.
    Asked { makes: bool, says: bool },
    /// What it said is written down.
    Ended,
    /// The request is over.
    Over,
    /// The node is asked to find out.
    Reconciled { refuses: bool },
    /// The node dies with all that it works on; another start of it has another tag.
    Killed,
    /// The others take the node for dead, and it goes on.
    Paused,
    /// The node takes over what dead ones left.
    TakesOver,
}

fn event() -> impl Strategy<Value = (usize, usize, Event)> {
    let what = prop_oneof![
        6 => Just(Event::Brought),
        6 => Just(Event::Submitted),
        6 => any::<(bool, bool)>().prop_map(|(makes, says)| Event::Asked { makes, says }),
        6 => Just(Event::Ended),
        2 => Just(Event::Over),
        4 => any::<bool>().prop_map(|refuses| Event::Reconciled { refuses }),
        1 => Just(Event::Killed),
        2 => Just(Event::Paused),
        3 => Just(Event::TakesOver),
    ];
    (0..NODES, 0..PAYMENTS, what)
}

/// The chain: which authorizations were used.
#[derive(Default)]
struct Chain(Mutex<HashSet<String>>);

struct Asked<'a> {
    chain: &'a Chain,
    refuses: bool,
}

impl Chain {
    fn has(&self, payment: &Payment) -> bool {
        self.0.lock().unwrap().contains(&payment.id.nonce)
    }

    /// Uses it: false where that was done before.
    fn uses(&self, payment: &Payment) -> bool {
        self.0.lock().unwrap().insert(payment.id.nonce.clone())
    }
}

fn made(payment: &Payment) -> Outcome {
    Outcome::Settled {
        transaction: format!("0x{}", payment.id.nonce),
        headers: Vec::new(),
    }
}

impl Settler for Asked<'_> {
    async fn reconcile(&self, payment: &Payment) -> Outcome {
        match self.chain.has(payment) {
            true => made(payment),
            false if self.refuses => refused(),
            false => Outcome::Unknown(Box::new(payment.clone())),
        }
    }

    async fn standing(&self, _: &Payment, _: &str) -> Standing {
        Standing::Stands
    }
}

/// How far a turn is.
struct Progress {
    turn: Turn,
    is_submitted: bool,
    outcome: Option<Outcome>,
}

struct Host {
    tag: Tag,
    ledger: Ledger,
    works: HashMap<usize, Progress>,
}

struct Model {
    fleet: Fleet,
    hosts: Vec<Host>,
    chain: Chain,
    payments: Vec<(Key, Record)>,
    starts: u8,
    /// Requests that were answered, of each payment.
    answered: HashMap<usize, usize>,
}

fn bought(index: usize) -> (Key, Record) {
    let (key, mut record) = good(&index.to_string());
    record.request = [u8::try_from(index).unwrap(); 32];
    (key, record)
}

fn of(index: usize) -> Request {
    Request {
        digest: [u8::try_from(index).unwrap(); 32],
        ..request()
    }
}

impl Model {
    fn new() -> Self {
        let fleet = Fleet::new();
        let hosts = (0..NODES).map(|it| {
            let tag = [u8::try_from(it).unwrap(); 4];
            Host {
                tag,
                ledger: fleet.node(tag),
                works: HashMap::new(),
            }
        });
        Self {
            hosts: hosts.collect(),
            fleet,
            chain: Chain::default(),
            payments: (0..PAYMENTS).map(bought).collect(),
            starts: 10,
            answered: HashMap::new(),
        }
    }

    fn happens(&mut self, (node, payment, event): (usize, usize, Event)) {
        let Self {
            fleet,
            hosts,
            chain,
            payments,
            starts,
            answered,
        } = self;
        let (key, record) = &payments[payment];
        let host = &mut hosts[node];
        match event {
            Event::Brought => {
                // One that would have to wait is not there.
                if host.works.contains_key(&payment) {
                    return;
                }
                let turn = crate::fleet::reserve(&host.ledger, &(*key, record.clone()));
                if let Some(turn) = turn {
                    assert!(!chain.has(turn.payment()), "charged, and brought again");
                    let progress = Progress {
                        turn,
                        is_submitted: false,
                        outcome: None,
                    };
                    host.works.insert(payment, progress);
                }
            }
            Event::Submitted => {
                let Some(work) = host.works.get_mut(&payment) else {
                    return;
                };
                if !work.is_submitted {
                    match work.turn.settling(Some(&answer_of(payment))) {
                        Ok(()) => work.is_submitted = true,
                        Err(Error::TurnLost) => drop(host.works.remove(&payment)),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            Event::Asked { makes, says } => {
                let Some(work) = host.works.get_mut(&payment) else {
                    return;
                };
                if !work.is_submitted || work.outcome.is_some() {
                    return;
                }
                let paid = work.turn.payment().clone();
                let is_made = if makes { chain.uses(&paid) } else { false };
                work.outcome = Some(match (is_made, says, chain.has(&paid)) {
                    (true, true, _) => made(&paid),
                    // It says for certain that it was not made, and it was not by anybody.
                    (false, true, false) if !makes => refused(),
                    _ => Outcome::Unknown(Box::new(paid)),
                });
            }
            Event::Ended => {
                let Some(mut work) = host.works.remove(&payment) else {
                    return;
                };
                match work.outcome.take() {
                    Some(outcome) => match work.turn.end(outcome, true) {
                        Ended::Settled => *answered.entry(payment).or_default() += 1,
                        Ended::Failed(_) | Ended::Unknown | Ended::Lost => {}
                    },
                    None => drop(host.works.insert(payment, work)),
                }
            }
            Event::Over => {
                // Once it is submitted its end is awaited.
                if host.works.get(&payment).is_some_and(|it| !it.is_submitted) {
                    host.works.remove(&payment);
                }
            }
            Event::Reconciled { refuses } => {
                let asked = Asked { chain, refuses };
                at_once(host.ledger.reconcile(&asked, key))
                    .unwrap()
                    .unwrap();
            }
            Event::Killed => {
                for (_, work) in host.works.drain() {
                    std::mem::forget(work.turn);
                }
                fleet.dies(host.tag);
                *starts += 1;
                host.tag = [*starts; 4];
                host.ledger = fleet.node(host.tag);
            }
            Event::Paused => fleet.dies(host.tag),
            Event::TakesOver => {
                host.ledger.take_over_dead().unwrap();
            }
        }
    }

    /// All nodes are gone, and one is started that finds out.
    fn ends(mut self) {
        for host in &mut self.hosts {
            self.fleet.dies(host.tag);
            host.works.clear();
        }
        let last = self.fleet.node([99; 4]);
        last.take_over_dead().unwrap();
        let asked = Asked {
            chain: &self.chain,
            refuses: true,
        };
        at_once(last.clear_doubts(Some(&asked), (900, 1000)))
            .unwrap()
            .unwrap();
        for (index, (key, record)) in self.payments.iter().enumerate() {
            assert!(self.answered.get(&index).is_none_or(|it| *it == 1));
            let claim = at_once(last.claim(Some(key), &of(index))).unwrap();
            match (claim.unwrap(), self.chain.has(&record.payment)) {
                (Claim::New, false) | (Claim::InDoubt(_), false) => {}
                (Claim::Answered(held, _), true) => assert_eq!(held, answer_of(index)),
                (_, is_charged) => panic!("charged: {is_charged}, and it is something else"),
            }
        }
    }
}

/// Another one for each payment.
fn answer_of(payment: usize) -> hypervisor_ledger::Answer {
    hypervisor_ledger::Answer {
        body: HexBytes(vec![u8::try_from(payment).unwrap(); 8]),
        ..answer()
    }
}

proptest! {
    #[test]
    fn what_was_charged_has_its_answer_and_what_was_not_is_free_or_in_doubt(
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut model = Model::new();
        for event in events {
            model.happens(event);
        }
        model.ends();
    }
}
