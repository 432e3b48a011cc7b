//! Environments: set up for a test, and called.

use hypervisor_client::environments::{
    Bundle, Done, EnvironmentInfo, EnvironmentLog, EvaluateAnswer, EvaluateInput, ExecuteAnswer,
    ExecuteInput, LogRow, Page, SetupAnswer, Terms,
};
use hypervisor_client::protocol::{Exit, OwnerKey, Rejection};
use hypervisor_client::{Error, Session};

use crate::Host;

/// An owner with a session.
pub struct Tenant {
    /// The owner's key.
    pub owner: OwnerKey,
    /// The session.
    pub session: Session,
}

/// A bundle of one module.
pub fn bundle(language: &str, source: &str) -> Bundle {
    let main = match language {
        "python" => "main.py",
        _ => "main.ts",
    };
    Bundle {
        language: language.to_owned(),
        main: main.to_owned(),
        modules: [(main.to_owned(), source.as_bytes().to_vec().into())].into(),
        ..Bundle::default()
    }
}

impl Host {
    /// Starts a host that runs JavaScript, where everybody may set up environments; `config` is more TOML, sections first.
    pub fn with_environments(config: &str) -> Self {
        let config = match config.contains("[environments]") {
            true => config.to_owned(),
            false => format!("{config}\n[environments]\nsetup = true\n"),
        };
        Self::with_javascript(&config)
    }

    /// As [`Self::with_environments`], with Python too.
    pub fn with_environments_in_python(config: &str) -> Self {
        Self::with_environments(&format!(
            "{config}\n[runtime.python]\n{}\n",
            crate::programs::python_plugin()
        ))
    }

    /// Somebody new.
    pub async fn tenant(&self) -> Tenant {
        Tenant {
            owner: crate::agents::owner(),
            session: self.session().await,
        }
    }
}

impl Tenant {
    /// The same owner in a new session: of a host that was started again, say.
    pub async fn again(self, host: &Host) -> Self {
        Self {
            session: host.session().await,
            ..self
        }
    }

    /// Sets a bundle up, whatever comes of it.
    pub async fn try_set_up(&self, bundle: &Bundle, terms: &Terms) -> Done<SetupAnswer> {
        let done = self.session.set_up(bundle, terms, &self.owner).await;
        done.unwrap()
    }

    /// Sets up a module that has to work.
    pub async fn set_up(&self, language: &str, source: &str) -> EnvironmentInfo {
        self.set_up_for(language, source, &Terms::default()).await
    }

    /// The same, with terms.
    pub async fn set_up_for(&self, language: &str, source: &str, terms: &Terms) -> EnvironmentInfo {
        let done = self.try_set_up(&bundle(language, source), terms).await;
        let report = &done.execution.report;
        done.answer.environment.clone().unwrap_or_else(|| {
            let words = String::from_utf8_lossy(&report.stderr.0);
            panic!("{:?}: {words}", report.exit)
        })
    }

    /// Calls a handler, whatever comes of it.
    pub async fn call(&self, id: &str, data: &str) -> Done<ExecuteAnswer> {
        let input = ExecuteInput {
            data: data.to_owned(),
            ..ExecuteInput::default()
        };
        self.session.execute(id, &input, &self.owner).await.unwrap()
    }

    /// What a handler answers, which has to end well.
    pub async fn value(&self, id: &str, data: &str) -> String {
        let done = self.call(id, data).await;
        let report = &done.execution.report;
        done.answer.value.clone().unwrap_or_else(|| {
            let words = String::from_utf8_lossy(&report.stderr.0);
            panic!("{:?}: {words}", report.exit)
        })
    }

    /// Runs a turn, whatever comes of it.
    pub async fn turn(&self, id: &str, source: &str) -> Done<EvaluateAnswer> {
        let input = EvaluateInput {
            source: source.to_owned(),
            ..EvaluateInput::default()
        };
        self.session
            .evaluate(id, &input, &self.owner)
            .await
            .unwrap()
    }

    /// The first page of a log.
    pub async fn log(&self, id: &str) -> (EnvironmentLog, Vec<LogRow>) {
        let page = Page::default();
        let log = self.session.environment_log(id, &page, &self.owner);
        log.await.unwrap()
    }

    /// How many environments are listed.
    pub async fn total(&self) -> u64 {
        let page = Page::default();
        let list = self.session.environments(&page, &self.owner);
        list.await.unwrap().total
    }

    /// Removes an environment, which is there.
    pub async fn remove(&self, id: &str) -> EnvironmentInfo {
        let removed = self.session.remove_environment(id, &self.owner);
        removed.await.unwrap()
    }

    /// Makes a copy, or not.
    pub async fn fork(&self, id: &str) -> Result<EnvironmentInfo, Error> {
        let terms = Terms::default();
        self.session.fork(id, &terms, &self.owner).await
    }

    /// The value of a turn.
    pub async fn says(&self, id: &str, source: &str) -> Option<String> {
        self.turn(id, source).await.answer.value
    }
}

/// Why something that ran nothing was refused.
pub fn rejected(exit: &Exit) -> (Rejection, String) {
    match exit {
        Exit::Rejected { problem, detail } => (*problem, detail.clone()),
        other => panic!("{other:?} instead of a rejection"),
    }
}

/// The same of a request that only manages.
pub fn refused(error: &Error) -> (Rejection, String) {
    match error {
        Error::Environment(exit) => rejected(exit),
        other => panic!("{other} instead of a rejection"),
    }
}
