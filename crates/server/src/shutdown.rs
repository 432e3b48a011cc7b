//! When to stop: the first SIGTERM or SIGINT drains, and so does the operator at the admin port; the second signal ends the process at
//! once.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::drain::Drain;
use crate::error::Error;

/// Exit status after a second signal: 128 + SIGTERM.
const HARD_EXIT: i32 = 143;

/// What ends the service.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    drain: Arc<Drain>,
}

impl Shutdown {
    /// Starts to listen for signals; from here on they no longer end the process by themselves.
    ///
    /// # Errors
    /// [`Error::Signals`].
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            drain: Arc::default(),
        })
    }

    /// What ends the service beside signals, and is told of them.
    pub fn drain(&self) -> Arc<Drain> {
        Arc::clone(&self.drain)
    }

    /// Returns at the next signal, or when the operator asks for the end.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
            () = self.drain.asked() => return,
        }
        self.drain.began();
    }

    /// Ends the process at the next signal.
    pub(crate) fn exit_at_next(mut self) {
        tokio::spawn(async move {
            self.requested().await;
            tracing::warn!("second signal: ending without draining");
            std::process::exit(HARD_EXIT);
        });
    }
}
