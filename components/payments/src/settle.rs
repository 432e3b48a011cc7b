//! `settle` and `reconcile`: transfers the money once, and finds out whether that happened.
//!
//! When a settlement may be called *failed*, which lets the host ask the payer for another signature:
//!
//! - in `settle`, when the one facilitator that was asked says so with a definite reason, or when it is certain that no
//!   request to it was sent;
//! - in `reconcile`, only when the chain says so: the nonce is unused and can no longer be used, or it was used or
//!   cancelled without our transfer. Without an RPC endpoint `reconcile` never says it, because a facilitator's "nonce
//!   already used" is what it also says of a transfer that it made.
//!
//! Everything else is unknown.

use crate::api::{AuthorizedPayment, Settlement, UnknownSettlement};
use crate::chain::{self, Claim, Finding, Rpc};
use crate::error::{Error, code};
use crate::facilitator::{self, Expected, Settled};
use crate::networks;
use crate::ports::{Clock, Http, HttpError, Ports};
use crate::respond;
use crate::settings::Settings;
use crate::state::State;

/// How often, and in milliseconds how far apart, the chain is asked for a transaction that a facilitator named. The
/// facilitator has seen it in a block; our endpoint may be a little behind.
const CONFIRMATIONS: [u64; 4] = [0, 250, 750, 2000];

/// Transfers the money.
pub fn settle<C, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: Result<Settings, Error>,
    payment: AuthorizedPayment,
) -> Settlement {
    let mut case = match Case::open(ports, payment) {
        Ok(case) => case,
        Err(unknown) => return *unknown,
    };
    // Not the first call for this payment: it may have been made already.
    if case.state.submitted {
        return case.reconcile(settings);
    }
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return case.failed(code::UNEXPECTED_SETTLE, &error.to_string()),
    };
    case.state.submitted = true;
    let mut answer = case.submit(&settings);
    if let Err(HttpError::NotSent(_)) = answer {
        answer = case.submit(&settings);
    }
    match answer {
        Ok(Settled::Made(transaction)) => case.made(&settings, transaction),
        Ok(Settled::NotMade(reason)) => {
            case.failed(&reason, "the facilitator did not settle the payment")
        }
        Ok(Settled::Unknown {
            reason,
            transaction,
        }) => case.unknown(reason, transaction),
        Err(HttpError::NotSent(reason)) => case.failed(
            code::FACILITATOR_UNREACHABLE,
            &format!("nothing was sent to the facilitator: {reason}"),
        ),
        Err(HttpError::Broken(reason)) => case.unknown(format!("the facilitator: {reason}"), None),
    }
}

/// Finds out what became of a payment.
pub fn reconcile<C, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: Result<Settings, Error>,
    payment: AuthorizedPayment,
) -> Settlement {
    match Case::open(ports, payment) {
        Ok(mut case) => case.reconcile(settings),
        Err(unknown) => *unknown,
    }
}

/// One payment on its way.
struct Case<'a, C, H, T> {
    ports: &'a Ports<C, H, T>,
    payment: AuthorizedPayment,
    state: State,
    expected: Expected,
    claim: Claim,
}

impl<'a, C, H: Http, T: Clock> Case<'a, C, H, T> {
    /// Reads what `verify` left. What cannot be read is unknown: it may have been submitted.
    fn open(
        ports: &'a Ports<C, H, T>,
        payment: AuthorizedPayment,
    ) -> Result<Self, Box<Settlement>> {
        let unknown = |reason: &str, payment: AuthorizedPayment| {
            Box::new(Settlement::Unknown(UnknownSettlement {
                reason: reason.to_owned(),
                transaction: None,
                payment,
            }))
        };
        let state = match State::decode(&payment.state) {
            Ok(state) => state,
            Err(reason) => return Err(unknown(reason, payment)),
        };
        let read =
            Expected::new(state.version(), &payment).zip(Claim::new(&payment, state.verified_at));
        let Some((expected, claim)) = read else {
            return Err(unknown("the payment is not one of this component", payment));
        };
        Ok(Self {
            ports,
            payment,
            state,
            expected,
            claim,
        })
    }

