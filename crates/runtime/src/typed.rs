//! What the host calls in plugins, and with which types. They are compared before a plugin is taken: a call would find out only when
//! somebody waits for its answer.

use hypervisor_wasm_check::PLUGIN_VERSION;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower};

use super::guest::Guest;
use super::payment::{
    AuthorizedPayment, ChallengeResponse, Finality, Header, Item, Offer, Page, PaymentError,
    PaymentId, Proof, ResourceInfo, Settlement, Terms, Verification,
};
use super::worlds::policy::exports::hypervisor::plugin::{policy, policy_rules};
use super::worlds::script::exports::hypervisor::plugin::{runtime, script};

/// A function that the host calls where its interface is exported.
#[derive(Debug)]
pub(super) struct Function {
    /// Without a version.
    pub(super) interface: &'static str,
    name: &'static str,
    fits: fn(&InstancePre<Guest>, &ComponentFunc) -> wasmtime::Result<()>,
}

const fn function<P, R>(interface: &'static str, name: &'static str) -> Function
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    Function {
        interface,
        name,
        fits: |linked, function| function.typecheck::<P, R>(&linked.instance_type()),
    }
}

const PAYMENT: &str = "hypervisor:plugin/payment";
const CATALOGUE: &str = "hypervisor:plugin/payment-catalogue";
const SIGN_IN: &str = "hypervisor:plugin/payment-sign-in";
const POLICY_INTERFACE: &str = "hypervisor:plugin/policy";
pub(super) const RUNTIME: &str = "hypervisor:plugin/runtime";
const RULES: &str = "hypervisor:plugin/policy-rules";

type Info = &'static ResourceInfo;
type Offers = &'static [Offer];
type Headers = &'static [Header];
type Text = &'static str;
type Rules = &'static [u8];
type Asked = &'static policy::Action;
type Authorized = &'static AuthorizedPayment;

pub(super) const PAYMENTS: &[Function] = &[
    function::<(Info, Offers), (Result<ChallengeResponse, PaymentError>,)>(PAYMENT, "challenge"),
    function::<(Offers, Headers), (Option<PaymentId>,)>(PAYMENT, "identify"),
    function::<(Info, Offers, Headers), (Result<Verification, PaymentError>,)>(PAYMENT, "verify"),
    function::<(Authorized,), (Settlement,)>(PAYMENT, "settle"),
    function::<(Authorized,), (Settlement,)>(PAYMENT, "reconcile"),
    function::<(), (Vec<String>,)>("hypervisor:plugin/payment-fields", "names"),
    function::<(Text, Text, &'static Terms), (Result<Vec<Offer>, PaymentError>,)>(
        "hypervisor:plugin/quote",
        "quote",
    ),
    function::<(Authorized, Text), (Finality,)>("hypervisor:plugin/finality", "standing"),
    function::<(Authorized, Text), (Settlement,)>("hypervisor:plugin/payment-metered", "settle"),
    function::<(Headers,), (Option<String>,)>("hypervisor:plugin/payment-identifier", "identifier"),
    function::<(), (Vec<String>,)>(CATALOGUE, "paths"),
    function::<(Text, Text, &'static [Item]), (Result<Page, PaymentError>,)>(
        CATALOGUE,
        "catalogue",
    ),
    function::<(), (String,)>(SIGN_IN, "field"),
    function::<(Info, Offers, Headers), (Option<Proof>,)>(SIGN_IN, "signed-in"),
];

pub(super) const POLICY: &[Function] = &[
    function::<(Rules, Asked), (Result<policy::Decision, policy::ErrorCode>,)>(
        POLICY_INTERFACE,
        "authorize",
    ),
    function::<(Rules,), (Result<(), policy::ErrorCode>,)>(POLICY_INTERFACE, "check"),
    function::<(Rules,), (Result<(), policy::ErrorCode>,)>(RULES, "prepare"),
    function::<
        (Asked, &'static policy_rules::Parties),
        (Result<policy::Decision, policy::ErrorCode>,),
    >(RULES, "authorize"),
];

pub(super) const SCRIPT: &[Function] = &[
    function::<(Text, &'static [String]), (Result<(), script::ScriptError>,)>(
        "hypervisor:plugin/script",
        "run",
    ),
    function::<(&'static runtime::Bundle,), (Result<(), script::ScriptError>,)>(RUNTIME, "setup"),
    function::<(Text, Text), (Result<String, script::ScriptError>,)>(RUNTIME, "call"),
    function::<(Text,), (Result<Option<String>, script::ScriptError>,)>(RUNTIME, "evaluate"),
];

/// Whether all of them that a component exports are there with these types; names the first that is not.
pub(super) fn compare(linked: &InstancePre<Guest>, all: &[Function]) -> wasmtime::Result<()> {
    let component = linked.component();
    for Function {
        interface,
        name,
        fits,
    } in all
    {
        let interface = format!("{interface}@{PLUGIN_VERSION}");
        let Some(exported) = component.get_export_index(None, &*interface) else {
            continue;
        };
        match component.get_export(Some(&exported), *name) {
            Some((ComponentItem::ComponentFunc(function), _)) => {
                fits(linked, &function).map_err(|error| {
                    error.context(format!(
                        "its `{name}` of {interface} has other types than the host's"
                    ))
                })?
            }
            _ => {
                return Err(wasmtime::Error::msg(format!(
                    "it exports {interface} without the function `{name}`"
                )));
            }
        }
    }
    Ok(())
}
