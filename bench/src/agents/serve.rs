//! Requests a second, in turns: a server without WebAssembly, `wasmtime serve` of the same component, and the host.

use crate::error::{Context, Result};
use crate::report::{Group, Unit};
use crate::server::Process;

use super::load::load;
use super::{deploy, guest, owner, policy};

/// Requests that one instance answers, on both sides.
const REUSE: u32 = 128;

pub(super) async fn measure(rounds: u32) -> Result<Vec<Group>> {
    let folder = tempfile::TempDir::new().context("temporary folder")?;
    let host = Process::host()?;
    let asked = Process::configured(&policy(folder.path())?)?;
    let owner = owner()?;
    deploy(&host, &owner, "hello", "").await?;
    deploy(&host, &owner, "hello-again", &format!("reuse = {REUSE}")).await?;
    deploy(&asked, &owner, "hello", "").await?;
    let bare = Process::echo()?;
    let peer = Process::wasmtime_serve(&guest()?, &[])?;
    let tuned = Process::wasmtime_serve(
        &guest()?,
        &[
            "-O",
            "pooling-memory-keep-resident=4194304,pooling-table-keep-resident=65536,pooling-pagemap-scan=y",
        ],
    )?;
    let count = REUSE.to_string();
    let peer_again =
        Process::wasmtime_serve(&guest()?, &["--max-instance-reuse-count", count.as_str()])?;

    let agent = |name: &str| format!("http://{}/agents/{name}/", host.address());
    let urls = [
        (
            "a server without WebAssembly",
            format!("http://{}/hello", bare.address()),
        ),
        ("wasmtime serve", format!("http://{}/", peer.address())),
        (
            "wasmtime serve, its pool set as the host sets its own",
            format!("http://{}/", tuned.address()),
        ),
        ("host, an instance for each request", agent("hello")),
        (
            "host, and a policy in Rust asked each time",
            format!("http://{}/agents/hello/", asked.address()),
        ),
        (
            "wasmtime serve, 128 requests an instance",
            format!("http://{}/", peer_again.address()),
        ),
        ("host, 128 requests an instance", agent("hello-again")),
    ];
    let mut figures = vec![Vec::new(); urls.len()];
    for _ in 0..rounds {
        for ((_, url), figure) in urls.iter().zip(&mut figures) {
            let measured = tokio::task::spawn_blocking({
                let url = url.clone();
                move || load(&url)
            });
            figure.push(measured.await.context("wrk")??.requests_a_second);
        }
    }
    let of = |index: usize| figures.get(index).cloned().unwrap_or_default();
    let over =
        |a: usize, b: usize| -> Vec<f64> { of(a).iter().zip(of(b)).map(|(a, b)| a / b).collect() };
    let mut group = Group::new("requests a second");
    for ((name, _), figure) in urls.iter().zip(&figures) {
        group.add(*name, Unit::PerSecond, figure.clone());
    }
    let mut ratios = Group::new("ratios of the same round");
    // The one that does not move with the processor comes first.
    ratios.add(
        "host / wasmtime serve, its pool set as the host's",
        Unit::Ratio,
        over(3, 2),
    );
    ratios.add("host / wasmtime serve", Unit::Ratio, over(3, 1));
    ratios.add_with_aim(
        "host / wasmtime serve, 128 requests an instance",
        Unit::Ratio,
        over(6, 5),
        ">= 1.5",
    );
    ratios.add(
        "host / a server without WebAssembly",
        Unit::Ratio,
        over(3, 0),
    );
    ratios.add("with a policy / without", Unit::Ratio, over(4, 3));
    Ok(vec![group, ratios])
}
