//! Plugins as imports of agents: an agent that imports `policy` or `payment` calls the component that the host has loaded.
//!
//! Values go from one component to the other as they are. Each call runs in an instance of the plugin of its own, under the
//! plugin's limits: what an agent passes is not the operator's, and must not meet what is.

use hypervisor_wasm_check::PLUGIN_VERSION;
pub(super) use hypervisor_wasm_check::{PAYMENT as PAYMENT_INTERFACE, POLICY as POLICY_INTERFACE};
use wasmtime::Store;
use wasmtime::component::{Func, Instance, InstancePre, Linker, Val};

use super::guest::Guest;
use super::outcome::Exit;
use super::reserve::Reserve;
use super::sandbox::Sandboxes;

/// A plugin as agents call it.
pub(super) struct Callee {
    pub(super) pre: InstancePre<Guest>,
    pub(super) sandboxes: Sandboxes,
    pub(super) calls: Reserve,
}

/// The functions of the interface `policy`.
pub(super) const POLICY: (&str, &[&str]) = (POLICY_INTERFACE, &["authorize", "check"]);
/// The functions of the interface `payment`.
pub(super) const PAYMENT: (&str, &[&str]) = (
    PAYMENT_INTERFACE,
    &["challenge", "identify", "verify", "settle", "reconcile"],
);

/// What asks facilitators and chains, on the operator's account and with whatever an agent passes: for the host alone.
const MONEY: &[&str] = &["verify", "settle", "reconcile"];

/// Functions that say by their result that the plugin failed. An agent lives on where it does.
const FALLIBLE: &[&str] = &["authorize", "check", "challenge"];

/// Adds an interface of plugins to the linker of agents. What they call is the plugin that was in use when their call entered the host.
pub(super) fn add_to_linker(
    linker: &mut Linker<Guest>,
    (interface, functions): (&'static str, &'static [&'static str]),
) -> wasmtime::Result<()> {
    let full = format!("{interface}@{PLUGIN_VERSION}");
    let mut instance = linker.instance(&full)?;
    for function in functions {
        let full = full.clone();
        instance.func_new_async(function, move |store, _, params, results| {
            let plugins = store.data().outgoing.chain.plugins();
            let callee = plugins
                .and_then(|plugins| plugins.callee(interface))
                .cloned();
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
    // What is printed about an agent's question is the agent's, and goes nowhere.
    let (called, _) = callee
        .sandboxes
        .once("plugin", async |store| {
            let instance = callee.pre.instantiate_async(&mut *store).await?;
            let found = exported(&instance, store, interface, function)
                .ok_or_else(|| wasmtime::Error::msg("the plugin lacks this function"))?;
            found.call_async(&mut *store, params, results).await
        })
        .await;
    let Err(exit) = called else { return Ok(()) };
    let what = match exit {
        Exit::Limit { which, .. } => format!("was stopped at its limit of {which}"),
        _ => "crashed".to_owned(),
    };
    let words = format!("the plugin behind {interface} {what}");
    match results {
        [result] if FALLIBLE.contains(&function) => {
            *result = internal_error(words);
            Ok(())
        }
        _ => Err(wasmtime::Error::msg(words)),
    }
}

/// `error-code.internal-error` of either interface, as the result of a function.
fn internal_error(words: String) -> Val {
    let words = Val::Option(Some(Box::new(Val::String(words))));
    let code = Val::Variant("internal-error".to_owned(), Some(Box::new(words)));
    Val::Result(Err(Some(Box::new(code))))
}

/// A function of an interface that an instance exports.
pub(super) fn exported(
    instance: &Instance,
    store: &mut Store<Guest>,
    interface: &str,
    function: &str,
) -> Option<Func> {
    let interface = instance.get_export_index(&mut *store, None, interface)?;
    let function = instance.get_export_index(&mut *store, Some(&interface), function)?;
    instance.get_func(store, function)
}
