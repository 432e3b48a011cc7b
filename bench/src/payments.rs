//! Payments: what the component takes to judge one offline, what a paid execution costs beyond its facilitator, and how many
//! there are in a second when many are paid at once.

use std::time::{Duration, Instant};

use hypervisor::config::Config;
use hypervisor_protocol::ContentFormat;
use hypervisor_runtime::{Header, Offer, PaymentEngine, ResourceInfo, Verification};
use hypervisor_tests::payments::faulty::{Facilitator, Fault};
use hypervisor_tests::payments::sign::Tamper;
use hypervisor_tests::payments::{Address, Payer, Payment};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::executor;
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{EXECUTE, Ready, Session, component, guest};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const PAID: &str = "/x402_execute/test/wasm";
const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// Executions of each kind in a round, in turns of [`TURN`].
const REQUESTS: usize = 100;
const TURN: usize = 10;
/// What a facilitator that sends transactions to a chain takes for each of its answers, at the least.
const USUAL: Duration = Duration::from_millis(20);
/// Payers that pay at once, and what each buys in a round.
pub(crate) const AT_ONCE: usize = 16;
pub(crate) const EACH: usize = 10;

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "payments",
        "x402 by the payment component; the facilitator answers at once and moves no money",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(offline(rounds))?);
    section.push(runtime.block_on(beyond(rounds))?);
    section.push(runtime.block_on(at_once(rounds, Duration::ZERO))?);
    section.push(runtime.block_on(at_once(rounds, USUAL))?);
    Ok(section)
}

pub(crate) fn config(facilitator: &str, pay_to: Address) -> Result<String> {
    let plugin = std::fs::read_to_string(component("payments.toml")?)
        .context("target/components/payments.toml (make components)")?;
    Ok(format!(
        "[payments]\n{plugin}networks = ['base-sepolia']\npay_to = '{pay_to}'\nfacilitators = ['{facilitator}']\n"
    ))
}

/// The offer of [`config`], as a challenge has it.
pub(crate) fn offer(pay_to: Address) -> Value {
    json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": USDC,
        "payTo": pay_to.to_string(), "maxTimeoutSeconds": 120, "extra": {"name": "USDC", "version": "2"},
    })
}

