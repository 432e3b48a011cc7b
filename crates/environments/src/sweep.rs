//! The end of environments whose time is over, and of their logs later.

use std::sync::Arc;
use std::time::Duration;

use hypervisor_protocol::environment::LogKind;

use crate::Environments;
use crate::error::Error;

/// The longest that nobody looks.
const LONGEST: Duration = Duration::from_secs(60);
/// The same, where other hosts set environments up too.
const FOLLOW: Duration = Duration::from_secs(1);
/// The shortest, however many end.
const SHORTEST: Duration = Duration::from_millis(100);

impl Environments {
    /// Ends environments when their time is over, and writes logs, for as long as it is polled.
    pub async fn attend(self: Arc<Self>) {
        let sweeping = async {
            loop {
                let environments = Arc::clone(&self);
                let swept = tokio::task::spawn_blocking(move || environments.sweep()).await;
                let wait = match swept {
                    Ok(Ok(wait)) => wait,
                    Ok(Err(error)) => {
                        tracing::error!(%error, "environments whose time is over cannot be removed");
                        LONGEST
                    }
                    Err(_) => LONGEST,
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.changed.notified() => tokio::time::sleep(SHORTEST).await,
                }
            }
        };
        tokio::join!(sweeping, self.journal.write());
    }

    /// Ends what is over, and says when to look again.
    fn sweep(&self) -> Result<Duration, Error> {
        let now = self.clock.seconds();
        self.follow()?;
        let moment = now.saturating_sub(self.late().as_secs());
        if self.rows.is_shared() {
            // Others may have used what nobody used here.
            for entry in self.live.entries(None) {
                if entry.expires_at() <= moment {
                    self.refresh_one(&entry.id)?;
                }
            }
        }
        let (over, next) = self.live.ended(moment);
        // One that cannot be ended is looked at again, and keeps none of the others.
        let mut failed = None;
        for entry in over {
            if let Err(error) = self.end(&entry, self.bare_row(LogKind::Expire)) {
                failed.get_or_insert(error);
            }
        }
        let keep = self.settings.log_keep.as_secs();
        // As many logs of environments that ended as there may be environments.
        let most = (self.settings.per_owner, self.settings.environments);
        let times = (now, now.saturating_sub(keep));
        self.journal.tidy(times, most, |id| self.live.has(id))?;
        if let Some(error) = failed {
            return Err(error);
        }
        let longest = match self.rows.is_shared() {
            true => FOLLOW,
            false => LONGEST,
        };
        let wait = next.map_or(longest, |at| Duration::from_secs(at.saturating_sub(moment)));
        Ok(wait.clamp(SHORTEST, longest))
    }

    /// Writes what is still to be written of the logs.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn flush(&self) -> Result<(), Error> {
        self.journal.flush()
    }
}
