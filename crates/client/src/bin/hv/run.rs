//! `hv run`, `hv python` and `hv js`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hypervisor_client::payment::Payment;
use hypervisor_client::{Client, Execution, PaidExecution, Program};
use hypervisor_oci::Access;

use crate::console::{progress, read};
use crate::live::{Live, To};
use crate::output::{self, Shown};
use crate::pay::Pay;
use crate::session::{Keep, Verify};
use crate::source::Source;
use crate::{Failure, Output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv run hello.wasm
  hv run jq.wasm --stdin data.json -- '.items | length'
  cat data.json | hv run jq.wasm --stdin - -- .
  hv run hello.wasm --output json
  hv run long.wasm --stream
  hv run oci://ghcr.io/owner/hello@sha256:0123…
  hv run hello.wasm --verify policy.toml
  hv run hello.wasm --verify policy.toml --keep run.cbor    (and later: hv verify run.cbor)
  hv run hello.wasm --pay ~/payer.key --max-price 0.05
  HV_PAY_KEY=$(pass payer) hv run hello.wasm --max-price 0.05 --pay-network base

The exit status is the program's own. A program that was stopped or refused gives 1 and a line on standard error.")]
pub(crate) struct Run {
    /// The program: a wasm32-wasip2 component or a wasm32-wasip1 command module; a file, or oci://REGISTRY/NAME@sha256:DIGEST.
    #[arg(value_parser = Source::parser())]
    program: Source,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv python script.py
  hv python report.py --stdin data.csv -- --year 2026
  hv python train.py --stream
  hv python script.py --verify policy.toml
  hv python script.py --pay ~/payer.key --max-price 0.05

The script runs in the host's sandboxed CPython. An uncaught exception gives exit status 1 and Python's traceback.")]
pub(crate) struct Python {
    /// The script: Python source, UTF-8.
    script: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv js script.js
  hv js report.ts --stdin data.json -- --year 2026
  hv js watch.ts --stream
  hv js script.js --verify policy.toml
  hv js script.js --pay ~/payer.key --max-price 0.05

The script runs in the host's sandboxed QuickJS, as an ES module. TypeScript's types are taken away, and not checked. An uncaught error gives
exit status 1 and its traceback.")]
pub(crate) struct Js {
    /// The script: JavaScript or TypeScript, UTF-8.
    script: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// File for standard input, `-` for this command's own; without it the program reads end of file.
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Say on standard error what was verified, and what the program used.
    #[arg(long, short)]
    verbose: bool,
    /// Arguments of the program, after `--`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    verify: Verify,
    #[command(flatten)]
    keep: Keep,
    // Last: its heading would hold for what follows.
    #[command(flatten)]
    pay: Pay,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Wasm,
    Python,
    Javascript,
}

impl Run {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let program = self.program.read(&self.access).await?;
        self.options.execute(server, &program, Kind::Wasm).await
    }
}

impl Python {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let script = read(&self.script)?;
        self.options.execute(server, &script, Kind::Python).await
    }
}

impl Js {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        let script = read(&self.script)?;
        self.options
            .execute(server, &script, Kind::Javascript)
            .await
    }
}

impl Options {
    async fn execute(&self, server: &str, bytes: &[u8], kind: Kind) -> Result<ExitCode, Failure> {
        let stdin = self.stdin.as_deref().map(read).transpose()?;
        let arguments = self.arguments.iter().cloned().map(OsString::into_vec);
        let mut program = Program::new(bytes).arguments(arguments);
        if let Some(stdin) = &stdin {
            program = program.stdin(stdin);
        }

        let payer = self.pay.payer(server)?;
        let policy = self.verify.policy()?;
        let keeper = self.keep.prepare()?;
        let client = Client::new(server)?;

        let progress = progress();
        let session = policy.open_to_keep(&client, &progress, &keeper).await?;
        let is_text = self.output == Output::Text;
        let (session, viewer) = self.live.watch(session, (&progress, To::Stdout), is_text)?;
        progress.set_message("running, sealed");
        let (execution, payment) = match (kind, &payer) {
            (Kind::Wasm, None) => (session.run_wasm(program).await?, None),
            (Kind::Python, None) => (session.run_python(program).await?, None),
            (Kind::Javascript, None) => (session.run_javascript(program).await?, None),
            (Kind::Wasm, Some(payer)) => paid(session.run_wasm_paid(program, payer).await?),
            (Kind::Python, Some(payer)) => paid(session.run_python_paid(program, payer).await?),
            (Kind::Javascript, Some(payer)) => {
                paid(session.run_javascript_paid(program, payer).await?)
            }
        };
        progress.finish_and_clear();

        let shown = Shown {
            session: session.id(),
            execution: &execution,
            payment: payment.as_ref(),
            attestation: session.attestation(),
            was_shown: viewer.has_shown()?,
        };
        let kept = keeper.keep(&execution);
        shown.print(self.output, self.verbose)?;
        kept?;
        Ok(output::status(&execution.report.exit))
    }
}

pub(crate) fn paid(paid: PaidExecution) -> (Execution, Option<Payment>) {
    (paid.execution, Some(paid.payment))
}
