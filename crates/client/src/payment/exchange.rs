//! The exchange: ask, be asked to pay, sign once, and send that payment until it is clear what became of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hypervisor_protocol::ProblemType;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Answer, Client};
use crate::error::Error;
use crate::live::Opening;
use crate::payment::challenge::Challenge;
use crate::payment::settlement::Settlement;
use crate::payment::{Authorization, Estimate, Payment, PaymentPolicy, Wallet, printable};

/// How long a payment whose settlement is unknown is asked about, unless the payer says otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const PAYMENT_REQUIRED: &str = "payment-required";
pub(crate) const PAYMENT_RESPONSE: &str = "payment-response";

/// Most times that one request is sent because its answer was lost.
const MAX_LOST: u32 = 4;

/// Between two requests with the same payment: a host may ask for a time between these.
const MIN_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// When it does not say.
const DELAY: Duration = Duration::from_secs(1);

/// Pays: a key and the policy for it.
pub struct Payer {
    wallet: Wallet,
    policy: PaymentPolicy,
    patience: Duration,
    told: Option<Told>,
    signed: AtomicU64,
}

/// Who is told what an offer buys.
type Told = Box<dyn Fn(&Estimate) + Send + Sync>;

/// A payment, signed. There is one for a request, however often that is sent.
struct Signed {
    header: HeaderValue,
    authorization: Authorization,
}

impl Payer {
    /// Pays from `wallet` what `policy` allows.
    pub fn new(wallet: Wallet, policy: PaymentPolicy) -> Self {
        Self {
            wallet,
            policy,
            patience: DEFAULT_PATIENCE,
            told: None,
            signed: AtomicU64::new(0),
        }
    }

    /// Has `told` know what use costs, where a run is paid by use and the host says it, before anything is signed.
    #[must_use]
    pub fn estimates(mut self, told: impl Fn(&Estimate) + Send + Sync + 'static) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// How long to ask about a payment whose answer was lost or whose settlement is unknown ([`DEFAULT_PATIENCE`]); after that
    /// comes [`Error::PaymentUncertain`]. Zero asks once.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many payments were signed so far: where the number did not change, nothing can have been paid meanwhile.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// The wallet.
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Posts a request, pays for it if the host asks, and reads the answer.
    ///
    /// Whatever comes after the payment was sent is either the answer, a refusal that says that nothing was charged, or
    /// [`Error::PaymentUncertain`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        client: &Client,
        path: &str,
        body: &impl Serialize,
        mut live: Option<&mut Opening<'_>>,
    ) -> Result<(T, Payment), Error> {
        let body = Client::encode(body)?;
        let first = (None, live.as_deref_mut());
        let answer = client.send(Method::POST, path, body.clone(), first).await?;
        if answer.status != StatusCode::PAYMENT_REQUIRED {
            return Ok((client.read(&answer)?, Payment::NotAsked));
        }
        let signed = self.sign(&answer)?;
        let answer = self.deliver(client, (path, body), &signed, live).await?;
        let payment = payment(&answer, &signed.authorization);
        match client.read(&answer) {
            Ok(answer) => Ok((answer, payment)),
            Err(error) => Err(payment.taint(error)),
        }
    }

    /// Chooses an offer and signs for it.
    fn sign(&self, answer: &Answer) -> Result<Signed, Error> {
        let wrong = |reason: &str| Error::Challenge {
            reason: reason.to_owned(),
        };
        let mut headers = answer.headers.get_all(PAYMENT_REQUIRED).iter();
        let challenge = match (headers.next(), headers.next()) {
            (Some(header), None) => Challenge::from_header(header.as_bytes())?,
            (None, _) => {
                return Err(wrong(
                    "it has no header PAYMENT-REQUIRED, and only x402 version 2 is supported",
                ));
            }
            (Some(_), Some(_)) => return Err(wrong("it has several headers PAYMENT-REQUIRED")),
        };
        let offer = self.policy.choose(&challenge)?;
        if let (Some(told), Some(estimate)) = (&self.told, Estimate::of(&challenge, &offer)) {
            told(&estimate);
        }
        self.signed.fetch_add(1, Ordering::Relaxed);
        let authorization = Authorization::new(&offer, self.wallet.address())?;
        let payload = authorization.payload(&self.wallet, &challenge, offer.accepted)?;
        let mut header =
            HeaderValue::from_str(&STANDARD.encode(payload)).map_err(|error| Error::Signing {
                reason: error.to_string(),
            })?;
        header.set_sensitive(true);
        Ok(Signed {
            header,
            authorization,
        })
    }

