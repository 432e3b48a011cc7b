//! A plugin swapped under load: what requests take before, during and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypervisor::admin::{Place, Token};
use hypervisor::pipeline::{Plugin, Replacement};
use hypervisor_ctl::operator::{Admin, AdminUrl, TlsFiles};

use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Unit};
use crate::server::{Process, free_address};
use crate::stats::{micros, percentile};

use super::{deploy, owner, policy};

const CONNECTIONS: usize = 4;
const PHASE: Duration = Duration::from_secs(3);

pub(super) async fn measure(rounds: u32) -> Result<Group> {
    let folder = tempfile::TempDir::new().context("temporary folder")?;
    let admin = free_address()?;
    let token = folder.path().join("admin.token");
    let read = |name: &str| std::fs::read(crate::sealed::component(name)?).context(name.to_owned());
    let example = |name: &str| format!("../templates/example-{name}.wasm");
    // It sells nothing here: it is there to be swapped.
    let payments = crate::sealed::component(&example("payments-js"))?;
    let config = format!(
        "{}[payments]\ncomponent = {payments:?}\npay_to = 'counter'\nprice = '1 TICKET'\n[admin]\nlistening = '{admin}'\ntoken_file = {token:?}\n",
        policy(folder.path())?
    );
    let host = Process::configured(&config)?;
    let token = Token::read(&token).context("the admin port's token")?;
    let url = AdminUrl::Plain(Place::Tcp(admin));
    let admin = Admin::new(url, Some(token), &TlsFiles::default());
    let admin = admin.map_err(|e| Error::new(e.to_string()))?;
    deploy(&host, &owner()?, "hello", "").await?;
    let mut group = Group::new("p99 of a request");
    let phase = async |swapped: Option<&(Plugin, Replacement)>| -> Result<(f64, usize)> {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (over, address) = (Arc::clone(&over), host.address());
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    connection.get("/agents/hello/").await?;
                    times.push(micros(started.elapsed()));
                }
                Ok::<_, Error>(times)
            });
        }
        let started = Instant::now();
        let mut swaps = 0;
        while started.elapsed() < PHASE {
            if let Some((plugin, replacement)) = swapped {
                admin
                    .swap(plugin.name(), replacement.clone())
                    .await
                    .map_err(|e| Error::new(e.to_string()))?;
                swaps += 1;
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done.context("a client")??);
        }
        Ok((percentile(&mut times, 99.0), swaps))
    };
    let with = |plugin: Plugin, name: &str, rules: Option<&str>| -> Result<_> {
        let component = Some(read(name)?.into());
        let rules = rules.map(|rules| rules.as_bytes().to_vec().into());
        Ok(Some((plugin, Replacement { component, rules })))
    };
    let sizes = r#"{"origins": [], "largest": 1000000000}"#;
    let rust = with(Plugin::Policy, "policy-rust.wasm", None)?;
    // The examples are what authors make of the templates: at least one swap each, however long it takes. The policy in Rust comes last,
    // so that the next round begins with it.
    let phases = [
        ("no swap", None),
        (
            "payments, in JavaScript",
            with(Plugin::Payments, &example("payments-js"), None)?,
        ),
        (
            "policy, in JavaScript",
            with(Plugin::Policy, &example("policy-js"), Some(sizes))?,
        ),
        (
            "policy, in Python",
            with(Plugin::Policy, &example("policy-python"), Some(""))?,
        ),
        ("policy, in Rust", rust),
    ];
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut swaps = Vec::new();
    for _ in 0..rounds {
        for (times, (_, swapped)) in times.iter_mut().zip(&phases) {
            let (p99, count) = phase(swapped.as_ref()).await?;
            times.push(p99);
            swaps.push(count as f64);
        }
    }
    for ((label, _), times) in phases.iter().zip(times) {
        group.add(*label, Unit::Microseconds, times);
    }
    let last = swaps
        .into_iter()
        .skip(phases.len() - 1)
        .step_by(phases.len());
    group.add(
        "swaps of the policy in Rust in three seconds",
        Unit::Count,
        last,
    );
    Ok(group)
}
