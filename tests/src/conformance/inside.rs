//! Programs in the component: sealed, sent to a host, and run in an instance each, as everybody's are.

use std::sync::atomic::{AtomicUsize, Ordering};

use hypervisor_client::environments::{Bundle, CallLimits, ExecuteInput, Terms};
use hypervisor_client::protocol::environment::EnvironmentInfo;
use hypervisor_client::protocol::{OwnerKey, Report};
use hypervisor_client::{Client, Program as Script, Session, ending};

use crate::conformance::error::Error;
use crate::conformance::outcome::{Outcomes, first_line};
use crate::conformance::program::{MAIN, Program};

/// Runs programs on a host, `at_once` side by side; `done` is told how many have ended.
///
/// # Errors
/// [`Error::Host`] where the host does not answer. How a program ends is no error.
pub async fn inside(
    url: &str,
    programs: &[Program],
    at_once: usize,
    done: impl Fn(usize),
) -> Result<Outcomes, Error> {
    let next = AtomicUsize::new(0);
    let client = Client::new(url)?;
    let worker = async || {
        let session = client.open_session().await?;
        let (owner, _) = OwnerKey::generate().map_err(hypervisor_client::Error::Protocol)?;
        let mut outcomes = Outcomes::new();
        while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = match program.script() {
                Some(script) => in_script(&session, script).await?,
                None => in_environment(&session, &owner, program).await?,
            };
            outcomes.insert(program.name.clone(), outcome);
            done(next.load(Ordering::Relaxed).min(programs.len()));
        }
        Ok::<_, Error>(outcomes)
    };
    let mut all = Outcomes::new();
    for outcomes in futures(at_once, worker).await {
        all.extend(outcomes?);
    }
    Ok(all)
}

/// What so many futures give that are polled together.
async fn futures<T>(count: usize, make: impl AsyncFn() -> T) -> Vec<T> {
    let mut open: Vec<_> = (0..count).map(|_| Some(Box::pin(make()))).collect();
    let mut all = Vec::with_capacity(count);
    std::future::poll_fn(|context| {
        for slot in &mut open {
            let Some(future) = slot else { continue };
            if let std::task::Poll::Ready(it) = future.as_mut().poll(context) {
                all.push(it);
                *slot = None;
            }
        }
        match open.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    all
}

async fn in_script(session: &Session, script: &str) -> Result<String, Error> {
    let ran = session
        .run_javascript(Script::new(script.as_bytes()))
        .await?;
    Ok(outcome(&ran.result, &ran.report))
}

/// A bundle is set up, its handler called once, and the environment removed.
async fn in_environment(
    session: &Session,
    owner: &OwnerKey,
    program: &Program,
) -> Result<String, Error> {
    let modules = program.files.iter();
    let bundle = Bundle {
        language: "javascript".to_owned(),
        main: MAIN.to_owned(),
        modules: modules
            .map(|(name, source)| (name.clone(), source.as_bytes().to_vec().into()))
            .collect(),
        ..Bundle::default()
    };
    let terms = Terms {
        limits: CallLimits {
            cpu_ms: Some(60_000),
            wall_ms: Some(120_000),
            memory_bytes: Some(256 << 20),
        },
        ..Terms::default()
    };
    let set_up = session.set_up(&bundle, &terms, owner).await?;
    let Some(EnvironmentInfo { id, .. }) = &set_up.answer.environment else {
        return Ok(outcome(b"", &set_up.execution.report));
    };
    let called = session.execute(id, &ExecuteInput::default(), owner).await?;
    session.remove_environment(id, owner).await?;
    Ok(outcome(&called.answer.stdout.0, &called.execution.report))
}

/// What the program said, or how it ended without a word.
fn outcome(output: &[u8], report: &Report) -> String {
    let said = String::from_utf8_lossy(output);
    if let Some(line) = first_line(&said) {
        return line;
    }
    let words = String::from_utf8_lossy(&report.stderr.0);
    let ending = ending(&report.exit).or_else(|| first_line(&words));
    format!(
        "ended: {}",
        ending.unwrap_or_else(|| "without a word".to_owned())
    )
}