    /// Sends body and payment until there is an answer to them. Both are the same each time: a host answers a repetition
    /// as it answered, or would have answered, the first.
    async fn deliver(
        &self,
        client: &Client,
        (path, body): (&str, Bytes),
        signed: &Signed,
        mut live: Option<&mut Opening<'_>>,
    ) -> Result<Answer, Error> {
        // Patience begins with the first answer that is none: running the program may take any time.
        let mut since = None;
        // Whether an earlier sending may have been settled already.
        let mut doubt = false;
        let mut lost = 0;
        loop {
            let with = (Some(&signed.header), live.as_deref_mut());
            let sent = client.send(Method::POST, path, body.clone(), with);
            let (verdict, delay) = match sent.await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) => (judge(client, &answer, signed)?, retry_after(&answer)),
                Err(error @ (Error::Transport { .. } | Error::Stalled { .. })) => {
                    (Verdict::Lost(error), DELAY)
                }
                // It would be as large the next time.
                Err(error @ Error::AnswerTooLarge { .. }) => (Verdict::Doubtful(error), DELAY),
                Err(error) => return Err(error),
            };
            doubt |= !matches!(verdict, Verdict::Refused(_) | Verdict::Again(_));
            lost += u32::from(matches!(verdict, Verdict::Lost(_)));
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            let is_over = matches!(verdict, Verdict::Again(_)) && signed.ends_within(delay);
            let spent = is_over || lost >= MAX_LOST || waited + delay > self.patience;
            match verdict {
                Verdict::Again(_) | Verdict::Unsettled(_) | Verdict::Lost(_) if !spent => {
                    tokio::time::sleep(delay).await;
                }
                Verdict::Refused(error)
                | Verdict::Again(error)
                | Verdict::Doubtful(error)
                | Verdict::Unsettled(error)
                | Verdict::Lost(error) => {
                    return Err(if doubt {
                        signed.uncertain(error)
                    } else {
                        error
                    });
                }
            }
        }
    }
}

impl Signed {
    /// Whether what was signed is worth nothing any more so long from now.
    fn ends_within(&self, delay: Duration) -> bool {
        let then = SystemTime::now().checked_add(delay);
        let then = then.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        then.is_none_or(|it| it.as_secs() >= self.authorization.valid_before)
    }

    fn uncertain(&self, source: Error) -> Error {
        Error::PaymentUncertain {
            authorization: Box::new(self.authorization.clone()),
            source: Box::new(source),
        }
    }
}

/// What an answer says about the payment that was sent.
fn payment(answer: &Answer, authorization: &Authorization) -> Payment {
    let headers = answer.headers.get_all(PAYMENT_RESPONSE).iter();
    Payment::from_headers(headers.map(HeaderValue::as_bytes), authorization.clone())
}

/// What an answer that is no success means for the payment that was sent with the request.
enum Verdict {
    /// It was not made, says the host.
    Refused(Error),
    /// It was not made, and may be when it is sent again.
    Again(Error),
    /// It may have been made, and asking again is no use.
    Doubtful(Error),
    /// It may have been made, and the host wants to be asked again.
    Unsettled(Error),
    /// It may have been made; the answer is that of something between here and the host.
    Lost(Error),
}

/// # Errors
/// [`Error::PaidWithoutAnswer`]: nothing is left to decide.
fn judge(client: &Client, answer: &Answer, signed: &Signed) -> Result<Verdict, Error> {
    // 412 is for what must be done once before such a payment: an allowance.
    let is_challenge = answer.status == StatusCode::PRECONDITION_FAILED
        && answer.headers.contains_key(PAYMENT_REQUIRED);
    if is_challenge || answer.status == StatusCode::PAYMENT_REQUIRED {
        return Ok(refused(answer));
    }
    let error = client.refusal(answer);
    let Error::Refused(problem) = &error else {
        return Ok(match answer.status {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Verdict::Lost(error),
            _ => Verdict::Doubtful(error),
        });
    };
    Ok(match problem.problem_type() {
        Some(ProblemType::AnswerGone) => match payment(answer, &signed.authorization) {
            Payment::Paid(receipt) => {
                let source = Box::new(error);
                return Err(Error::PaidWithoutAnswer { receipt, source });
            }
            _ => Verdict::Doubtful(error),
        },
        Some(ProblemType::SettlementUnknown) => Verdict::Unsettled(error),
        Some(ProblemType::PaymentUnverified) => Verdict::Again(error),
        // Turned away at the door.
        Some(ProblemType::Overloaded | ProblemType::ShuttingDown) => Verdict::Refused(error),
        // A conflict is one with an earlier request, and that may have been paid.
        _ if answer.status.is_client_error() && answer.status != StatusCode::CONFLICT => {
            Verdict::Refused(error)
        }
        _ => Verdict::Doubtful(error),
    })
}

/// A second 402 refuses the payment: the reason is in the challenge, or in the settlement's failure.
fn refused(answer: &Answer) -> Verdict {
    let settlement = answer.headers.get(PAYMENT_RESPONSE);
    let settlement = settlement.and_then(|header| Settlement::from_header(header.as_bytes()).ok());
    let challenge = answer.headers.get(PAYMENT_REQUIRED);
    let challenge = challenge.and_then(|header| Challenge::from_header(header.as_bytes()).ok());
    let reason = challenge
        .and_then(|challenge| challenge.error)
        .map(|reason| printable(&reason))
        .or_else(|| settlement.as_ref().map(Settlement::reason))
        .unwrap_or_else(|| "it gives no reason".to_owned());
    let error = Error::PaymentRefused { reason };
    match settlement {
        Some(settlement) if settlement.was_broadcast() => Verdict::Doubtful(error),
        _ => Verdict::Refused(error),
    }
}

/// Seconds of Retry-After (RFC 9110 §10.2.3), within bounds.
fn retry_after(answer: &Answer) -> Duration {
    let header = answer.headers.get(RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
    seconds
        .map_or(DELAY, Duration::from_secs)
        .clamp(MIN_DELAY, MAX_DELAY)
}
