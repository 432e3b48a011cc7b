//! The payment component: each call into an instance of its own, since payers are each other's strangers.

mod finality;
mod metered;
mod more;
mod quote;

use http::HeaderName;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower};

use super::guest::Guest;
use super::linked::exported;
use super::outcome::Exit;
use super::reserve::Reserve;
use super::said::{Failure, log_written};
use super::sandbox::Sandboxes;
use super::worlds::payments::PaymentPluginPre;
use super::worlds::payments::exports::hypervisor::plugin::payment as wit;

pub use finality::Finality;
pub use more::{Account, Item, Page, Proof};
pub use quote::{Asset, Terms};
pub use wit::{
    AuthorizedPayment, ChallengeResponse, ErrorCode as PaymentError, Header, Offer, PaymentId,
    Receipt, ResourceInfo, Settlement, SettlementFailure, UnknownSettlement, Verification,
};

/// The first `argv` of an instance.
const NAME: &str = "payments";

/// The interface by which a component names the header fields that it reads, and its function.
const NAMING: (&str, &str) = ("hypervisor:plugin/payment-fields@0.1.1", "names");
/// Fields that a component may name.
const MAX_FIELDS: usize = 16;
/// The header fields of x402, for components that do not name theirs.
const FIELDS: [HeaderName; 2] = [
    HeaderName::from_static("payment-signature"),
    HeaderName::from_static("x-payment"),
];

/// A loaded payment component.
pub struct PaymentEngine {
    pre: PaymentPluginPre<Guest>,
    sandboxes: Sandboxes,
    calls: Reserve,
    fields: Vec<HeaderName>,
    names_fields: bool,
    /// The one of the fields that has proofs of who paid, and no payments.
    sign_in: Option<HeaderName>,
}

