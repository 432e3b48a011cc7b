//! Taking a host out of service while what is under way goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What was asked of a host that serves: to be sent nothing more, or to end.
#[derive(Debug, Default)]
pub struct Drain {
    is_on: AtomicBool,
    ends: AtomicBool,
    asked: Notify,
}

impl Drain {
    /// The host is not ready from here on. `ends`: it ends too, as after a signal; once that was said it stays.
    pub fn begin(&self, ends: bool) {
        self.is_on.store(true, Ordering::Release);
        if ends && !self.ends.swap(true, Ordering::AcqRel) {
            self.asked.notify_one();
        }
    }

    /// The host is ready again, unless it is about to end. Whether it is.
    pub fn leave(&self) -> bool {
        let stays = !self.ends.load(Ordering::Acquire);
        if stays {
            self.is_on.store(false, Ordering::Release);
        }
        stays
    }

    /// Whether requests should go elsewhere.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Returns when the end was asked for: once.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// A signal asked for the end. Nobody is told of it a second time: the next signal is the last.
    pub(crate) fn began(&self) {
        self.is_on.store(true, Ordering::Release);
        self.ends.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_can_be_left_until_it_ends_the_host() {
        let drain = Drain::default();
        assert!(!drain.is_on());
        drain.begin(false);
        assert!(drain.is_on());
        assert!(drain.leave() && !drain.is_on());
        drain.begin(true);
        drain.begin(false);
        assert!(!drain.leave() && drain.is_on());
    }
}
