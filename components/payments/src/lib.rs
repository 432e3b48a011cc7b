//! Takes payments by x402, versions 2 and 1 of the protocol: on EVM chains the scheme `exact` by EIP-3009, and `exact` and `upto` by
//! Permit2; on Solana `exact`.
//!
//! The operator sets it up by environment variables (see [`settings`]):
//!
//! ```text
//! FACILITATORS=https://facilitator.example.org
//! RPC_URLS=eip155:84532=https://rpc.example.org    # optional: confirms settlements on the chain
//! FEE_PAYERS=solana=2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4    # on Solana: whom the facilitator pays the fee with
//! ```
//!
//! What the operator and the owners of agents write as prices becomes offers in [`quote`]: which chains and tokens there are is known
//! here, and not in the host.
//!
//! A payment passes three stages. What can be decided offline is decided first ([`offline`]); then a facilitator is
//! asked, because only the chain knows balances and contract wallets ([`facilitator`]); settling and finding out what
//! became of a payment is [`settle`]. All of it is plain code behind three traits ([`ports`]), tested natively.
//!
//! It holds no keys, and its only network is `wasi:http/outgoing-handler`.

mod asset;
mod chain;
mod challenge;
mod contract;
mod error;
mod evm;
mod extensions;
mod facilitator;
mod header;
mod host;
mod http;
mod json;
mod networks;
mod offer;
mod offered;
mod offline;
mod payload;
mod payment;
mod permit2;
mod ports;
mod quote;
mod respond;
mod settings;
mod settle;
mod state;
mod svm;
mod time;
mod verify;
mod witness;

#[cfg(test)]
mod tests;

use bindings::exports::hypervisor::plugin::{
    finality, payment as api, payment_catalogue as catalogue_api, payment_metered,
    payment_sign_in as sign_in_api, quote as quoting,
};

use api::{
    AuthorizedPayment, ChallengeResponse, ErrorCode, Guest, Header, Offer, PaymentId, ResourceInfo,
    Settlement, Verification,
};
use host::{HostCrypto, SystemClock};
use http::WasiHttp;
use offer::Resource;
use ports::{Clock as _, Ports};
use settings::Settings;
use svm::fee_payers::FeePayers;

/// What the world needs of the canonical ABI; the macro writes `unsafe` functions.
#[expect(unsafe_code)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "hypervisor:plugin/payments-with-sign-in",
        generate_all,
    });

    export!(Payments with_types_in self);

    use super::Payments;
}

struct Payments;

/// The host's side of everything that is not plain computation.
fn ports() -> Ports<HostCrypto, WasiHttp, SystemClock> {
    Ports {
        crypto: HostCrypto,
        http: WasiHttp,
        clock: SystemClock,
    }
}

impl bindings::exports::hypervisor::plugin::payment_fields::Guest for Payments {
    fn names() -> Vec<String> {
        header::NAMES.map(str::to_owned).to_vec()
    }
}

impl bindings::exports::hypervisor::plugin::payment_identifier::Guest for Payments {
    fn identifier(headers: Vec<Header>) -> Option<String> {
        let policy = Settings::from_environment().ok()?.identifier;
        let payment = payment::read(&headers).ok()??;
        let id = extensions::identifier::of(&payment, policy).ok()?;
        id.map(str::to_owned)
    }
}

impl catalogue_api::Guest for Payments {
    fn paths() -> Vec<String> {
        extensions::catalogue::paths()
    }

    fn catalogue(
        path: String,
        query: String,
        items: Vec<catalogue_api::Item>,
    ) -> Result<catalogue_api::Page, ErrorCode> {
        Ok(extensions::catalogue::page(&path, &query, &items)?)
    }
}

impl quoting::Guest for Payments {
    fn quote(
        price: String,
        pay_to: String,
        terms: quoting::Terms,
    ) -> Result<Vec<Offer>, ErrorCode> {
        let how = quote::How {
            facilitator: Settings::upto_facilitator()?,
            fee_payers: FeePayers::from_environment()?,
            settles_first: settings::is_set("SETTLE_FIRST"),
        };
        Ok(quote::quote(&price, &pay_to, &terms, &how)?)
    }
}

impl payment_metered::Guest for Payments {
    fn settle(payment: AuthorizedPayment, amount: String) -> Settlement {
        settle::settle_part(&ports(), Settings::from_environment(), payment, amount)
    }
}

impl sign_in_api::Guest for Payments {
    fn field() -> String {
        extensions::sign_in::NAME.to_owned()
    }

    fn signed_in(
        info: ResourceInfo,
        offers: Vec<Offer>,
        headers: Vec<Header>,
    ) -> Option<sign_in_api::Proof> {
        let settings = Settings::from_environment().ok()?;
        let (resource, terms) = (Resource::new(&info).ok()?, offered::check(&offers).ok()?);
        let sent = (headers.as_slice(), SystemClock.now());
        let proof = extensions::sign_in::read(&settings, &resource, &terms, sent, &HostCrypto);
        proof.ok()??.ok()
    }
}

impl finality::Guest for Payments {
    fn standing(payment: AuthorizedPayment, transaction: String) -> finality::Verdict {
        settle::standing(
            &ports(),
            Settings::from_environment(),
            payment,
            &transaction,
        )
    }
}

impl Guest for Payments {
    fn challenge(info: ResourceInfo, offers: Vec<Offer>) -> Result<ChallengeResponse, ErrorCode> {
        // The host calls this when it starts: a mistake in the settings shows there, not at the first payment.
        let settings = Settings::from_environment()?;
        Ok(challenge::challenge(
            &settings,
            &info,
            &offers,
            SystemClock.now(),
        )?)
    }

    fn identify(offers: Vec<Offer>, headers: Vec<Header>) -> Option<PaymentId> {
        verify::identify(&headers, &offers, &HostCrypto)
    }

    fn verify(
        info: ResourceInfo,
        offers: Vec<Offer>,
        headers: Vec<Header>,
    ) -> Result<Verification, ErrorCode> {
        let settings = Settings::from_environment()?;
        Ok(verify::verify(
            &ports(),
            &settings,
            &info,
            &offers,
            &headers,
        )?)
    }

    fn settle(payment: AuthorizedPayment) -> Settlement {
        settle::settle(&ports(), Settings::from_environment(), payment)
    }

    fn reconcile(payment: AuthorizedPayment) -> Settlement {
        settle::reconcile(&ports(), Settings::from_environment(), payment)
    }
}
