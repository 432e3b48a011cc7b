//! Agents: requests a second beside `wasmtime serve` and a server without WebAssembly, a thousand of them, and swaps under load.

mod epoch;
mod limits;
mod load;
mod many;
mod serve;
mod swap;

pub(crate) use load::load;

use hypervisor_client::Client;
use hypervisor_client::protocol::OwnerKey;

use crate::client_runtime;
use crate::error::{Context, Error, Result};
use crate::report::Section;
use crate::server::Process;

/// The component that every figure is of.
const GUEST: &str = "http-hello.wasm";

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "agents",
        "GET of `http-hello`, the load from `wrk` with one thread and 32 connections, all on the same machine",
    );
    let runtime = client_runtime()?;
    for group in runtime.block_on(serve::measure(rounds))? {
        section.push(group);
    }
    section.push(runtime.block_on(limits::measure(rounds))?);
    section.push(runtime.block_on(epoch::measure(rounds))?);
    section.push(runtime.block_on(many::measure(rounds))?);
    Ok(section)
}

pub(crate) fn measure_swaps(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "swap",
        "a plugin swapped again and again while 4 connections ask without a pause; no request may fail",
    );
    section.push(client_runtime()?.block_on(swap::measure(rounds))?);
    Ok(section)
}

/// What was built of the guest.
fn guest() -> Result<std::path::PathBuf> {
    let path = crate::sealed::guest_path(GUEST)?;
    path.exists()
        .then_some(path)
        .context("target/guests/http-hello.wasm (make guests)")
}

/// Deploys the guest under a name.
pub(crate) async fn deploy(host: &Process, owner: &OwnerKey, name: &str, more: &str) -> Result<()> {
    deploy_guest(host, owner, GUEST, name, more).await
}

/// Deploys a component of `target/guests` under a name.
pub(crate) async fn deploy_guest(
    host: &Process,
    owner: &OwnerKey,
    guest: &str,
    name: &str,
    more: &str,
) -> Result<()> {
    let component = crate::sealed::guest(guest)?;
    let manifest =
        format!("name = '{name}'\ndescription = 'Says hello.'\nversion = '1.0.0'\n{more}\n");
    let failed = |e: hypervisor_client::Error| Error::new(e.to_string());
    let client = Client::new(&format!("http://{}", host.address())).map_err(failed)?;
    let session = client.open_session().await.map_err(failed)?;
    session
        .deploy(&component, &manifest, owner)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(crate) fn owner() -> Result<OwnerKey> {
    OwnerKey::generate()
        .map(|(key, _)| key)
        .map_err(|e| Error::new(e.to_string()))
}

/// A configuration with a policy in Rust that allows the guest; its rules are written into `folder`.
pub(crate) fn policy(folder: &std::path::Path) -> Result<String> {
    let component = std::fs::read(guest()?).context("http-hello.wasm")?;
    let rules = folder.join("digests");
    let digest = const_hex::encode(hypervisor_runtime::sha256(&component));
    std::fs::write(&rules, digest).context("writing rules")?;
    let engine = crate::sealed::component("policy-rust.wasm")?;
    Ok(format!(
        "[policy]\ncomponent = {engine:?}\nrules = {rules:?}\n"
    ))
}
