//! Three hosts, one ledger: a real chain, the official facilitator, a real PostgreSQL.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hypervisor_client::protocol::{ContentFormat, ExecuteResponse};
use hypervisor_tests::agents::manifest;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::payments::faulty::{self, Fault};
use hypervisor_tests::payments::purchase::{Purchase, asked, config, confirmed};
use hypervisor_tests::payments::sign::random;
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Answer, Host, eventually};
use serde_json::Value;
use tokio::task::JoinSet;

/// Hosts of a fleet.
const HOSTS: usize = 3;
/// The longest that an order may take: a host is dead after 10 s, and what it held is asked about.
const PATIENCE: Duration = Duration::from_secs(100);

/// Hosts that sell an agent's answers for one cent.
struct Shop {
    chain: Chain,
    _facilitator: Facilitator,
    faulty: faulty::Facilitator,
    hosts: Vec<Host>,
    /// What each call costs.
    offer: Value,
    fleet: Fleet,
}

impl Shop {
    async fn open(more: &str) -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let faulty = faulty::Facilitator::start(Some(facilitator.url())).await;
        let fleet = Fleet::start();
        let settings = config(
            &chain,
            &faulty.url(),
            &format!("{more}\n{}", confirmed(&chain)),
        );
        let settings = format!("{settings}{}", fleet.section());
        let hosts = (0..HOSTS).map(|_| Host::logging("info", &settings));
        let mut shop = Self {
            hosts: hosts.collect(),
            offer: Value::Null,
            chain,
            _facilitator: facilitator,
            faulty,
            fleet,
        };
        for host in &shop.hosts {
            let manifest = manifest("hello", "price = '0.01 USDC'");
            host.register("hello", &guest("http-hello"), &manifest);
            let sells = async || {
                let answer = get(&host.agent("hello", "/"), None).await.ok()?;
                (answer.status == 402).then_some(())
            };
            if sells().await.is_none() {
                // It may be there by now: hosts of a fleet have the same agents.
                let _ = host.client().deploy_registered("hello").await;
                eventually("it is sold", sells).await;
            }
        }
        let unpaid = get(&shop.hosts[0].agent("hello", "/"), None).await;
        shop.offer = asked(&unpaid.unwrap(), Version::V2)["accepts"][0].clone();
        shop
    }

    fn payment(&self) -> Payment {
        Payment::for_offer(self.chain.payer(0), &self.offer)
    }

    /// Calls a host for the `number`th time.
    async fn buy(&self, host: usize, number: usize, payment: &Payment) -> Answer {
        let url = self.hosts[host].agent("hello", &format!("/{number}"));
        get(&url, Some(payment)).await.unwrap()
    }

    async fn charges(&self) -> usize {
        self.chain.transfers().await.len()
    }
}

async fn get(url: &str, payment: Option<&Payment>) -> reqwest::Result<Answer> {
    let mut request = reqwest::Client::new().get(url);
    if let Some(payment) = payment {
        let (name, value) = payment.header();
        request = request.header(name, value);
    }
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await?.to_vec(),
    })
}

/// What the agent says the `number`th time.
fn said(number: usize) -> Vec<u8> {
    format!("hello from GET /{number}\n").into_bytes()
}

/// Where the hosts are, which are killed and started again.
type Places = Arc<Mutex<Vec<String>>>;

/// Brings one payment to one host after another until it is answered. A good payment is never refused.
async fn order(places: Places, number: usize, payment: Payment) -> Result<(), String> {
    let began = Instant::now();
    let mut at = number;
    while began.elapsed() < PATIENCE {
        at += 1;
        let base = places.lock().unwrap()[at % HOSTS].clone();
        let url = format!("{base}/agents/hello/{number}");
        match get(&url, Some(&payment)).await {
            Ok(answer) if answer.status == 200 => {
                return match answer.body == said(number) {
                    true => Ok(()),
                    false => Err(format!("{number} got another's answer")),
                };
            }
            Ok(answer) if answer.status == 503 => {
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            }
            Ok(other) => return Err(format!("{number}: {other:?}")),
            // It was killed, or is not there yet.
            Err(_) => {}
        }
        // As a client would: it is told to.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("{number} has no answer after {PATIENCE:?}"))
}

#[tokio::test]
async fn one_payment_to_three_hosts_at_once_is_settled_once_and_answered_alike() {
    let shop = Shop::open("unsettled = 4").await;
    for round in 0..50 {
        let payment = shop.payment();
        let (one, two, three) = tokio::join!(
            shop.buy(0, round, &payment),
            shop.buy(1, round, &payment),
            shop.buy(2, round, &payment)
        );
        for answer in [one, two, three] {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.body, said(round));
        }
    }
    assert_eq!(shop.charges().await, 50);
    assert_eq!(shop.faulty.settle_calls(), 50);
}

