//! `settle` and `reconcile`: transfers the money once, and finds out whether that happened.
//!
//! When a settlement may be called *failed*, which lets the host ask the payer for another signature:
//!
//! - with an RPC endpoint, when the chain says so (the nonce is unused and can no longer be used, or it was used or cancelled
//!   without our transfer), or when the nonce is unused and the one facilitator that was asked refused for a definite reason;
//! - without one, in `settle`, for that reason alone. `reconcile` never says it then, because a facilitator's "nonce already
//!   used" is what it also says of a transfer that it made.
//!
//! Everything else is unknown, a facilitator that cannot be reached too: nothing was sent, and it can be later.

use std::borrow::Cow;

use alloy_primitives::U256;

use crate::api::{AuthorizedPayment, Settlement, UnknownSettlement};
use crate::chain::Finding;
use crate::error::{Error, code};
use crate::evm;
use crate::extensions::receipt;
use crate::facilitator::{self, Expected, Settled};
use crate::finality::Verdict;
use crate::header::Version;
use crate::ports::{Clock, Crypto, Http, HttpError, Ports};
use crate::respond;
use crate::settings::Settings;
use crate::state::State;
use crate::witness::{Claim, Witness};

/// How often, and in milliseconds how far apart, the chain is asked for a transaction that a facilitator named. The
/// facilitator has seen it in a block; our endpoint may be a little behind.
const CONFIRMATIONS: [u64; 4] = [0, 250, 750, 2000];

/// Transfers the money.
pub fn settle<C: Crypto, H: Http, T: Clock>(
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
    match case.submit(&settings) {
        Ok(Settled::Made(transaction)) => case.made(&settings, transaction),
        Ok(Settled::NotMade(reason)) => case.refused(&settings, reason),
        Ok(Settled::Unknown {
            reason,
            transaction,
        }) => case.unknown(reason, transaction),
        Err(error) => case.unknown(format!("the facilitator: {error}"), None),
    }
}

/// Transfers `amount` of what was signed for at most `payment.amount`.
pub fn settle_part<C: Crypto, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: Result<Settings, Error>,
    mut payment: AuthorizedPayment,
    amount: String,
) -> Settlement {
    let most = evm::amount(&payment.amount);
    let within = evm::amount(&amount).is_some_and(|it| Some(it) <= most && it > U256::ZERO);
    let is_upto = State::decode(&payment.state).is_ok_and(|state| state.is_upto());
    if within && is_upto {
        payment.amount = amount;
        return settle(ports, settings, payment);
    }
    match Case::open(ports, payment) {
        Ok(mut case) => case.failed(
            code::UPTO_EXCEEDED,
            "only from 1 to what was signed can be taken, and by the scheme upto",
        ),
        Err(unknown) => *unknown,
    }
}

/// Finds out what became of a payment.
pub fn reconcile<C: Crypto, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: Result<Settings, Error>,
    payment: AuthorizedPayment,
) -> Settlement {
    match Case::open(ports, payment) {
        Ok(mut case) => case.reconcile(settings),
        Err(unknown) => *unknown,
    }
}

