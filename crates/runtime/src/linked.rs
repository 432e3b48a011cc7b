//! Plugins as imports of agents: an agent that imports `policy` or `payment` calls the component that the host has loaded.
//!
//! Values go from one component to the other as they are. Each call runs in an instance of the plugin of its own, under the
//! plugin's limits: what an agent passes is not the operator's, and must not meet what is.

use std::sync::{Arc, PoisonError, RwLock};

use hypervisor_wasm_check::PLUGIN_VERSION;
pub(super) use hypervisor_wasm_check::{PAYMENT as PAYMENT_INTERFACE, POLICY as POLICY_INTERFACE};
use wasmtime::component::{InstancePre, Linker, Val};

use super::guest::Guest;
use super::outcome::Exit;
use super::reserve::Reserve;
use super::sandbox::Sandboxes;

/// A plugin that is called by agents; the host may put another in its place.
pub(super) struct Callee {
    pub(super) pre: InstancePre<Guest>,
    pub(super) sandboxes: Sandboxes,
    pub(super) calls: Reserve,
}

/// Where the plugin in use is found.
pub(super) type Slot = Arc<RwLock<Option<Arc<Callee>>>>;

/// The functions of the interface `policy`.
pub(super) const POLICY: (&str, &[&str]) = (POLICY_INTERFACE, &["authorize", "check"]);
/// The functions of the interface `payment`.
pub(super) const PAYMENT: (&str, &[&str]) = (
    PAYMENT_INTERFACE,
    &["challenge", "identify", "verify", "settle", "reconcile"],
);

/// What asks facilitators and chains, on the operator's account and with whatever an agent passes: for the host alone.
const MONEY: &[&str] = &["verify", "settle", "reconcile"];

/// Adds an interface of plugins to the linker of agents.
pub(super) fn add_to_linker(
    linker: &mut Linker<Guest>,
    (interface, functions): (&'static str, &'static [&'static str]),
    slot: &Slot,
) -> wasmtime::Result<()> {
    let full = format!("{interface}@{PLUGIN_VERSION}");
    let mut instance = linker.instance(&full)?;
    for function in functions {
        let (slot, full) = (Arc::clone(slot), full.clone());
        instance.func_new_async(function, move |store, _, params, results| {
            // The plugin that was in use when the call entered the host, or the one of now for calls without a host around.
            let callee = match store.data().outgoing.chain.plugins() {
                Some(plugins) => plugins.callee(interface).cloned(),
                None => slot.read().unwrap_or_else(PoisonError::into_inner).clone(),
            };
            let full = full.clone();
            Box::new(async move {
                if MONEY.contains(function) {
                    let detail = format!("an agent may not call {function} of {full}");
                    return Err(wasmtime::Error::msg(detail));
                }
                let callee = callee.ok_or_else(|| {
                    wasmtime::Error::msg(format!("no plugin offers {full} any more"))
                })?;
                call(&callee, &full, function, params, results).await
            })
        })?;
    }
    Ok(())
}

async fn call(
    callee: &Callee,
    interface: &str,
    function: &str,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let _place = callee.calls.enter().await;
    let mut sandbox = callee.sandboxes.make(&["plugin".to_owned()]);
    let called = sandbox
        .call(async |store| {
            let instance = callee.pre.instantiate_async(&mut *store).await?;
            let found = instance
                .get_export_index(&mut *store, None, interface)
                .and_then(|export| instance.get_export_index(&mut *store, Some(&export), function))
                .and_then(|export| instance.get_func(&mut *store, export));
            let found =
                found.ok_or_else(|| wasmtime::Error::msg("the plugin lacks this function"))?;
            found.call_async(&mut *store, params, results).await
        })
        .await;
    let exit = called.as_ref().err().cloned().unwrap_or(Exit::Ok);
    sandbox.finish(exit);
    called.map_err(|exit| {
        let what = match exit {
            Exit::Limit { which, .. } => format!("reached its limit `{which:?}`"),
            _ => "ended without an answer".to_owned(),
        };
        wasmtime::Error::msg(format!("the plugin behind {interface} {what}"))
    })
}