#[tokio::test]
async fn the_same_request_gets_the_same_bytes_from_every_host() {
    for more in ["", "settle_first = true"] {
        let shop = Shop::open(more).await;
        let payment = shop.payment();
        let first = shop.buy(0, 7, &payment).await;
        assert_eq!(first.status, 200, "{first:?}");
        for host in [1, 2, 0] {
            let again = shop.buy(host, 7, &payment).await;
            assert_eq!(again.status, 200, "{again:?}");
            assert_eq!(again.body, first.body);
            let receipt = |answer: &Answer| answer.headers.get("payment-response").cloned();
            assert_eq!(receipt(&again), receipt(&first));
        }
        let other = shop.buy(1, 8, &payment).await;
        assert_eq!(
            (other.status, other.problem().as_str()),
            (409, "payment-reused")
        );
        assert_eq!(shop.charges().await, 1);
    }
}

#[tokio::test]
async fn a_payer_with_one_balance_has_one_payment_at_work_in_the_fleet() {
    let shop = Shop::open("").await;
    shop.faulty.on_settle(Fault::none().held());
    let payments = [shop.payment(), shop.payment()];
    let (first, second) = tokio::join!(shop.buy(0, 1, &payments[0]), async {
        // The first one is being settled.
        shop.faulty.held(1).await;
        let second = shop.buy(1, 2, &payments[1]);
        let released = async {
            shop.faulty.verify_arrived(2).await;
            assert_eq!(shop.faulty.settle_calls(), 1);
            shop.faulty.release();
        };
        tokio::join!(second, released).0
    });
    assert_eq!((first.status, second.status), (200, 200), "{second:?}");
    assert_eq!(shop.charges().await, 2);
}

#[tokio::test]
async fn a_host_that_was_stopped_while_it_settled_settles_nothing_more() {
    let shop = Shop::open("wall = '60s'").await;
    // The facilitator gets the first host's question, and answers it when everything is over.
    shop.faulty.next_settle(Fault::none().held());
    let payment = shop.payment();
    let url = shop.hosts[0].agent("hello", "/1");
    let of_first = tokio::spawn({
        let payment = payment.clone();
        async move { get(&url, Some(&payment)).await }
    });
    shop.faulty.held(1).await;
    shop.hosts[0].freeze();
    let answer = eventually_bought(&shop, 1, 1, &payment).await;
    assert_eq!(answer.body, said(1));
    shop.hosts[0].thaw();
    shop.faulty.release();
    let first = of_first.await.unwrap().unwrap();
    // Whatever it found out by itself, or that it lost its turn.
    assert!(
        first.status == 200 && first.body == said(1) || first.status == 503,
        "{first:?}"
    );
    for host in [0, 1, 2] {
        let again = eventually_bought(&shop, host, 1, &payment).await;
        assert_eq!(again.body, said(1));
    }
    assert_eq!(shop.charges().await, 1);
}

#[tokio::test]
async fn the_evidence_of_a_host_that_died_is_given_by_another_as_it_was() {
    let shop = Shop::open("").await;
    let attested = format!(
        "{}[attestation]\nbackend = 'simulated'\nsimulated_seed = 'fleet'\n{}",
        config(&shop.chain, &shop.faulty.url(), &confirmed(&shop.chain)) + "\n",
        shop.fleet.section()
    );
    let [mut first, second] = [0, 1].map(|_| Host::with(&attested));
    let mut purchase = Purchase::of_echo(&first, "quoted").await;
    purchase.url = format!("{}/x402_execute/verifiable/wasm", first.url());
    let payment = purchase.payment(&shop.chain, Version::V2).await;
    let bought = purchase.pay(&payment).await;
    assert_eq!(bought.status, 200, "{bought:?}");
    let quote = |answer: &Answer| {
        let response = ContentFormat::Cbor.decode::<ExecuteResponse>(&answer.body);
        response.unwrap().result_quote
    };
    assert!(quote(&bought).is_some());
    first.kill();
    let purchase = purchase.moved(&second);
    let again = eventually("the other host answers", async || {
        let again = purchase.pay(&payment).await;
        assert!([200, 503].contains(&again.status), "{again:?}");
        (again.status == 200).then_some(again)
    })
    .await;
    assert_eq!(again.body, bought.body);
    assert_eq!(shop.charges().await, 1);
}

