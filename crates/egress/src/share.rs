//! How much may be under way at once: connections and lookups of names, for everybody and for each part.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// What may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections, those that are still being made included: each is a descriptor.
    pub connections: usize,
    /// Lookups of names: each is a thread, also when nobody waits for it any more.
    pub lookups: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            lookups: 64,
        }
    }
}

/// A share of what may be under way, which may be part of another one. Clones are the same share.
///
/// A connection beyond the share is refused, so that the component learns of it and gives up one that it has; a lookup waits, as
/// lookups end by themselves.
#[derive(Debug, Clone)]
pub struct Share(Arc<Level>);

#[derive(Debug)]
struct Level {
    connections: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    whole: Option<Share>,
}

/// What was taken out of a share and of those that it is part of; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Taken(#[expect(dead_code, reason = "held")] Vec<OwnedSemaphorePermit>);

impl Share {
    /// A share that is part of no other.
    pub fn new(bounds: Bounds) -> Self {
        Self::within(bounds, None)
    }

    /// A part of this share: what it takes, both hold.
    #[must_use]
    pub fn part(&self, bounds: Bounds) -> Self {
        Self::within(bounds, Some(self.clone()))
    }

    /// Whether anybody else holds this share, or anything of it is taken.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
            || Arc::strong_count(&self.0.connections) > 1
            || Arc::strong_count(&self.0.lookups) > 1
    }

    fn within(bounds: Bounds, whole: Option<Self>) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Level {
            connections: semaphore(bounds.connections),
            lookups: semaphore(bounds.lookups),
            whole,
        }))
    }

    /// This share, and those that it is part of.
    fn levels(&self) -> impl Iterator<Item = &Level> {
        std::iter::successors(Some(&*self.0), |level| {
            level.whole.as_ref().map(|whole| &*whole.0)
        })
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// [`Error::ConnectionLimitReached`] when there is none left, here or in the whole.
    pub(crate) fn connection(&self) -> Result<Taken, Error> {
        self.levels()
            .map(|level| Arc::clone(&level.connections).try_acquire_owned())
            .collect::<Result<_, _>>()
            .map(Taken)
            .map_err(|_| Error::ConnectionLimitReached)
    }

    /// Waits for a lookup, the own share first: who waits for it holds nothing of the others'.
    pub(crate) async fn lookup(&self) -> Result<Taken, Error> {
        let mut taken = Vec::new();
        for level in self.levels() {
            let lookups = Arc::clone(&level.lookups);
            // Never closed.
            let permit = lookups.acquire_owned().await;
            taken.push(permit.map_err(|_| Error::InternalError(None))?);
        }
        Ok(Taken(taken))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bounds(connections: usize, lookups: usize) -> Bounds {
        Bounds {
            connections,
            lookups,
        }
    }

    #[test]
    fn a_share_ends_where_its_bound_is() {
        let share = Share::new(bounds(2, 1));
        let taken = [share.connection().unwrap(), share.connection().unwrap()];
        assert!(matches!(
            share.connection(),
            Err(Error::ConnectionLimitReached)
        ));
        drop(taken);
        assert!(share.connection().is_ok());
    }

    #[test]
    fn parts_together_get_no_more_than_the_whole() {
        let whole = Share::new(bounds(3, 1));
        let (one, other) = (whole.part(bounds(2, 1)), whole.part(bounds(2, 1)));
        let held = [one.connection().unwrap(), one.connection().unwrap()];
        let third = other.connection().unwrap();
        assert!(other.connection().is_err());
        drop(third);
        assert!(one.connection().is_err());
        // A refusal gives back what it took of the other levels.
        let third = other.connection().unwrap();
        drop((held, third));
        assert_eq!(whole.0.connections.available_permits(), 3);
    }

    #[test]
    fn a_share_is_used_while_somebody_holds_it_or_has_taken_of_it() {
        let share = Share::new(bounds(2, 1));
        assert!(!share.is_used());
        let clone = share.clone();
        let taken = clone.connection().unwrap();
        drop(clone);
        assert!(share.is_used());
        drop(taken);
        assert!(!share.is_used());
        let part = share.part(bounds(1, 1));
        assert!(share.is_used());
        drop(part);
        assert!(!share.is_used());
    }

    #[tokio::test]
    async fn who_used_up_its_lookups_holds_no_other_back() {
        let whole = Share::new(bounds(1, 2));
        let (greedy, other) = (whole.part(bounds(1, 1)), whole.part(bounds(1, 1)));
        let held = greedy.lookup().await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(20), greedy.lookup());
        let (waited, found) = tokio::join!(waiting, other.lookup());
        assert!(waited.is_err() && found.is_ok());
        drop(held);
        assert!(greedy.lookup().await.is_ok());
    }
}