/// The component did not answer: it trapped, reached a limit, or ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment component {0}")]
pub struct Unanswered(&'static str);

impl PaymentEngine {
    /// Asks the component which header fields it reads.
    pub(super) async fn new(
        linked: InstancePre<Guest>,
        sandboxes: Sandboxes,
        calls: Reserve,
    ) -> wasmtime::Result<Self> {
        let named: Option<Vec<String>> = asked(&linked, &sandboxes, NAMING).await?;
        let sign_in: Option<String> = asked(&linked, &sandboxes, more::SIGN_IN_FIELD).await?;
        let names_fields = named.is_some();
        let mut fields = match named {
            None => FIELDS.to_vec(),
            Some(names) if names.len() > MAX_FIELDS => {
                return Err(wasmtime::Error::msg(format!(
                    "it names {} header fields, {MAX_FIELDS} at the most are allowed",
                    names.len()
                )));
            }
            Some(names) => names.iter().map(field).collect::<Result<_, _>>()?,
        };
        let sign_in = sign_in.as_ref().map(field).transpose()?;
        fields.extend(sign_in.clone());
        Ok(Self {
            pre: PaymentPluginPre::new(linked)?,
            sandboxes,
            calls,
            fields,
            names_fields,
            sign_in,
        })
    }

    /// Whether it says itself which header fields it reads.
    pub fn names_fields(&self) -> bool {
        self.names_fields
    }

    /// The header fields in which it looks for payments, and for proofs of who paid.
    pub fn fields(&self) -> &[HeaderName] {
        &self.fields
    }

    /// The one for proofs of who paid, where it reads them.
    pub fn sign_in(&self) -> Option<&HeaderName> {
        self.sign_in.as_ref()
    }

    /// The response that asks for payment.
    pub async fn challenge(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
    ) -> Result<Result<ChallengeResponse, PaymentError>, Unanswered> {
        let called = self
            .call("challenge", async |plugin, store| {
                plugin.call_challenge(store, info, offers).await
            })
            .await;
        told("challenge", called)
    }

    /// Which payment the headers carry for one of the offers.
    pub async fn identify(
        &self,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Option<PaymentId>, Unanswered> {
        self.call("identify", async |plugin, store| {
            plugin.call_identify(store, offers, headers).await
        })
        .await
    }

    /// Whether the headers pay for it.
    pub async fn verify(
        &self,
        info: &ResourceInfo,
        offers: &[Offer],
        headers: &[Header],
    ) -> Result<Result<Verification, PaymentError>, Unanswered> {
        let called = self
            .call("verify", async |plugin, store| {
                plugin.call_verify(store, info, offers, headers).await
            })
            .await;
        told("verify", called)
    }

    /// Transfers the money. Without an answer nobody knows whether it was transferred.
    pub async fn settle(&self, payment: &AuthorizedPayment) -> Result<Settlement, Unanswered> {
        self.call("settle", async |plugin, store| {
            plugin.call_settle(store, payment).await
        })
        .await
    }

    /// Finds out what became of a payment.
    pub async fn reconcile(&self, payment: &AuthorizedPayment) -> Result<Settlement, Unanswered> {
        self.call("reconcile", async |plugin, store| {
            plugin.call_reconcile(store, payment).await
        })
        .await
    }

    async fn call<T>(
        &self,
        function: &'static str,
        call: impl AsyncFnOnce(&wit::Guest, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Unanswered> {
        let _place = self.calls.enter().await;
        let called = self.sandboxes.once(NAME, async |store| {
            let plugin = self.pre.instantiate_async(&mut *store).await?;
            call(plugin.hypervisor_plugin_payment(), store).await
        });
        let (answer, written) = called.await;
        log_written(NAME, &written);
        answer.map_err(|exit| unanswered(function, exit))
    }

    /// Whether it exports an interface that it need not have.
    fn exports(&self, interface: &str) -> bool {
        let component = self.pre.instance_pre().component();
        component.get_export_index(None, interface).is_some()
    }

    /// Calls a function of such an interface.
    async fn optional<P, R>(
        &self,
        (interface, name): (&str, &'static str),
        arguments: P,
    ) -> Result<R, Unanswered>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let _place = self.calls.enter().await;
        let called = self.sandboxes.once(NAME, async |store| {
            let linked = self.pre.instance_pre();
            let instance = linked.instantiate_async(&mut *store).await?;
            let function = exported(&instance, store, interface, name)
                .ok_or_else(|| wasmtime::Error::msg(format!("it has no function `{name}`")))?;
            let function = function.typed::<P, R>(&*store)?;
            function.call_async(&mut *store, arguments).await
        });
        let (answer, written) = called.await;
        log_written(NAME, &written);
        answer.map_err(|exit| unanswered(name, exit))
    }
}

fn field(name: &String) -> wasmtime::Result<HeaderName> {
    let name = HeaderName::from_bytes(name.as_bytes());
    name.map_err(|_| wasmtime::Error::msg("it names an invalid header field"))
}

/// What a component says of the header fields that it reads; none where it does not say.
async fn asked<R>(
    linked: &InstancePre<Guest>,
    sandboxes: &Sandboxes,
    (interface, function): (&str, &str),
) -> wasmtime::Result<Option<R>>
where
    (R,): ComponentNamedList + Lift + Send + Sync + 'static,
{
    let said = sandboxes.once(NAME, async |store| {
        let instance = linked.instantiate_async(&mut *store).await?;
        let Some(function) = exported(&instance, store, interface, function) else {
            return Ok(None);
        };
        let function = function.typed::<(), (R,)>(&*store)?;
        let (said,) = function.call_async(&mut *store, ()).await?;
        Ok(Some(said))
    });
    let failed = |exit| {
        let failure = Failure::from(exit).explained();
        let words = format!("it failed when it was asked for its header fields: {failure}");
        wasmtime::Error::msg(words)
    };
    said.await.0.map_err(failed)
}

/// An answer, after a line in the log where it is that there is none.
fn told<T>(
    call: &'static str,
    answer: Result<Result<T, PaymentError>, Unanswered>,
) -> Result<Result<T, PaymentError>, Unanswered> {
    if let Ok(Err(error)) = &answer {
        let failure = Failure::from(error);
        let class = failure.class();
        tracing::warn!(call, failure = class, "the payment component failed");
        failure.log_words(NAME, call);
    }
    answer
}

impl From<&PaymentError> for Failure {
    fn from(error: &PaymentError) -> Self {
        match error {
            PaymentError::InvalidOffer(words) => Self::Offer(words.clone()),
            PaymentError::Unavailable(words) => Self::Unavailable(words.clone()),
            PaymentError::InternalError(words) => Self::Internal(words.clone()),
        }
    }
}

/// Names the end without the component's words: they may quote a payment.
fn unanswered(call: &'static str, exit: Exit) -> Unanswered {
    let what = match exit {
        Exit::Limit { .. } => "reached a limit",
        Exit::Trap { .. } => "trapped",
        _ => "ended without an answer",
    };
    let place = Failure::from(exit).place();
    tracing::warn!(call, what, place, "the payment component did not answer");
    Unanswered(what)
}
