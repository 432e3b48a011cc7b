//! `hv deploy`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hypervisor_client::agents::MAX_MANIFEST;
use hypervisor_client::protocol::{AgentInfo, Exit, Rejection};
use hypervisor_client::{Client, Error};
use hypervisor_oci::Access;
use serde_json::json;

use crate::Failure;
use crate::console::{Form, document, file, print, progress};
use crate::output::{Shown, agent};
use crate::owner::Owner;
use crate::session::Verify;
use crate::source::Source;

const MANIFEST: &str = "agent.toml";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv deploy target/wasm32-wasip2/release/weather.wasm
  hv deploy weather.wasm --manifest weather.toml --verify policy.toml
  hv deploy weather.wasm --owner work.key --output json
  hv deploy oci://ghcr.io/owner/weather@sha256:0123… --manifest weather.toml
  hv deploy --registered weather

Component and manifest travel sealed. The agent belongs to the owner's key, which the first deployment makes; a second
deployment under the same name replaces the first. A manifest has at least a name, a description and a version.")]
pub(crate) struct Deploy {
    /// The component: it exports wasi:http/incoming-handler (a service) or wasi:cli/run (a command). A file, or
    /// oci://REGISTRY/NAME@sha256:DIGEST, as `hv push` prints it.
    #[arg(required_unless_present = "registered", value_parser = Source::parser())]
    component: Option<Source>,
    /// The agent's manifest; agent.toml beside the component, or else in the current folder, where it is left out.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Deploy the agent that has this name in the host's registry instead.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["component", "manifest", "verify"])]
    registered: Option<String>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
    #[command(flatten)]
    verify: Verify,
    // Last: their headings would hold for what follows.
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    access: Access,
}

impl Deploy {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let client = Client::new(server)?;
        match (&self.registered, &self.component) {
            (Some(name), _) => self.registered(server, &client, name).await,
            (None, Some(component)) => self.component(server, &client, component).await,
            (None, None) => Err(Failure::Usage("there is nothing to deploy".to_owned())),
        }
        .map(|()| ExitCode::SUCCESS)
    }

    async fn registered(&self, server: &str, client: &Client, name: &str) -> Result<(), Failure> {
        let progress = progress();
        progress.set_message("deploying");
        let answer = client.deploy_registered(name).await?;
        progress.finish_and_clear();
        print(|out| match self.output {
            Form::Text => deployed(out, server, &answer.agent),
            Form::Json => {
                let url = agent::url(server, &answer.agent);
                let mut value = json!(answer);
                if let Some(members) = value.as_object_mut() {
                    members.insert("url".to_owned(), json!(url));
                }
                document(out, &value)
            }
        })
    }

    async fn component(
        &self,
        server: &str,
        client: &Client,
        source: &Source,
    ) -> Result<(), Failure> {
        let manifest = self.manifest(source)?;
        let component = source.read(&self.access).await?;
        let policy = self.verify.policy()?;
        let owner = self.owner.key_or_new()?;

        let progress = progress();
        let session = policy.open(client, &progress).await?;
        progress.set_message("deploying, sealed; the host compiles the component");
        let answer = session.deploy(&component, &manifest, &owner).await;
        progress.finish_and_clear();
        let answer = answer.map_err(explain)?;

        print(|out| match self.output {
            Form::Text => deployed(out, server, &answer.info),
            Form::Json => {
                let shown = Shown {
                    session: session.id(),
                    execution: &answer.execution,
                    payment: None,
                    attestation: session.attestation(),
                    was_shown: false,
                };
                let mut members = shown.members();
                members.insert("agent".to_owned(), json!(answer.info));
                members.insert("url".to_owned(), json!(agent::url(server, &answer.info)));
                document(out, &members)
            }
        })
    }

    /// The manifest's text.
    fn manifest(&self, component: &Source) -> Result<String, Failure> {
        let component = component.file();
        let beside = component.map(|component| component.with_file_name(MANIFEST));
        let path = match &self.manifest {
            Some(path) => path.clone(),
            None => beside
                .into_iter()
                .chain([PathBuf::from(MANIFEST)])
                .find(|path| path.exists())
                .ok_or_else(|| {
                    let component = component.map(|component| format!("beside {} and none ", component.display()));
                    Failure::Usage(format!(
                        "there is no {MANIFEST} {}in the current folder: write one, or name it with --manifest FILE",
                        component.unwrap_or_default()
                    ))
                })?,
        };
        let wrong = |reason: &str| Failure::Input(format!("{}: {reason}", path.display()));
        let text = String::from_utf8(file(&path)?)
            .map_err(|_| wrong("the manifest is not text (UTF-8)"))?;
        if text.len() > MAX_MANIFEST {
            return Err(wrong("a manifest has at most 64 KiB"));
        }
        Ok(text)
    }
}

fn deployed(out: &mut dyn Write, server: &str, info: &AgentInfo) -> std::io::Result<()> {
    writeln!(out, "deployed {}", agent::title(info))?;
    agent::details(out, server, info)
}

/// Each missing import on a line of its own.
fn explain(error: Error) -> Failure {
    match &error {
        Error::Agent(exit) => match exit.as_ref() {
            Exit::Rejected {
                problem: Rejection::MissingImport,
                detail,
            } => Failure::Input(format!(
                "the component imports what the host does not have:\n  {}",
                detail.replace("; ", "\n  ")
            )),
            _ => error.into(),
        },
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_imports_have_a_line_each() {
        let detail = "wasi:nn/graph@0.2.0: the host does not have it; a:b/c: nor this".to_owned();
        let problem = Rejection::MissingImport;
        let error = Error::Agent(Box::new(Exit::Rejected { problem, detail }));
        let text = explain(error).to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("\n  a:b/c: nor this"), "{text}");
    }
}
