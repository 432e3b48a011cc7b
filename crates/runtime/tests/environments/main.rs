//! Environments and sessions, in the script engines as they are built: `make components`, and `hypervisor-ctl compile` of both.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod handlers;
mod sessions;
mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hypervisor_runtime::{
    Answer, Bundle, CallInputs, Executor, Exit, File, Language, Outcome, PluginSettings,
    ScriptSettings, SetUp, Settings, Source, State, Turn, Unattested,
};
use sha2::{Digest, Sha384};

pub(crate) use Language::{Javascript, Python};

/// One that has both engines, for all tests.
pub(crate) fn executor() -> &'static Executor {
    static EXECUTOR: OnceLock<Executor> = OnceLock::new();
    EXECUTOR.get_or_init(another)
}

/// Another one.
pub(crate) fn another() -> Executor {
    let made = std::thread::spawn(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let settings = Settings {
                executions: 64,
                ..Settings::default()
            };
            let mut executor =
                Executor::new(&settings, PathBuf::new(), Arc::new(Unattested)).unwrap();
            let scripts = [
                (Javascript, "runtime-javascript"),
                (Python, "policy-python"),
            ];
            let scripts = scripts.map(|(language, name)| ScriptSettings {
                language,
                source: source(name),
                ready: 2,
            });
            let settings = PluginSettings {
                scripts: scripts.into(),
                ..PluginSettings::default()
            };
            executor.load_plugins(settings).await.unwrap();
            executor
        })
    });
    made.join().unwrap()
}

fn source(name: &str) -> Source {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/components");
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let code = std::fs::read(path("cwasm")).unwrap();
    let digest = const_hex::encode(Sha384::digest(&code));
    Source::new(&path("wasm"), &path("cwasm"), &digest).unwrap()
}

/// A bundle of these files; the first is the main module.
pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    let modules = files.iter().map(|(name, text)| file(name, text.as_bytes()));
    Bundle {
        main: files[0].0.to_owned(),
        modules: modules.collect(),
        ..Bundle::default()
    }
}

pub(crate) fn file(name: &str, content: &[u8]) -> File {
    File {
        name: name.to_owned(),
        content: content.to_vec(),
    }
}

pub(crate) async fn try_set_up(language: Language, bundle: Bundle) -> SetUp {
    let set_up = executor().set_up(language, bundle, CallInputs::default());
    set_up.await.unwrap()
}

/// Sets a bundle up, which must go well.
pub(crate) async fn set_up(language: Language, bundle: Bundle) -> State {
    let SetUp { outcome, state } = try_set_up(language, bundle).await;
    state.unwrap_or_else(|| panic!("{:?}: {}", outcome.exit, stderr(&outcome)))
}

pub(crate) async fn try_call(language: Language, state: &State, event: &str) -> Answer {
    let called = executor().call(language, state, (event, "{}"), CallInputs::default());
    called.await.unwrap()
}

/// Calls a handler, which must answer.
pub(crate) async fn call(language: Language, state: &State, event: &str) -> String {
    let Answer { outcome, value } = try_call(language, state, event).await;
    value.unwrap_or_else(|| panic!("{:?}: {}", outcome.exit, stderr(&outcome)))
}

pub(crate) async fn evaluate(language: Language, state: Option<&State>, source: &str) -> Turn {
    let turn = executor().evaluate(language, state, source, CallInputs::default());
    turn.await.unwrap()
}

pub(crate) fn stderr(outcome: &Outcome) -> String {
    String::from_utf8(outcome.stderr.clone()).unwrap()
}

/// What a setup, or a call, that fails with exit code 1 says.
pub(crate) fn words(outcome: &Outcome) -> String {
    assert_eq!(outcome.exit, Exit::Code { code: 1 }, "{}", stderr(outcome));
    stderr(outcome)
}
