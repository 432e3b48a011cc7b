//! `hv search`.

use std::process::ExitCode;

use clap::Args;
use hypervisor_client::Client;

use crate::Failure;
use crate::console::{Form, document, plain, print};
use crate::output::agent;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv search weather forecast
  hv search 'translate Norwegian' --limit 3 --output json

The words travel in plaintext: the host's operator can read them.")]
pub(crate) struct Search {
    /// What the agent should do.
    #[arg(required = true)]
    words: Vec<String>,
    /// Most agents to show.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
}

impl Search {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let words = self.words.join(" ");
        let answer = Client::new(server)?
            .search(&words, Some(self.limit))
            .await?;
        print(|out| match self.output {
            Form::Text if answer.agents.is_empty() => writeln!(out, "{}", plain(&answer.message)),
            Form::Text => agent::found(out, &answer.agents),
            Form::Json => document(out, &answer),
        })
        .map(|()| ExitCode::SUCCESS)
    }
}
