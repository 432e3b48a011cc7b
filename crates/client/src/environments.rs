//! Environments: code that is set up once on a host, and called many times.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use hypervisor_client::Client;
//! use hypervisor_client::agents::load_owner_key;
//! use hypervisor_client::environments::{Bundle, ExecuteInput, Terms};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let session = client.open_session().await?;
//! let owner = load_owner_key("owner.key".as_ref())?;
//! let source = "export function handler(event) { return { hello: event.data.name }; }";
//! let bundle = Bundle {
//!     language: "javascript".to_owned(),
//!     main: "main.js".to_owned(),
//!     modules: BTreeMap::from([("main.js".to_owned(), source.as_bytes().to_vec().into())]),
//!     ..Bundle::default()
//! };
//! let set_up = session.set_up(&bundle, &Terms::default(), &owner).await?;
//! let environment = set_up.answer.environment.ok_or("the setup failed")?;
//! let input = ExecuteInput { data: r#"{"name":"Ada"}"#.to_owned(), ..ExecuteInput::default() };
//! let called = session.execute(&environment.id, &input, &owner).await?;
//! println!("{:?}", called.answer.value);
//! # Ok(())
//! # }
//! ```

use hypervisor_protocol::environment::{decode, encode};
use hypervisor_protocol::{EnvironmentRequest, Exit, HexBytes, Operation, OwnerKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use hypervisor_protocol::environment::{
    Bundle, CallLimits, EnvironmentInfo, EnvironmentList, EnvironmentLog, EvaluateAnswer,
    EvaluateInput, ExecuteAnswer, ExecuteInput, LogKind, LogRow, Page, SetupAnswer, Terms,
};

use crate::error::Error;
use crate::live::Form;
use crate::payment::{Payer, Payment};
use crate::program::Inputs;
use crate::session::{Execution, Route, Session, joined};

/// What came of something that ran in an environment.
#[derive(Debug, Clone)]
pub struct Done<T> {
    /// The answer; how it ended is in the report, and may be no good end.
    pub answer: T,
    /// Report, commitments and what the host attested; the result is the answer as it came.
    pub execution: Execution,
    /// What became of paying, where there was a payer.
    pub payment: Option<Payment>,
}

/// An answer with what was printed.
trait Printed: DeserializeOwned + Default {
    fn printed(&mut self) -> &mut HexBytes;
}

macro_rules! printed {
    ($($answer:ty),*) => {
        $(impl Printed for $answer {
            fn printed(&mut self) -> &mut HexBytes {
                &mut self.stdout
            }
        })*
    };
}

printed!(SetupAnswer, ExecuteAnswer, EvaluateAnswer);

impl Session {
    /// Sets up an environment of `owner`. A setup that fails is no error here: its report says how it ended.
    ///
    /// # Errors
    /// As [`Self::run_wasm`], and [`Error::Answer`] where the host set up something else than was sent.
    pub async fn set_up(
        &self,
        bundle: &Bundle,
        terms: &Terms,
        owner: &OwnerKey,
    ) -> Result<Done<SetupAnswer>, Error> {
        self.set_up_paid(bundle, terms, owner, None).await
    }

    /// As [`Self::set_up`], and pays for it where there is a payer.
    ///
    /// # Errors
    /// As [`Self::set_up`] and [`Self::run_wasm_paid`].
    pub async fn set_up_paid(
        &self,
        bundle: &Bundle,
        terms: &Terms,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<Done<SetupAnswer>, Error> {
        let bundle = encode(bundle).map_err(Error::Protocol)?;
        let asked = (Operation::Setup, "environments/setup", bundle.as_slice());
        let done: Done<SetupAnswer> = self.runs(asked, terms, owner, payer).await?;
        let digest = done.execution.report.program_digest;
        if let Some(environment) = &done.answer.environment
            && environment.bundle != digest
        {
            return Err(Error::Answer {
                what: "the environment that was sent",
                reason: format!("its bundle has the SHA-256 digest {}", environment.bundle),
            });
        }
        Ok(done)
    }

    /// Calls the handler of an environment.
    ///
    /// # Errors
    /// As [`Self::run_wasm`].
    pub async fn execute(
        &self,
        id: &str,
        input: &ExecuteInput,
        owner: &OwnerKey,
    ) -> Result<Done<ExecuteAnswer>, Error> {
        self.execute_paid(id, input, owner, None).await
    }

    /// As [`Self::execute`], and pays for it where there is a payer.
    ///
    /// # Errors
    /// As [`Self::run_wasm_paid`].
    pub async fn execute_paid(
        &self,
        id: &str,
        input: &ExecuteInput,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<Done<ExecuteAnswer>, Error> {
        let asked = (Operation::Execute, "environments/execute", id.as_bytes());
        self.runs(asked, input, owner, payer).await
    }

    /// Runs a turn in an environment, which goes on from there. A turn that a limit stopped, or that trapped, leaves it as it was.
    ///
    /// # Errors
    /// As [`Self::run_wasm`].
    pub async fn evaluate(
        &self,
        id: &str,
        input: &EvaluateInput,
        owner: &OwnerKey,
    ) -> Result<Done<EvaluateAnswer>, Error> {
        self.evaluate_paid(id, input, owner, None).await
    }

    /// As [`Self::evaluate`], and pays for it where there is a payer.
    ///
    /// # Errors
    /// As [`Self::run_wasm_paid`].
    pub async fn evaluate_paid(
        &self,
        id: &str,
        input: &EvaluateInput,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<Done<EvaluateAnswer>, Error> {
        let asked = (Operation::Evaluate, "environments/evaluate", id.as_bytes());
        self.runs(asked, input, owner, payer).await
    }

    /// Makes a copy of an environment as it is now, with a log of its own.
    ///
    /// # Errors
    /// [`Error::Environment`] when the host refuses it, with the reason that came sealed; and as [`Self::run_wasm`].
    pub async fn fork(
        &self,
        id: &str,
        terms: &Terms,
        owner: &OwnerKey,
    ) -> Result<EnvironmentInfo, Error> {
        let copied = self.fork_paid(id, terms, owner, None).await;
        copied.map(|(copy, _)| copy)
    }

    /// As [`Self::fork`], and pays for it where there is a payer.
    ///
    /// # Errors
    /// As [`Self::fork`] and [`Self::run_wasm_paid`].
    pub async fn fork_paid(
        &self,
        id: &str,
        terms: &Terms,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<(EnvironmentInfo, Option<Payment>), Error> {
        let asked = (Operation::Fork, "environments/fork", id.as_bytes());
        self.manages(asked, terms, owner, payer).await
    }

    /// Lets an environment stay longer: `ttl_seconds` from now. What else the terms say is changed too.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub async fn extend(
        &self,
        id: &str,
        terms: &Terms,
        owner: &OwnerKey,
    ) -> Result<EnvironmentInfo, Error> {
        let extended = self.extend_paid(id, terms, owner, None).await;
        extended.map(|(environment, _)| environment)
    }

    /// As [`Self::extend`], and pays for it where there is a payer.
    ///
    /// # Errors
    /// As [`Self::fork_paid`].
    pub async fn extend_paid(
        &self,
        id: &str,
        terms: &Terms,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<(EnvironmentInfo, Option<Payment>), Error> {
        let asked = (Operation::Extend, "environments/extend", id.as_bytes());
        self.manages(asked, terms, owner, payer).await
    }

    /// The environments of `owner`, oldest first.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub async fn environments(
        &self,
        page: &Page,
        owner: &OwnerKey,
    ) -> Result<EnvironmentList, Error> {
        let asked = (Operation::EnvironmentList, "environments/list", &b""[..]);
        let listed = self.manages(asked, page, owner, None).await;
        listed.map(|(list, _)| list)
    }

    /// What was done with an environment, each row held against the one before; also after its end, for a while.
    ///
    /// # Errors
    /// As [`Self::fork`], and [`Error::Protocol`] where rows do not follow each other.
    pub async fn environment_log(
        &self,
        id: &str,
        page: &Page,
        owner: &OwnerKey,
    ) -> Result<(EnvironmentLog, Vec<LogRow>), Error> {
        let asked = (Operation::EnvironmentLog, "environments/log", id.as_bytes());
        let (log, _): (EnvironmentLog, _) = self.manages(asked, page, owner, None).await?;
        let rows = log.verified().map_err(Error::Protocol)?;
        Ok((log, rows))
    }

    /// Removes an environment; its log stays for a while.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub async fn remove_environment(
        &self,
        id: &str,
        owner: &OwnerKey,
    ) -> Result<EnvironmentInfo, Error> {
        let asked = (
            Operation::EnvironmentRemove,
            "environments/remove",
            id.as_bytes(),
        );
        let removed = self.manages(asked, &Page::default(), owner, None).await;
        removed.map(|(environment, _)| environment)
    }

    async fn runs<T: Printed>(
        &self,
        (operation, path, first): (Operation, &str, &[u8]),
        input: &impl Serialize,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<Done<T>, Error> {
        let (execution, payment) = self
            .asks((operation, path, first), input, owner, payer)
            .await?;
        let mut answer: T = answer(&execution)?;
        let rest = answer.printed();
        self.tell(&rest.0);
        rest.0 = joined(execution.printed.clone(), std::mem::take(&mut rest.0));
        Ok(Done {
            answer,
            execution,
            payment,
        })
    }

    /// Seals and sends what is asked for.
    async fn asks(
        &self,
        (operation, path, first): (Operation, &str, &[u8]),
        input: &impl Serialize,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<(Execution, Option<Payment>), Error> {
        let input = encode(input).map_err(Error::Protocol)?;
        let proof = self.prove(owner);
        let inputs = Inputs::new().stdin(&input);
        let request = self.seal(operation, first, &inputs, |key, id, request| {
            EnvironmentRequest::new(key, id, proof, request)
        })?;
        match payer {
            None => {
                let route = Route::post(path).giving(Form::Answer);
                Ok((self.exchange(&route, &request).await?, None))
            }
            Some(payer) => {
                let route = Route::post(format!("x402_{path}")).giving(Form::Answer);
                let paid = self.exchange_paid(&route, &request, payer).await?;
                Ok((paid.execution, Some(paid.payment)))
            }
        }
    }

    async fn manages<T: DeserializeOwned + Default>(
        &self,
        asked: (Operation, &str, &[u8]),
        input: &impl Serialize,
        owner: &OwnerKey,
        payer: Option<&Payer>,
    ) -> Result<(T, Option<Payment>), Error> {
        let (execution, payment) = self.asks(asked, input, owner, payer).await?;
        match execution.report.exit {
            Exit::Ok => Ok((answer(&execution)?, payment)),
            exit => Err(Error::Environment(Box::new(exit))),
        }
    }
}

/// The answer in a result; an empty one where nothing ran.
fn answer<T: DeserializeOwned + Default>(execution: &Execution) -> Result<T, Error> {
    if execution.result.is_empty() {
        return Ok(T::default());
    }
    decode(&execution.result).map_err(|error| Error::Answer {
        what: "an answer about environments",
        reason: error.to_string(),
    })
}
