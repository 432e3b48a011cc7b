//! A plugin swapped under load: what requests take before, during and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypervisor::admin::{Place, Token};
use hypervisor::pipeline::{Plugin, Replacement};
use hypervisor_ctl::operator;

use crate::error::{Context, Error, Result};
use crate::http::Connection;
use crate::report::{Group, Unit};
use crate::server::{Process, free_address};
use crate::stats::{micros, percentile};

use super::{deploy, owner, policy};

const CONNECTIONS: usize = 4;
const PHASE: Duration = Duration::from_secs(3);

pub(super) async fn measure() -> Result<Group> {
    let folder = tempfile::TempDir::new().context("temporary folder")?;
    let admin = free_address()?;
    let token = folder.path().join("admin.token");
    let read = |name: &str| std::fs::read(crate::sealed::component(name)?).context(name.to_owned());
    let example = |name: &str| format!("../templates/example-{name}.wasm");
    // It sells nothing here: it is there to be swapped.
    let payments = crate::sealed::component(&example("payments-js"))?;
    let config = format!(
        "{}[payments]\ncomponent = {payments:?}\npay_to = 'counter'\n[admin]\nlistening = '{admin}'\ntoken_file = {token:?}\n",
        policy(folder.path())?
    );
    let host = Process::configured(&config)?;
    let token = Token::read(&token).context("the admin port's token")?;
    let admin = Place::Tcp(admin);
    deploy(&host, &owner()?, "hello", "").await?;
    let mut group =
        Group::new("p99 of a request, 4 connections, a plugin swapped again and again meanwhile");
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
                operator::swap(&admin, Some(&token), *plugin, replacement.clone())
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
    group.add("before", Unit::Microseconds, [phase(None).await?.0]);
    let with = |plugin, name: &str, rules: Option<&str>| -> Result<_> {
        let component = Some(read(name)?.into());
        let rules = rules.map(|rules| rules.as_bytes().to_vec().into());
        Ok((plugin, Replacement { component, rules }))
    };
    let rust = with(Plugin::Policy, "policy-rust.wasm", None)?;
    let (during, swaps) = phase(Some(&rust)).await?;
    group.add("during", Unit::Microseconds, [during]);
    group.add("after", Unit::Microseconds, [phase(None).await?.0]);
    // What authors make of the templates: at least one swap each, however long it takes.
    let sizes = r#"{"origins": [], "largest": 1000000000}"#;
    for (label, plugin, name, rules) in [
        (
            "payments, in JavaScript",
            Plugin::Payments,
            "payments-js",
            None,
        ),
        (
            "a policy in JavaScript",
            Plugin::Policy,
            "policy-js",
            Some(sizes),
        ),
        (
            "a policy in Python",
            Plugin::Policy,
            "policy-python",
            Some(""),
        ),
    ] {
        let swapped = with(plugin, &example(name), rules)?;
        let (during, _) = phase(Some(&swapped)).await?;
        group.add(format!("during, to {label}"), Unit::Microseconds, [during]);
    }
    group.add(
        "swaps of the policy in Rust in three seconds, no request failed",
        Unit::Count,
        [swaps as f64],
    );
    Ok(group)
}
