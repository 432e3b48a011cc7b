//! `hv repl`: turns in an environment, at a prompt.

mod source;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hypervisor_client::environments::{Bundle, EvaluateInput};
use hypervisor_client::protocol::{Exit, OwnerKey};
use hypervisor_client::{Session, ending};
use indicatif::ProgressBar;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::Failure;
use crate::console::{Form, note, plain, print, progress};
use crate::env::{Language, Options, TermsArgs, look_up};
use crate::live::{To, Viewer};
use crate::output;

use source::{Continues, is_complete};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv repl                                  JavaScript and TypeScript
  hv repl --language python
  hv repl --environment prices             go on in an environment that is there
  hv repl --language python --keep --name notebook
  printf 'x = 6\\nx * 7\\n' | hv repl --language python

Each turn starts from the memory that the turn before left. A turn that is interrupted (Ctrl-C), traps or meets a limit leaves it as it was.
A line whose brackets, strings or block are still open goes on in the next one. Ctrl-D ends; without --keep, a new environment is removed then.")]
pub(crate) struct Repl {
    /// Language of a new environment.
    #[arg(long, short, value_enum, default_value = "js")]
    language: Language,
    /// Go on in this environment, by its id or name, and leave it there.
    #[arg(long, short, value_name = "ENV", conflicts_with = "keep")]
    environment: Option<String>,
    /// Leave the environment there at the end.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    options: Options,
}

/// Where turns go.
struct Place {
    session: Session,
    viewer: Viewer,
    progress: ProgressBar,
    owner: OwnerKey,
    id: String,
    language: Language,
}

/// What a line of input was.
enum Input {
    Source(String),
    /// It was thrown away.
    Nothing,
    End,
}

impl Repl {
    pub(crate) async fn execute(&self, server: &str) -> Result<ExitCode, Failure> {
        if matches!(self.options.output, Form::Json) {
            return Err(Failure::Usage(
                "`hv repl` shows text alone; `hv env run` has --output json".to_owned(),
            ));
        }
        let owner = self.options.key_or_new()?;
        let session = self.options.open(server).await?;
        let (id, language) = match &self.environment {
            Some(named) => {
                let info = look_up(&session, named, &owner).await?;
                let language = match info.language.as_str() {
                    "python" => Language::Python,
                    _ => Language::Js,
                };
                (info.id, language)
            }
            None => (self.begin(&session, &owner).await?, self.language),
        };
        // Turns are shown while they run.
        let progress = progress();
        progress.finish_and_clear();
        let (session, viewer) = Viewer::on(session, &progress, To::Stdout);
        let place = Place {
            session,
            viewer,
            progress,
            owner,
            id,
            language,
        };
        let ended = match io::stdin().is_terminal() {
            true => place.prompted().await,
            false => place.piped().await,
        };
        if self.environment.is_none() && !self.keep {
            let removed = place
                .session
                .remove_environment(&place.id, &place.owner)
                .await;
            ended.and_then(|status| Ok(removed.map(|_| status)?))
        } else {
            note(format_args!("the environment {} is kept", plain(&place.id)))?;
            ended
        }
    }

    /// An environment with nothing in it.
    async fn begin(&self, session: &Session, owner: &OwnerKey) -> Result<String, Failure> {
        let bundle = Bundle {
            language: self.language.name().to_owned(),
            ..Bundle::default()
        };
        let done = session.set_up(&bundle, &self.terms.terms(), owner).await?;
        match done.answer.environment {
            Some(environment) => Ok(environment.id),
            None => {
                let exit = &done.execution.report.exit;
                let words = ending(exit).unwrap_or_else(|| "it was not set up".to_owned());
                Err(Failure::Input(words))
            }
        }
    }
}

impl Place {
    async fn prompted(&self) -> Result<ExitCode, Failure> {
        let config = Config::builder().auto_add_history(true).build();
        let mut editor: Editor<Continues, FileHistory> =
            Editor::with_config(config).map_err(|error| broken(&error))?;
        editor.set_helper(Some(Continues(self.language)));
        let history = history_file(self.language);
        if let Some(file) = &history {
            // There is none the first time.
            let _ = editor.load_history(file);
        }
        let mut ended = Ok(ExitCode::SUCCESS);
        loop {
            match read_line(&mut editor)? {
                Input::Nothing => {}
                Input::End => break,
                Input::Source(source) => {
                    if let Err(error) = self.turn(&source).await {
                        ended = Err(error);
                        break;
                    }
                }
            }
        }
        if let Some(file) = &history
            && let Err(error) = editor.save_history(file)
        {
            note(format_args!("the history is not kept: {error}"))?;
        }
        ended
    }

    /// Turns as they come; the first that does not end well gives the status.
    async fn piped(&self) -> Result<ExitCode, Failure> {
        let mut source = String::new();
        let mut lines = io::stdin().lines();
        loop {
            let line = lines.next().transpose().map_err(|source| Failure::Io {
                what: "cannot read standard input".to_owned(),
                source,
            })?;
            let is_end = line.is_none();
            if let Some(line) = line {
                source.push_str(&line);
                if !is_complete(&source, self.language) {
                    source.push('\n');
                    continue;
                }
            }
            if !source.trim().is_empty() {
                let exit = self.turn(&std::mem::take(&mut source)).await?;
                if exit != Exit::Ok {
                    return Ok(output::status(&exit));
                }
            }
            source.clear();
            if is_end {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Runs a turn and shows what came of it.
    async fn turn(&self, source: &str) -> Result<Exit, Failure> {
        let input = EvaluateInput {
            source: source.to_owned(),
            ..EvaluateInput::default()
        };
        self.progress.reset();
        self.progress.set_message("running, sealed");
        let done = tokio::select! {
            done = self.session.evaluate(&self.id, &input, &self.owner) => done,
            _ = tokio::signal::ctrl_c() => {
                self.progress.finish_and_clear();
                note(format_args!(
                    "interrupted: unless it had ended already, this turn changes nothing"
                ))?;
                return Ok(Exit::Code { code: 130 });
            }
        };
        self.progress.finish_and_clear();
        let done = done?;
        self.viewer.has_shown()?;
        let report = &done.execution.report;
        if let Some(value) = &done.answer.value {
            print(|out| writeln!(out, "{}", plain(value)))?;
        }
        match &report.exit {
            // Its traceback is shown.
            Exit::Code { .. } if done.answer.kept => {}
            exit => {
                if let Some(words) = ending(exit) {
                    note(format_args!("{}", plain(&words)))?;
                }
            }
        }
        Ok(report.exit.clone())
    }
}

fn read_line(editor: &mut Editor<Continues, FileHistory>) -> Result<Input, Failure> {
    match editor.readline("> ") {
        Ok(source) if source.trim().is_empty() => Ok(Input::Nothing),
        Ok(source) => Ok(Input::Source(source)),
        Err(ReadlineError::Interrupted) => Ok(Input::Nothing),
        Err(ReadlineError::Eof) => Ok(Input::End),
        Err(error) => Err(broken(&error)),
    }
}

fn broken(error: &ReadlineError) -> Failure {
    Failure::Input(format!("the terminal cannot be read: {error}"))
}

/// Where lines of earlier sessions are; nobody else may read them.
fn history_file(language: Language) -> Option<PathBuf> {
    let folder = crate::memory::folder()?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join(format!("repl-{}", language.name())))
}
