//! The database of a fleet: what its operator sees, what they cannot change, and what goes on while it is away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypervisor_client::protocol::Exit;
use hypervisor_client::{Client, Program};
use hypervisor_tests::agents::owner;
use hypervisor_tests::eventually;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator, Purchase, Version};
use hypervisor_tests::postgres::{PASSWORD, Postgres};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Answer, Host};
use memchr::memmem;

use crate::payments::kit::checked;

/// No answer takes longer, with room for a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(15);

/// A host of a fleet that sells.
struct Shop {
    fleet: Fleet,
    chain: Chain,
    _facilitator: Facilitator,
    host: Host,
}

impl Shop {
    fn over(database: Postgres) -> Self {
        Self::at(Fleet::over(database), |fleet| fleet.section())
    }

    fn at(fleet: Fleet, section: impl FnOnce(&Fleet) -> String) -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let sells = config(&chain, facilitator.url(), &confirmed(&chain));
        let host = Host::with(&format!("{sells}{}", section(&fleet)));
        Self {
            fleet,
            chain,
            _facilitator: facilitator,
            host,
        }
    }

    async fn transfers(&self) -> usize {
        self.chain.transfers().await.len()
    }

    /// Buys with one payment until it is answered: how many answers there were.
    async fn buys(&self, purchase: &Purchase) {
        // A host that noticed that its database was away notices that it is back.
        eventually("an offer", async || {
            (purchase.send(&[]).await.status == 402).then_some(())
        })
        .await;
        let payment = purchase.payment(&self.chain, Version::V2).await;
        let began = self.transfers().await;
        eventually("the payment buys an answer", async || {
            let answer = purchase.pay(&payment).await;
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 200).then_some(())
        })
        .await;
        assert_eq!(self.transfers().await, began + 1);
    }
}

fn is_away(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "payment-unverified")
    );
    assert!(answer.headers.contains_key("retry-after"));
}

async fn readiness(host: &Host) -> u16 {
    let url = format!("{}/readyz", host.admin());
    reqwest::get(url).await.unwrap().status().as_u16()
}

