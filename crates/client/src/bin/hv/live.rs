//! `--stream`: what runs write, shown while they write it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use hypervisor_client::Session;
use hypervisor_client::protocol::Stream;
use indicatif::ProgressBar;

use crate::Failure;
use crate::output::written;

#[derive(Debug, Args)]
pub(crate) struct Live {
    /// Show what it writes while it runs, each part authenticated as it comes; exit status and checks of the whole come at its end. Where it is
    /// paid for after the run, the output comes then.
    #[arg(long)]
    stream: bool,
}

/// Where what is written to standard output goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Stdout,
    /// With standard error: standard output is for the answer.
    Stderr,
}

/// Shows output.
pub(crate) struct Viewer {
    is_on: bool,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Live {
    /// The session, whose runs are shown where that is wanted; as text alone.
    pub(crate) fn watch(
        &self,
        session: Session,
        (progress, to): (&ProgressBar, To),
        is_text: bool,
    ) -> Result<(Session, Viewer), Failure> {
        match (self.stream, is_text) {
            (false, _) => Ok((session, Viewer::off())),
            (true, true) => Ok(Viewer::on(session, progress, to)),
            (true, false) => Err(Failure::Usage(
                "--stream shows text; leave it or `--output json` out".to_owned(),
            )),
        }
    }
}

impl Viewer {
    fn off() -> Self {
        Self {
            is_on: false,
            failed: Arc::default(),
        }
    }

    /// The session, whose runs are shown.
    pub(crate) fn on(session: Session, progress: &ProgressBar, to: To) -> (Session, Self) {
        let failed: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let (failing, progress) = (Arc::clone(&failed), progress.clone());
        let session = session.with_output(move |stream, output| {
            progress.finish_and_clear();
            if let Err(error) = show(stream, to, output) {
                let mut failed = failing.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        });
        (
            session,
            Self {
                is_on: true,
                failed,
            },
        )
    }

    /// Whether the output was shown already.
    ///
    /// # Errors
    /// Where it could not be written.
    pub(crate) fn has_shown(&self) -> Result<bool, Failure> {
        let failed = self.failed.lock();
        match failed.unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(written(error)),
            None => Ok(self.is_on),
        }
    }
}

fn show(stream: Stream, to: To, output: &[u8]) -> io::Result<()> {
    match (stream, to) {
        (Stream::Stdout, To::Stdout) => {
            let mut out = io::stdout().lock();
            out.write_all(output)?;
            out.flush()
        }
        _ => io::stderr().write_all(output),
    }
}
