//! How many requests are forwarded at once, and how many of them one client's may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests that are forwarded at once.
const RELAYS: usize = 256;

/// Places for requests that are forwarded.
#[derive(Debug)]
pub(crate) struct Places {
    /// What each client has; those of which nobody knows the client are one's.
    taken: Mutex<Taken>,
    /// What one client may have.
    share: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    clients: HashMap<Option<IpAddr>, usize>,
}

/// A place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
}

impl Places {
    /// One client may have `part` of `whole` places, and always one.
    pub(crate) fn new((part, whole): (usize, usize)) -> Arc<Self> {
        let share = RELAYS.saturating_mul(part).checked_div(whole);
        Arc::new(Self {
            taken: Mutex::default(),
            share: share.unwrap_or(RELAYS / 2).clamp(1, RELAYS),
        })
    }

    /// A place for a request of this client; none where all are taken, or all that are its own.
    pub(crate) fn take(self: &Arc<Self>, client: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.clients.get(&client).copied().unwrap_or_default();
        if taken.all >= RELAYS || own >= self.share {
            return None;
        }
        taken.all = taken.all.saturating_add(1);
        taken.clients.insert(client, own.saturating_add(1));
        Some(Place {
            places: Arc::clone(self),
            client,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.clients.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_client_at_its_share_leaves_the_rest_to_others_and_has_it_again() {
        let places = Places::new((2, RELAYS));
        let held = [places.take(client(1)), places.take(client(1))];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(client(1)).is_none());
        let unknown = places.take(None);
        assert!(unknown.is_some() && places.take(client(2)).is_some());
        drop(held);
        assert!(places.take(client(1)).is_some());
        drop(unknown);
        assert!(places.taken().clients.is_empty());
    }

    #[test]
    fn a_share_is_a_part_of_all_places_and_never_none() {
        let shares = [(1, 2), (512, 1024), (7, 7), (0, 9), (9, 3), (0, 0)];
        let shares = shares.map(|part| Places::new(part).share);
        assert_eq!(shares, [128, 128, RELAYS, 1, RELAYS, 128]);
    }

    #[test]
    fn all_clients_together_have_no_more_places_than_there_are() {
        let places = Places::new((RELAYS - 1, RELAYS));
        let mut held: Vec<_> = (1..RELAYS).map(|_| places.take(client(1))).collect();
        held.push(places.take(client(2)));
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(client(3)).is_none());
        held.pop();
        assert!(places.take(client(3)).is_some());
    }
}