/// An answer of a host that may first have to wait for another one to be dead.
async fn eventually_bought(shop: &Shop, host: usize, number: usize, payment: &Payment) -> Answer {
    let last = Mutex::new(None);
    eventually("the payment is answered", async || {
        let answer = shop.buy(host, number, payment).await;
        let is_bought = answer.status == 200;
        assert!(is_bought || answer.status == 503, "{answer:?}");
        *last.lock().unwrap() = Some(format!("{answer:?}"));
        is_bought.then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_host_that_was_stopped_while_it_worked_settles_nothing_when_it_goes_on() {
    let shop = Shop::open("unsettled = 8\nwall = '60s'").await;
    let places = places(&shop);
    let stopped = Instant::now();
    let mut orders = JoinSet::new();
    for number in 0..12 {
        let payment = shop.payment();
        orders.spawn(order(Arc::clone(&places), number, payment));
        if number == 5 {
            shop.hosts[0].freeze();
        }
    }
    // Longer than it takes to be taken for dead.
    tokio::time::sleep(Duration::from_secs(15)).await;
    shop.hosts[0].thaw();
    assert!(stopped.elapsed() >= Duration::from_secs(15));
    for ended in orders.join_all().await {
        ended.unwrap();
    }
    assert_eq!(shop.charges().await, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_in_between_loses_no_payment() {
    for more in ["unsettled = 8", "unsettled = 8\nsettle_first = true"] {
        let mut shop = Shop::open(more).await;
        let places = places(&shop);
        let mut orders = JoinSet::new();
        let mut made = 0;
        for _ in 0..3 {
            for _ in 0..4 {
                let payment = shop.payment();
                orders.spawn(order(Arc::clone(&places), made, payment));
                made += 1;
            }
            tokio::task::block_in_place(|| {
                shop.fleet.database.stop_immediately();
                shop.fleet.database.run();
            });
        }
        for ended in orders.join_all().await {
            ended.unwrap();
        }
        assert_eq!(shop.charges().await, made);
    }
}

fn places(shop: &Shop) -> Places {
    let urls = shop.hosts.iter().map(|host| host.url().to_owned());
    Arc::new(Mutex::new(urls.collect()))
}

/// Kills of both flows together; `HYPERVISOR_FLEET_KILLS` has another number.
const KILLS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_a_fleet_killed_at_random_charge_once_for_what_the_fleet_answers() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let kills: usize = number("HYPERVISOR_FLEET_KILLS").unwrap_or(KILLS);
    let mut chance = Chance(u64::from_le_bytes(random()));
    println!("{kills} kills, seed {}", chance.0);
    for more in ["unsettled = 64", "unsettled = 64\nsettle_first = true"] {
        let began = Instant::now();
        let mut shop = Shop::open(more).await;
        let places = places(&shop);
        let mut orders = JoinSet::new();
        let mut made = 0;
        for _ in 0..kills / 2 {
            for _ in 0..2 {
                let payment = shop.payment();
                orders.spawn(order(Arc::clone(&places), made, payment));
                made += 1;
            }
            tokio::time::sleep(Duration::from_millis(chance.next() % 120)).await;
            let victim = usize::try_from(chance.next() % 3).unwrap();
            tokio::task::block_in_place(|| shop.hosts[victim].kill_and_restart());
            places.lock().unwrap()[victim] = shop.hosts[victim].url().to_owned();
        }
        let mut lost = HashSet::new();
        for ended in orders.join_all().await {
            lost.extend(ended.err());
        }
        let charged = shop.charges().await;
        println!(
            "{more}: {made} payments, {charged} charged, {:?}",
            began.elapsed()
        );
        assert_eq!(lost, HashSet::new());
        assert_eq!(charged, made);
    }
}

/// Numbers from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
