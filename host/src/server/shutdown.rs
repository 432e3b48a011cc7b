//! When to stop: the first SIGTERM or SIGINT drains, the second ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Exit status after a second signal: 128 + SIGTERM.
const HARD_EXIT: i32 = 143;

/// The signals that end the service.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Starts to listen for signals; from here on they no longer end the process by themselves.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|source| Error::Io {
                what: "listening for signals",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next signal.
    pub(super) async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }

    /// Ends the process at the next signal.
    pub(super) fn exit_at_next(mut self) {
        tokio::spawn(async move {
            self.requested().await;
            tracing::warn!("second signal: ending without draining");
            std::process::exit(HARD_EXIT);
        });
    }
}
