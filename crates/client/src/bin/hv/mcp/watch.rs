//! `--stream`: what a run writes, told while it runs to whoever called the tool and asked for progress.

use std::future::Future;

use hypervisor_client::protocol::Stream;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Most bytes of an output that are told while it runs; the answer has the output.
const MOST: usize = 64 << 10;

tokio::task_local! {
    /// Where the output of the run goes that this task waits for: a session has one listener for all that runs in it.
    static WATCHER: UnboundedSender<String>;
}

/// The listener of the session.
pub(super) fn tell(_: Stream, output: &[u8]) {
    let text = String::from_utf8_lossy(output).into_owned();
    // Whoever did not ask for progress is told nothing.
    let _ = WATCHER.try_with(|watcher| watcher.send(text));
}

/// Does the work, and tells what runs in it write.
pub(super) async fn watched<T>(
    work: impl Future<Output = T>,
    (peer, token): (Peer<RoleServer>, Option<ProgressToken>),
) -> T {
    let Some(token) = token else {
        return work.await;
    };
    let (watcher, output) = unbounded_channel();
    let work = WATCHER.scope(watcher, work);
    tokio::pin!(work);
    let telling = pass_on(output, peer, token);
    tokio::pin!(telling);
    tokio::select! {
        done = &mut work => done,
        () = &mut telling => work.await,
    }
}

async fn pass_on(
    mut output: UnboundedReceiver<String>,
    peer: Peer<RoleServer>,
    token: ProgressToken,
) {
    let mut told = 0_usize;
    let mut parts = 0_u32;
    while let Some(part) = output.recv().await {
        told = told.saturating_add(part.len());
        if told > MOST {
            return;
        }
        parts = parts.saturating_add(1);
        let progress = ProgressNotificationParam::new(token.clone(), f64::from(parts));
        // Who does not listen any more gets the answer or nothing.
        let sent = peer.notify_progress(progress.with_message(part)).await;
        if sent.is_err() {
            return;
        }
    }
}