/// A free execution, which has to be answered.
async fn runs(client: &Client) {
    let session = client.open_session().await.unwrap();
    let done = session.run_wasm(Program::new(&guest("echo"))).await;
    assert_eq!(done.unwrap().report.exit, Exit::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_databases_operator_sees_names_nobody_and_nothing() {
    let shop = Shop::over(Postgres::start());
    let owner = owner();
    shop.host
        .deploy(&owner, "http-hello", "planted-agent-name", "")
        .await;
    let purchase = Purchase::of_echo(&shop.host, "planted-argument").await;
    let payment = purchase.payment(&shop.chain, Version::V2).await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.status, 200);
    let payer = payment.authorization.from.0.to_vec();
    let planted = [
        ("name", b"planted-agent-name".to_vec()),
        ("argument", b"planted-argument".to_vec()),
        ("payer", payer),
        ("signature", payment.signature()),
        ("nonce", payment.authorization.nonce.to_vec()),
    ];
    // What is not on the disk yet is in the database already.
    let dump = shop.fleet.database.dump();
    let lower = dump.to_ascii_lowercase();
    let holds = |word: &[u8]| {
        let hex = const_hex::encode(word);
        let twice = const_hex::encode(&hex);
        [word, hex.as_bytes(), twice.as_bytes()]
            .iter()
            .any(|it| memmem::find(&lower, it).is_some())
    };
    for (what, word) in &planted {
        assert!(!holds(word), "{what}");
    }
    // The same search finds what is there.
    let key = shop.fleet.rows("payments").pop().unwrap();
    assert!(holds(&const_hex::decode(key).unwrap()) && holds(b"hypervisor_rows"));
    assert!(!shop.fleet.rows("agents").is_empty());
    assert!(!shop.host.log().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_stops_sales_alone_until_it_is_back() {
    let mut shop = Shop::over(Postgres::durable());
    let purchase = Purchase::of_echo(&shop.host, "argument").await;
    runs(&shop.host.client()).await;
    for immediate in [false, true] {
        let (client, over) = (shop.host.client(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&over);
        let free = tokio::spawn(async move {
            let mut ran = 0;
            while !ends.load(Ordering::Acquire) {
                runs(&client).await;
                ran += 1;
            }
            ran
        });
        let payment = purchase.payment(&shop.chain, Version::V2).await;
        match immediate {
            true => shop.fleet.database.stop_immediately(),
            false => shop.fleet.database.kill(),
        }
        for _ in 0..5 {
            runs(&shop.host.client()).await;
            is_away(&purchase.pay(&payment).await);
        }
        assert_eq!(readiness(&shop.host).await, 200);
        let up = "hypervisor_fleet_store_up";
        assert_eq!(shop.host.counter(up).await, 0);
        shop.fleet.database.run();
        let next = Purchase::of_echo(&shop.host, "argument").await;
        shop.buys(&next).await;
        assert_eq!(shop.host.counter(up).await, 1);
        over.store(true, Ordering::Release);
        // Each of them was answered.
        assert!(free.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_waits_for_a_database_that_stands_still() {
    let shop = Shop::over(Postgres::start());
    let purchase = Purchase::of_echo(&shop.host, "argument").await;
    let payment = purchase.payment(&shop.chain, Version::V2).await;
    runs(&shop.host.client()).await;
    shop.fleet.database.freeze();
    for _ in 0..10 {
        let began = Instant::now();
        is_away(&purchase.pay(&payment).await);
        runs(&shop.host.client()).await;
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    }
    assert_eq!(readiness(&shop.host).await, 200);
    shop.fleet.database.thaw();
    shop.buys(&purchase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_is_known_to_the_standby_that_takes_over() {
    let primary = Postgres::durable();
    let standby = primary.standby();
    let both = primary.url().replace(
        &format!(":{}/", primary.port()),
        &format!(":{},127.0.0.1:{}/", primary.port(), standby.port()),
    );
    let mut shop = Shop::at(Fleet::over(primary), |fleet| fleet.section_at(&both));
    let mut paid = Vec::new();
    for number in 0..5 {
        let purchase = Purchase::of_echo(&shop.host, &number.to_string()).await;
        let payment = purchase.payment(&shop.chain, Version::V2).await;
        assert_eq!(purchase.pay(&payment).await.status, 200);
        paid.push((purchase, payment));
    }
    shop.fleet.database.kill();
    standby.promote();
    let next = Purchase::of_echo(&shop.host, "argument").await;
    shop.buys(&next).await;
    let charged = shop.transfers().await;
    for (purchase, payment) in &paid {
        // It is known: answered again, or said to have been answered, and not charged.
        let status = purchase.pay(payment).await.status;
        assert!(matches!(status, 200 | 409), "{status}");
    }
    assert_eq!(shop.transfers().await, charged);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_whose_rows_were_altered_or_swapped_are_refused_and_others_are_served() {
    let fleet = Fleet::start();
    let mut host = fleet.host("");
    let owner = owner();
    host.deploy(&owner, "http-hello", "one", "").await;
    let one = fleet.rows("agents").pop().unwrap();
    host.deploy(&owner, "http-hello", "two", "").await;
    let both = fleet.rows("agents");
    let two = both.iter().find(|key| **key != one).unwrap().clone();
    let served = async |host: &Host| {
        let one = host.get("one", "/").await.status().as_u16();
        (one, host.get("two", "/").await.status().as_u16())
    };
    fleet.flip("agents", &one);
    host.kill_and_restart();
    assert_eq!(served(&host).await, (404, 200));
    assert!(host.log().contains("an agent cannot be read"));
    fleet.flip("agents", &one);
    host.kill_and_restart();
    assert_eq!(served(&host).await, (200, 200));
    fleet.swap("agents", &one, &two);
    host.kill_and_restart();
    assert_eq!(served(&host).await, (404, 404));
    fleet.swap("agents", &one, &two);
    fleet.flip("agent-bodies", &one);
    host.kill_and_restart();
    let (altered, other) = served(&host).await;
    assert_eq!((altered, other), (500, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_altered_or_put_back_older_is_not_taken_for_what_it_was() {
    let shop = Shop::over(Postgres::start());
    shop.fleet.remember();
    let purchase = Purchase::of_echo(&shop.host, "argument").await;
    let payment = purchase.payment(&shop.chain, Version::V2).await;
    assert_eq!(purchase.pay(&payment).await.status, 200);
    let key = shop.fleet.rows("payments").pop().unwrap();
    shop.fleet.flip("payments", &key);
    is_away(&purchase.pay(&payment).await);
    assert!(
        shop.host
            .log()
            .contains("a row of `payments` does not authenticate")
    );
    shop.fleet.flip("payments", &key);
    assert!(matches!(purchase.pay(&payment).await.status, 200 | 409));
    assert_eq!(shop.transfers().await, 1);
    // As it was before it was settled.
    shop.fleet.set_back("payments");
    is_away(&purchase.pay(&payment).await);
    let said = "a row of `payments` is older than this host has seen it";
    assert!(shop.host.log().contains(said));
    assert_eq!(shop.transfers().await, 1);
    let other = Purchase::of_echo(&shop.host, "argument").await;
    shop.buys(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_start_without_its_database_or_with_a_key_that_others_read() {
    let mut fleet = Fleet::start();
    let said = |section: &str| {
        let checked = checked(section);
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(!said.contains(PASSWORD), "{said}");
        (checked.status.success(), said)
    };
    let (is_well, text) = said(&fleet.section());
    assert!(is_well && text.contains("# fleet: PostgreSQL"), "{text}");

    fs::set_permissions(fleet.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let (is_well, text) = said(&fleet.section());
    assert!(
        !is_well && text.contains("can be read by everybody"),
        "{text}"
    );
    fs::set_permissions(fleet.key(), fs::Permissions::from_mode(0o600)).unwrap();

    fleet.database.kill();
    let (is_well, text) = said(&fleet.section());
    let place = format!("127.0.0.1:{}", fleet.database.port());
    assert!(!is_well && text.contains(&place), "{text}");
}