    /// Hands the authorization to the facilitator that verified it. The token takes it once, however often this is done.
    fn submit(&self, settings: &Settings) -> Result<Settled, HttpError> {
        let state = &self.state;
        let request = facilitator::request(state.version(), &state.payload, &state.requirements)
            .map_err(|error| HttpError::NotSent(error.to_string()))?;
        let answer = self.ports.http.post(
            &format!("{}/settle", state.facilitator),
            &request,
            settings.settle_ms,
            facilitator::LONGEST_ANSWER,
        )?;
        Ok(facilitator::read_settled(&answer, &self.expected))
    }

    fn reconcile(&mut self, settings: Result<Settings, Error>) -> Settlement {
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => return self.unknown(error.to_string(), None),
        };
        self.state.submitted = true;
        if let Some(rpc) = self.rpc(&settings) {
            match chain::find(&rpc, &self.claim, self.state.transaction.as_deref()) {
                Ok(Finding::Made(transaction)) => return self.settled(&transaction),
                Ok(Finding::NotMade(reason, message)) => return self.failed(reason, message),
                Ok(Finding::Open) => {}
                Ok(Finding::Unclear(reason)) => return self.unknown(reason.to_owned(), None),
                Err(error) => return self.unknown(error, None),
            }
        }
        match self.submit(&settings) {
            Ok(Settled::Made(transaction)) => self.made(&settings, transaction),
            Ok(Settled::NotMade(reason)) => self.unknown(reason, None),
            Ok(Settled::Unknown {
                reason,
                transaction,
            }) => self.unknown(reason, transaction),
            Err(error) => self.unknown(format!("the facilitator: {error}"), None),
        }
    }

    /// A facilitator says that it was made: believed at once only where nobody else can be asked.
    fn made(&mut self, settings: &Settings, transaction: String) -> Settlement {
        let Some(rpc) = self.rpc(settings) else {
            return self.settled(&transaction);
        };
        let mut reason = "the transaction is not on the chain yet".to_owned();
        for pause in CONFIRMATIONS {
            if pause > 0 {
                self.ports.clock.pause(pause);
            }
            match chain::confirm(&rpc, &self.claim, &transaction) {
                Ok(Some(true)) => return self.settled(&transaction),
                Ok(Some(false)) => {
                    reason = "the transaction does not hold the transfer".to_owned();
                    break;
                }
                Ok(None) => {}
                Err(error) => reason = error,
            }
        }
        self.unknown(reason, Some(transaction))
    }

    fn rpc<'b>(&self, settings: &'b Settings) -> Option<Rpc<'b, H>>
    where
        'a: 'b,
    {
        let chain_id = networks::chain_id(&self.payment.id.chain)?;
        Some(Rpc {
            http: &self.ports.http,
            url: settings.rpc(chain_id)?,
            timeout_ms: settings.verify_ms,
            chain_id,
        })
    }

    fn settled(&mut self, transaction: &str) -> Settlement {
        match respond::receipt(self.state.version(), &self.payment, transaction) {
            Ok(receipt) => Settlement::Settled(receipt),
            Err(error) => self.unknown(error.to_string(), Some(transaction.to_owned())),
        }
    }

    fn failed(&mut self, reason: &str, message: &str) -> Settlement {
        match respond::failure(self.state.version(), &self.payment, reason, message) {
            Ok(failure) => Settlement::Failed(failure),
            Err(error) => self.unknown(error.to_string(), None),
        }
    }

    /// Nobody knows. All that is known goes into the state.
    fn unknown(&mut self, reason: String, transaction: Option<String>) -> Settlement {
        if transaction.is_some() {
            self.state.transaction = transaction.map(|hash| hash.to_lowercase());
        }
        let mut payment = self.payment.clone();
        // The old state is still right, only poorer.
        if let Ok(state) = self.state.encode() {
            payment.state = state;
        }
        Settlement::Unknown(UnknownSettlement {
            reason,
            transaction: self.state.transaction.clone(),
            payment,
        })
    }
}