/// Whether a payment that a transaction settled still stands. Only a chain that can be asked takes one back.
pub fn standing<C: Crypto, H: Http, T: Clock>(
    ports: &Ports<C, H, T>,
    settings: Result<Settings, Error>,
    payment: AuthorizedPayment,
    transaction: &str,
) -> Verdict {
    let (Ok(settings), Ok(case)) = (settings, Case::open(ports, payment)) else {
        return Verdict::Unclear;
    };
    let Some(witness) = case.witness(&settings) else {
        return Verdict::Stands;
    };
    match witness.find(Some(transaction)) {
        Ok(Finding::Made(_)) => Verdict::Stands,
        // An endpoint that is behind is likelier than a confirmed transaction that was taken back, until that can be told for certain.
        Ok(Finding::Open) if matches!(witness, Witness::Svm(..)) => Verdict::Unclear,
        Ok(Finding::Open | Finding::NotMade(..)) => Verdict::Gone,
        Ok(Finding::Unclear(_)) | Err(_) => Verdict::Unclear,
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

impl<'a, C: Crypto, H: Http, T: Clock> Case<'a, C, H, T> {
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
        let read = Expected::new(state.version(), &payment).zip(Claim::new(
            &payment,
            &state.payload,
            state.verified_at,
        ));
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

    /// Hands the authorization to the facilitator that verified it, once more if nothing was sent, and then to the others as
    /// long as nothing was. The token takes it once, however often this is done.
    fn submit(&mut self, settings: &Settings) -> Result<Settled, HttpError> {
        let state = &self.state;
        let mut requirements = Cow::Borrowed(&state.requirements);
        if state.is_upto()
            && let Some(amount) = requirements.to_mut().get_mut("amount")
        {
            *amount = self.payment.amount.clone().into();
        }
        let request = facilitator::request(state.version(), &state.payload, &requirements)
            .map_err(|error| HttpError::NotSent(error.to_string()))?;
        let verified = state.facilitator.clone();
        // What is signed for one facilitator, no other can settle.
        let is_free = !state.is_upto();
        let others = (settings.facilitators.iter()).filter(|it| is_free && **it != verified);
        let mut answer = Err(HttpError::NotSent("none is configured".to_owned()));
        for url in [&verified, &verified].into_iter().chain(others) {
            let url = format!("{url}/settle");
            let limit = facilitator::LONGEST_ANSWER;
            answer = (self.ports.http).post(&url, &request, settings.settle_ms, limit);
            if !matches!(answer, Err(HttpError::NotSent(_))) {
                self.state.submitted = true;
                break;
            }
        }
        Ok(facilitator::read_settled(&answer?, &self.expected))
    }

    /// A facilitator says that it was not made: believed where its reason is definite and the chain does not know better.
    fn refused(&mut self, settings: &Settings, reason: String) -> Settlement {
        let is_definite = facilitator::is_definite(&reason);
        let message = "the facilitator did not settle the payment";
        let Some(witness) = self.witness(settings) else {
            return if is_definite {
                self.failed(&reason, message)
            } else {
                self.unknown(reason, None)
            };
        };
        match witness.find(None) {
            Ok(Finding::Open) if is_definite => self.failed(&reason, message),
            Ok(Finding::Open) => self.unknown(reason, None),
            found => self.found(settings, found),
        }
    }

    /// What the chain says, where it says something.
    fn found(&mut self, settings: &Settings, found: Result<Finding, String>) -> Settlement {
        match found {
            Ok(Finding::Made(transaction)) => {
                let is_ours = self.state.transaction.as_ref() == Some(&transaction);
                if settings.shared_account && !is_ours {
                    let reason = "the transfer was made, perhaps for another host of this account";
                    return self.unknown(reason.to_owned(), None);
                }
                self.settled(&transaction)
            }
            Ok(Finding::NotMade(reason, message)) => self.failed(reason, message),
            Ok(Finding::Open) => self.unknown("the nonce is not used".to_owned(), None),
            Ok(Finding::Unclear(reason)) => self.unknown(reason.to_owned(), None),
            Err(error) => self.unknown(error, None),
        }
    }

    fn reconcile(&mut self, settings: Result<Settings, Error>) -> Settlement {
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => return self.unknown(error.to_string(), None),
        };
        // Whoever asks may not know: a host that was killed while it settled has the state of before.
        self.state.submitted = true;
        if let Some(witness) = self.witness(&settings) {
            match witness.find(self.state.transaction.as_deref()) {
                Ok(Finding::Open) => {}
                found => return self.found(&settings, found),
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
        let Some(witness) = self.witness(settings) else {
            return self.settled(&transaction);
        };
        let mut reason = "the transaction is not on the chain yet".to_owned();
        for pause in CONFIRMATIONS {
            if pause > 0 {
                self.ports.clock.pause(pause);
            }
            match witness.confirm(&transaction) {
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

    fn witness<'b>(&'b self, settings: &'b Settings) -> Option<Witness<'b, H>> {
        let network = &self.payment.id.chain;
        Witness::new(settings, &self.ports.http, network, &self.claim)
    }

    fn settled(&mut self, transaction: &str) -> Settlement {
        let resource = self.state.resource.as_deref();
        let signed = resource.filter(|_| self.state.version() == Version::V2);
        let signed = signed.and_then(|url| {
            receipt::signed(
                &self.ports.crypto,
                &self.payment,
                (url, transaction),
                self.ports.clock.now(),
            )
        });
        match respond::receipt(self.state.version(), &self.payment, transaction, signed) {
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
            self.state.transaction = transaction;
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
