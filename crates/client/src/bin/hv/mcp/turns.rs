//! `session_evaluate`: code whose state stays, in an environment for each language.

use hypervisor_client::environments::{
    Bundle, Done, EvaluateAnswer, EvaluateInput, SetupAnswer, Terms,
};
use hypervisor_client::payment::Payer;
use hypervisor_client::protocol::{Exit, OwnerKey, Rejection};
use hypervisor_client::{Error, Session, ending};
use rmcp::model::CallToolResult;
use tokio::sync::{Mutex, OnceCell};

use super::answer;
use super::say;
use crate::Failure;
use crate::desk::{Desk, Job, Trouble};
use crate::env::Language;
use crate::owner::Owner;

/// How long an environment stays at the latest that is paid for by the time it stays, seconds.
const PAID: u64 = 6 * 60 * 60;

/// The environments, made when they are first used.
pub(super) struct Turns {
    owner: Owner,
    key: OnceCell<OwnerKey>,
    python: Mutex<Option<String>>,
    javascript: Mutex<Option<String>>,
}

struct Setup<'a> {
    language: Language,
    owner: &'a OwnerKey,
}

struct Turn<'a> {
    environment: String,
    input: EvaluateInput,
    owner: &'a OwnerKey,
}

impl Turns {
    pub(super) fn new(owner: Owner) -> Self {
        Self {
            owner,
            key: OnceCell::new(),
            python: Mutex::default(),
            javascript: Mutex::default(),
        }
    }

    /// Evaluates code where what was evaluated before is known. One at a time in each language.
    pub(super) async fn evaluate(
        &self,
        desk: &Desk,
        language: Language,
        code: String,
    ) -> Result<CallToolResult, Trouble> {
        // A host that has to prove something does so before a key is made for it.
        desk.client().await?;
        let owner = self.key.get_or_try_init(async || self.owner.key_or_new());
        let owner = owner.await?;
        let mut place = self.place(language).lock().await;
        let input = EvaluateInput {
            source: code,
            ..EvaluateInput::default()
        };
        let had = place.clone();
        let environment = match had.clone() {
            Some(environment) => environment,
            None => begin(desk, language, owner, &mut place).await?,
        };
        let mut turn = Turn {
            environment,
            input,
            owner,
        };
        let mut done = desk.run(&turn).await?;
        let is_new = had.is_some() && is_over(&done.execution.report.exit);
        if is_new {
            turn.environment = begin(desk, language, owner, &mut place).await?;
            done = desk.run(&turn).await?;
        }
        let (execution, payment) = (&done.execution, done.payment.as_ref());
        Ok(answer::of_turn(&done.answer, execution, payment, is_new))
    }

    /// Removes what there is.
    pub(super) async fn remove(&self, desk: &Desk) {
        for language in [Language::Python, Language::Js] {
            let mut place = self.place(language).lock().await;
            let (Some(environment), Some(owner)) = (place.take(), self.key.get()) else {
                continue;
            };
            let removed = match desk.session().await {
                Ok(session) => {
                    let removed = session.remove_environment(&environment, owner).await;
                    removed.map(drop).map_err(Trouble::from)
                }
                Err(trouble) => Err(trouble),
            };
            if let Err(trouble) = removed {
                say(&format_args!(
                    "the environment {environment} is left to end by itself: {trouble}"
                ));
            }
        }
    }

    fn place(&self, language: Language) -> &Mutex<Option<String>> {
        match language {
            Language::Python => &self.python,
            Language::Js => &self.javascript,
        }
    }
}

/// An environment with nothing in it, in its place.
async fn begin(
    desk: &Desk,
    language: Language,
    owner: &OwnerKey,
    place: &mut Option<String>,
) -> Result<String, Trouble> {
    *place = None;
    let done = desk.run(&Setup { language, owner }).await?;
    match done.answer.environment {
        Some(environment) => Ok(place.insert(environment.id).clone()),
        None => {
            let words = ending(&done.execution.report.exit);
            let words = words.unwrap_or_else(|| "it was not set up".to_owned());
            Err(Failure::Input(format!("there is no session: {words}")).into())
        }
    }
}

/// Whether an environment is not to be had any more.
fn is_over(exit: &Exit) -> bool {
    matches!(
        exit,
        Exit::Rejected {
            problem: Rejection::UnknownEnvironment | Rejection::StaleEnvironment,
            ..
        }
    )
}

impl Job for Setup<'_> {
    type Done = Done<SetupAnswer>;

    fn sold_at(&self) -> Option<&'static str> {
        Some("x402_environments/setup")
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Self::Done, Error> {
        let bundle = Bundle {
            language: self.language.name().to_owned(),
            ..Bundle::default()
        };
        let terms = Terms {
            ttl_seconds: payer.map(|_| PAID),
            ..Terms::default()
        };
        session
            .set_up_paid(&bundle, &terms, self.owner, payer)
            .await
    }
}

impl Job for Turn<'_> {
    type Done = Done<EvaluateAnswer>;

    fn sold_at(&self) -> Option<&'static str> {
        Some("x402_environments/evaluate")
    }

    async fn on(&self, session: &Session, payer: Option<&Payer>) -> Result<Self::Done, Error> {
        session
            .evaluate_paid(&self.environment, &self.input, self.owner, payer)
            .await
    }
}
