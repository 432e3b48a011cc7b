//! Evidence: how many sessions and results a platform serves that makes one quote a second, and what verifying takes.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hypervisor_protocol::{ContentFormat, CreateKeypairRequest, CreateKeypairResponse, PrivateKey};
use hypervisor_simulated::Simulator;
use hypervisor_tests::peers::policy_text;
use hypervisor_verify::{Challenge, Evidence, Expected, ExpectedSubject, Policy, VerifierNonce};
use tokio::task::JoinSet;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Section, Unit};
use crate::sealed::{Ready, Session, component};
use crate::server::Process;
use crate::stats::{micros, percentile};

const FORMAT: ContentFormat = ContentFormat::Cbor;
const SEED: &str = "bench";
const SESSIONS: usize = 4;
const RESULTS: usize = 200;
const VERIFICATIONS: usize = 50;
const ATTESTED: &str = "/test/policy/unsafe/python/attest";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "attestation",
        "evidence by the simulated backend; a quote takes a second, as the TDX driver's does",
    );
    let runtime = client_runtime()?;
    section.push(runtime.block_on(served(rounds))?);
    section.push(runtime.block_on(verified(rounds))?);
    Ok(section)
}

fn config(delay: &str) -> Result<String> {
    let plugin = std::fs::read_to_string(component("policy-python.toml")?)
        .context("target/components/policy-python.toml (make components)")?;
    Ok(format!(
        "[runtime.python]\n{plugin}[attestation]\nbackend = 'simulated'\nsimulated_seed = '{SEED}'\nsimulated_delay = '{delay}'\n"
    ))
}

async fn served(rounds: u32) -> Result<Group> {
    let host = Process::configured(&config("1s")?)?;
    let (mut sessions, mut results) = (vec![], vec![]);
    for _ in 0..rounds {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..SESSIONS {
            let mut connection = Connection::open(host.address()).await?;
            tasks.spawn(async move { attested_session(&mut connection).await.map(drop) });
        }
        finish(&mut tasks).await?;
        sessions.push(SESSIONS as f64 / started.elapsed().as_secs_f64());

        let mut connection = Connection::open(host.address()).await?;
        let session = std::sync::Arc::new(Session::open(&mut connection).await?);
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for _ in 0..RESULTS {
            let mut connection = Connection::open(host.address()).await?;
            let Ready { body, pending } = session.seal_script(FORMAT, "print('hello')")?;
            let session = std::sync::Arc::clone(&session);
            tasks.spawn(async move {
                let answer = connection.post(ATTESTED, FORMAT, body).await?;
                session.check(FORMAT, &pending, &answer, b"hello\n")
            });
        }
        finish(&mut tasks).await?;
        results.push(RESULTS as f64 / started.elapsed().as_secs_f64());
    }
    let mut group = Group::new("one quote a second");
    group.add(
        format!("sessions with evidence, {SESSIONS} at once, a second"),
        Unit::PerSecond,
        sessions,
    );
    group.add(
        format!("results with evidence, {RESULTS} at once, a second"),
        Unit::PerSecond,
        results,
    );
    Ok(group)
}

async fn finish(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a client task")??;
    }
    Ok(())
}

/// A session with evidence, what it should be about, and the nonce.
async fn attested_session(connection: &mut Connection) -> Result<(Evidence, Expected)> {
    let key = PrivateKey::generate();
    let nonce = VerifierNonce::new(*b"a nonce of bench").context("the nonce")?;
    let request = CreateKeypairRequest::new(key.public_key(), Some(nonce.as_bytes().to_vec()));
    let body = FORMAT.encode(&request).context("encoding")?;
    let path = "/verifiable/encrypt/create_keypair";
    let answer = connection.post(path, FORMAT, body.into()).await?;
    let answer: CreateKeypairResponse = FORMAT.decode(&answer).context("decoding")?;
    let evidence = answer.evidence.context("no evidence")?;
    let evidence = Evidence::decode(FORMAT, &evidence.0).context("the evidence")?;
    let session_public_key = hypervisor_protocol::PublicKey::from_sec1(&answer.session_pubkey.0)
        .context("the session's key")?;
    let subject = ExpectedSubject::Session {
        session_public_key,
        session_id: answer.session_id,
        client_public_key: key.public_key().clone(),
    };
    let made_at = now();
    Ok((
        evidence,
        Expected::new(subject, Some(Challenge { nonce, made_at })),
    ))
}

async fn verified(rounds: u32) -> Result<Group> {
    let host = Process::configured(&config("0s")?)?;
    let mut connection = Connection::open(host.address()).await?;
    let (evidence, expected) = attested_session(&mut connection).await?;
    let policy = policy()?;
    let (mut times, now) = (vec![], now());
    for _ in 0..rounds {
        let mut round = vec![];
        for _ in 0..VERIFICATIONS {
            let started = Instant::now();
            let verdict = hypervisor_verify::verify(&evidence, &policy, &expected, now);
            round.push(micros(started.elapsed()) / 1e3);
            if !verdict.passed() {
                return Err(Error::new(format!(
                    "the evidence does not verify: {verdict}"
                )));
            }
        }
        times.push(percentile(&mut round, 50.0));
    }
    let mut group = Group::new("verifying a session's evidence, offline");
    group.add("p50", Unit::Milliseconds, times);
    Ok(group)
}

/// What believes the simulation, whatever the host runs.
fn policy() -> Result<Policy> {
    let simulator = Simulator::builder(SEED.as_bytes())
        .build()
        .context("the simulator")?;
    let root = format!(
        "simulated = \"{}\"",
        const_hex::encode(simulator.fingerprint())
    );
    let text = policy_text(&root, &simulator, "any = true");
    Policy::parse(&text).context("the policy")
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
