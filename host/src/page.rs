//! The operator's page: a component makes it of what the host says of itself. It is a program like a client's, with the document on
//! standard input and HTML on standard output, and is given nothing else.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha384};

use crate::attestation::HostFacts;
use crate::config::Config;
use crate::error::Error;
use crate::executor::{
    Client, Executor, Exit, Inputs, Program, Scope, Surroundings, granted, inspect, refusal,
};

/// What the component log calls it.
const NAME: &str = "status";
/// Time for one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes into the log of components what a host with this configuration writes there of its page, without loading it.
///
/// # Errors
/// What is wrong with it.
pub fn measure(config: &Config, facts: &HostFacts) -> Result<(), Error> {
    match component(config)? {
        None => Ok(()),
        Some(component) => measured(&component, facts).map(drop).map_err(Error::Page),
    }
}

fn component(config: &Config) -> Result<Option<Vec<u8>>, Error> {
    let path = &config.admin.page;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = std::fs::read(path);
    let read = read.map_err(|e| Error::Page(format!("{}: {e}", path.display())));
    read.map(Some)
}

/// Its SHA-384, once it is in the log.
fn measured(component: &[u8], facts: &HostFacts) -> Result<[u8; 48], String> {
    let inspection = inspect(component).map_err(|refusal| refusal.detail)?;
    let sha384 = Sha384::digest(component).into();
    let imports = granted(&inspection.imports);
    facts
        .measure(NAME, sha384, imports)
        .map_err(|e| e.to_string())?;
    Ok(sha384)
}

/// What makes the page; nothing where the configuration names no component.
pub(crate) struct Page {
    executor: Arc<Executor>,
    program: RwLock<Option<Loaded>>,
    /// One page at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Loaded {
    program: Program,
    sha384: [u8; 48],
}

impl Page {
    /// Loads what the configuration names.
    pub(crate) async fn start(
        config: &Config,
        executor: &Arc<Executor>,
        facts: &HostFacts,
    ) -> Result<Self, Error> {
        let page = Self {
            executor: Arc::clone(executor),
            program: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
        };
        if let Some(component) = component(config)? {
            let loaded = page.exchange(&component, facts).await;
            loaded.map_err(Error::Page)?;
        }
        Ok(page)
    }

    /// SHA-384 of the component in use; none where there is none.
    pub(crate) fn sha384(&self) -> Option<[u8; 48]> {
        self.loaded().map(|loaded| loaded.sha384)
    }

    /// Compiles, measures and tries a component, and takes it into use; gives its SHA-384.
    ///
    /// # Errors
    /// Why it is not: the one in use stays.
    pub(crate) async fn exchange(
        &self,
        component: &[u8],
        facts: &HostFacts,
    ) -> Result<[u8; 48], String> {
        let scope = Scope {
            session: [0; 16],
            is_shared: false,
        };
        let client = Client::of(NAME.as_bytes(), NAME.as_bytes());
        let prepared = self.executor.prepare(scope, client, component).await;
        let program = match prepared {
            Ok(program) => program,
            Err(error) => return Err(refusal(error).map_or_else(|host| host, |exit| words(&exit))),
        };
        let loaded = Loaded {
            program,
            sha384: measured(component, facts)?,
        };
        self.run(&loaded, b"{}".to_vec()).await?;
        let mut program = self.program.write().unwrap_or_else(PoisonError::into_inner);
        let sha384 = loaded.sha384;
        *program = Some(loaded);
        Ok(sha384)
    }

    /// The page of a document; none where there is no component.
    pub(crate) async fn render(&self, document: Vec<u8>) -> Result<Option<Vec<u8>>, String> {
        match self.loaded() {
            None => Ok(None),
            Some(loaded) => self.run(&loaded, document).await.map(Some),
        }
    }

    fn loaded(&self) -> Option<Loaded> {
        let program = self.program.read();
        program.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn run(&self, loaded: &Loaded, document: Vec<u8>) -> Result<Vec<u8>, String> {
        let inputs = Inputs {
            stdin: document.into(),
            ..Inputs::default()
        };
        let run = async {
            let _turn = self.turn.lock().await;
            self.executor.run(&loaded.program, inputs).await
        };
        let late = |_| format!("the page took longer than {PATIENCE:?}");
        let outcome = tokio::time::timeout(PATIENCE, run).await.map_err(late)?;
        match outcome.exit {
            Exit::Ok if !outcome.stdout_truncated => Ok(outcome.stdout),
            exit => Err(words(&exit)),
        }
    }
}

/// How a component ended that made no page.
fn words(exit: &Exit) -> String {
    match exit {
        Exit::Rejected { detail, .. } => detail.clone(),
        exit => format!("the component ended so: {exit:?}"),
    }
}