/// A payment that only the last check refuses, its signature's high s: all of the offline work, and no network.
async fn offline(rounds: u32) -> Result<Group> {
    let pay_to = Address::random();
    let text = config("http://127.0.0.1:1", pay_to)?;
    let config = Config::parse("bench.toml".as_ref(), &text).context("the configuration")?;
    let mut executor = executor::executor()?;
    let plugins = config.plugins().context("plugins")?;
    let plugins = executor.load_plugins(plugins).await.context("plugins")?;
    let engine = plugins.payments().context("no payment component")?;
    let info = ResourceInfo {
        url: "http://127.0.0.1/".to_owned(),
        description: None,
        mime_type: None,
        metadata: None,
    };
    let offers = [Offer {
        scheme: "exact".to_owned(),
        network: "eip155:84532".to_owned(),
        asset: USDC.to_owned(),
        amount: "10000".to_owned(),
        pay_to: pay_to.to_string(),
        max_timeout_seconds: 120,
        extra: Some(r#"{"name":"USDC","version":"2"}"#.to_owned()),
    }];
    let mut payment = Payment::for_offer(&Payer::generate(), &offer(pay_to));
    payment.tamper = Tamper::HighS;
    let (name, value) = payment.header();
    let headers = [Header {
        name: name.to_owned(),
        value,
    }];
    let (mut identified, mut verified) = (vec![], vec![]);
    for _ in 0..rounds {
        let (mut identify, mut verify) = (vec![], vec![]);
        for _ in 0..REQUESTS {
            let started = Instant::now();
            let id = engine
                .identify(&offers, &headers)
                .await
                .context("identify")?;
            identify.push(micros(started.elapsed()));
            id.context("the payment has no name")?;
            verify.push(refused(engine, &info, &offers, &headers).await?);
        }
        identified.push(percentile(&mut identify, 50.0));
        verified.push(percentile(&mut verify, 50.0));
    }
    let mut group = Group::new("inside the component, with a fresh instance for each call");
    group.add("which payment is it, p50", Unit::Microseconds, identified);
    group.add_with_aim(
        "offline verification, p50",
        Unit::Microseconds,
        verified,
        "< 150 us",
    );
    Ok(group)
}

/// Time of a verification that ends offline.
async fn refused(
    engine: &PaymentEngine,
    info: &ResourceInfo,
    offers: &[Offer],
    headers: &[Header],
) -> Result<f64> {
    let started = Instant::now();
    let verification = engine.verify(info, offers, headers).await;
    let time = micros(started.elapsed());
    match verification.context("verify")? {
        Ok(Verification::Refused(_)) => Ok(time),
        _ => Err(Error::new("the payment was not refused offline")),
    }
}

async fn beyond(rounds: u32) -> Result<Group> {
    let facilitator = Facilitator::start(None).await;
    let pay_to = Address::random();
    let host = Process::configured(&config(&facilitator.url(), pay_to)?)?;
    let mut connection = Connection::open(host.address()).await?;
    let address = facilitator.url();
    let address = address.strip_prefix("http://").unwrap_or_default();
    let mut asked = Connection::open(address.parse().context("the facilitator's address")?).await?;
    let session = Session::open(&mut connection).await?;
    let (hello, payer, offer) = (guest("hello.wasm")?, Payer::generate(), offer(pay_to));

    let (mut free, mut paid, mut theirs, mut rest) = (vec![], vec![], vec![], vec![]);
    let mut ratio = vec![];
    for round in 0..=rounds {
        let (mut of_free, mut of_paid, mut of_theirs) = (vec![], vec![], vec![]);
        for _ in 0..REQUESTS / TURN {
            for _ in 0..TURN {
                let Ready { body, pending } = session.seal(FORMAT, &hello, &[])?;
                let started = Instant::now();
                let answer = connection.post(EXECUTE, FORMAT, body).await?;
                of_free.push(micros(started.elapsed()));
                session.check(FORMAT, &pending, &answer, b"hello\n")?;
            }
            for _ in 0..TURN {
                let Ready { body, pending } = session.seal(FORMAT, &hello, &[])?;
                let payment = Payment::for_offer(&payer, &offer);
                let header = payment.header();
                let started = Instant::now();
                let answer = connection
                    .post_with(PAID, FORMAT, body, &[(header.0, &header.1)])
                    .await?;
                of_paid.push(micros(started.elapsed()));
                session.check(FORMAT, &pending, &answer, b"hello\n")?;

                // The same two questions, from here: what the facilitator and its connection take.
                let question = payment.question(&offer).to_string();
                let started = Instant::now();
                for path in ["/verify", "/settle"] {
                    asked
                        .post(path, ContentFormat::Json, question.clone().into())
                        .await?;
                }
                of_theirs.push(micros(started.elapsed()));
            }
        }
        // The first round compiles, and opens the files.
        if round > 0 {
            let p50 = |times: &mut Vec<f64>| percentile(times, 50.0) / 1e3;
            let (a, b, c) = (p50(&mut of_free), p50(&mut of_paid), p50(&mut of_theirs));
            free.push(a);
            paid.push(b);
            theirs.push(c);
            rest.push(b - a - c);
            ratio.push(b / a);
        }
    }
    let mut group = Group::new("hello.wasm, sealed, paid for");
    group.add("free, p50", Unit::Milliseconds, free);
    group.add("paid, p50", Unit::Milliseconds, paid);
    group.add(
        "the facilitator's two answers, p50",
        Unit::Milliseconds,
        theirs,
    );
    group.add_with_aim(
        "paid beyond free and facilitator, p50",
        Unit::Milliseconds,
        rest,
        "< 2 ms",
    );
    group.add_with_aim("paid over free, p50", Unit::Ratio, ratio, "<= 3");
    Ok(group)
}

/// What one payer sends over a connection of its own: made before the clock runs.
pub(crate) struct Buyer {
    connection: Connection,
    session: Session,
    requests: Vec<(Ready, (&'static str, String))>,
}

impl Buyer {
    pub(crate) async fn new(host: &Process, hello: &[u8], offer: &Value) -> Result<Self> {
        let mut connection = Connection::open(host.address()).await?;
        let session = Session::open(&mut connection).await?;
        // A session's first run compiles, and is not what is measured.
        let Ready { body, pending } = session.seal(FORMAT, hello, &[])?;
        let answer = connection.post(EXECUTE, FORMAT, body).await?;
        session.check(FORMAT, &pending, &answer, b"hello\n")?;
        let payer = Payer::generate();
        let request = || -> Result<_> {
            let payment = Payment::for_offer(&payer, offer).header();
            Ok((session.seal(FORMAT, hello, &[])?, payment))
        };
        let requests = (0..EACH).map(|_| request()).collect::<Result<_>>()?;
        Ok(Self {
            connection,
            session,
            requests,
        })
    }

    pub(crate) async fn buy(mut self) -> Result<()> {
        for (Ready { body, pending }, (name, value)) in self.requests {
            let payment = [(name, value.as_str())];
            let paid = self.connection.post_with(PAID, FORMAT, body, &payment);
            self.session
                .check(FORMAT, &pending, &paid.await?, b"hello\n")?;
        }
        Ok(())
    }
}

/// Paid executions a second, by one payer after the other and by all at once: each needs the disk, and those that come
/// together wait for it together.
async fn at_once(rounds: u32, late: Duration) -> Result<Group> {
    let facilitator = Facilitator::start(None).await;
    facilitator.on_verify(Fault::late(late));
    facilitator.on_settle(Fault::late(late));
    let pay_to = Address::random();
    let host = Process::configured(&config(&facilitator.url(), pay_to)?)?;
    let (hello, offer) = (guest("hello.wasm")?, offer(pay_to));
    let (mut alone, mut together, mut ratio) = (vec![], vec![], vec![]);
    // The first round compiles, and opens the files.
    for round in 0..=rounds {
        let mut rates = [0.0; 2];
        for (rate, buyers) in rates.iter_mut().zip([1, AT_ONCE]) {
            let mut all = Vec::new();
            for _ in 0..buyers {
                all.push(Buyer::new(&host, &hello, &offer).await?);
            }
            let started = Instant::now();
            let mut tasks: JoinSet<_> = all.into_iter().map(Buyer::buy).collect();
            while let Some(bought) = tasks.join_next().await {
                bought.context("a buyer")??;
            }
            let bought = u32::try_from(buyers * EACH).unwrap_or(u32::MAX);
            *rate = f64::from(bought) / started.elapsed().as_secs_f64();
        }
        if round > 0 {
            let [one, many] = rates;
            alone.push(one);
            together.push(many);
            ratio.push(many / one);
        }
    }
    let mut group = Group::new(match late.is_zero() {
        true => "hello.wasm, sealed, paid for by several payers; bound by the processor",
        false => "the same, with a facilitator that takes 20 ms for each answer",
    });
    group.add("one at a time", Unit::PerSecond, alone);
    group.add("16 at once", Unit::PerSecond, together);
    group.add_with_aim("16 at once over one", Unit::Ratio, ratio, ">= 4");
    Ok(group)
}
