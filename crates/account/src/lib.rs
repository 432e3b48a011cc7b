//! The account: what callers make the host hold, entered when it arrives and taken off when it is gone.
//!
//! Every entry counts twice: for the whole host, and for the peer that caused it. A peer at its own bound is refused while
//! others are served; the host at its bound refuses everybody. Refused means 503 with `Retry-After`: nothing waits for bytes,
//! so that slow uploads cannot block quick ones.

mod slots;
mod usage;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use slots::Slot;
pub use usage::InHand;

/// Peers that are remembered before those without an entry are dropped.
const PEERS: usize = 1024;

/// Who causes an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A network address: an IPv4 address, or the /64 of an IPv6 address, which is one subscriber's.
    Address(IpAddr),
    /// The owner of an agent that calls another agent.
    Owner(String),
}

impl Peer {
    /// The peer behind a connection.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(hypervisor_server::subscriber(address))
    }

    /// The network that the peer is in, as wide as what a stranger gets without asking twice: an IPv4 address, or the /48 of an IPv6
    /// address.
    pub fn network(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string()
            }
            Self::Address(address) => address.to_string(),
            Self::Owner(owner) => owner.clone(),
        }
    }
}

/// The host is at a bound of its own, or the peer at its share of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at the limit of work in progress")]
pub struct Full;

/// What the host may have in hand, and one peer of it.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of all peers together.
    pub host: Most,
    /// Of one peer.
    pub peer: Most,
    /// Told each time that there was no room for more: of what, and whether of the `"host"` or of a `"peer"`.
    pub full: fn(&'static str, &'static str),
}

/// How much may be in hand at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Bytes of requests and answers.
    pub bytes: usize,
    /// Executions.
    pub slots: usize,
    /// Requests that wait for a slot.
    pub waiting: usize,
}

/// The account of one host.
#[derive(Debug)]
pub struct Account {
    host: Arc<Host>,
    peers: Mutex<HashMap<Peer, Weak<Entries>>>,
    peer: Most,
}

/// Errands of owners that are run at once: each is a few reads and writes of the store.
const MANAGING: usize = 4;

/// What the whole host has in hand.
#[derive(Debug)]
struct Host {
    /// Slots that there are.
    all_slots: usize,
    bytes: Bounded,
    slots: Semaphore,
    waiting: Bounded,
    managing: Semaphore,
    plugins: Arc<Semaphore>,
    plugins_waiting: Bounded,
    full: Told,
}

/// [`Bounds::full`].
type Told = fn(&'static str, &'static str);

/// What one peer has in hand.
#[derive(Debug)]
struct Entries {
    peer: Peer,
    host: Arc<Host>,
    bytes: Bounded,
    slots: Semaphore,
    waiting: Bounded,
}

/// A peer's side of the account, for the time of one request.
#[derive(Debug, Clone)]
pub struct Party(Arc<Entries>);

/// Bytes that are held, until dropped.
#[derive(Debug)]
pub struct Share {
    party: Party,
    bytes: usize,
}

/// A count with a bound.
#[derive(Debug)]
struct Bounded {
    /// What is counted, and whether of the host or of a peer, in metrics.
    name: [&'static str; 2],
    count: AtomicUsize,
    bound: usize,
    full: Told,
}

impl Bounded {
    fn new(name: [&'static str; 2], bound: usize, full: Told) -> Self {
        Self {
            name,
            count: AtomicUsize::new(0),
            bound,
            full,
        }
    }

    fn add(&self, more: usize) -> Result<(), Full> {
        let within = |count: usize| count.checked_add(more).filter(|sum| *sum <= self.bound);
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
            .map(drop)
            .map_err(|_| {
                let [bound, of] = self.name;
                (self.full)(bound, of);
                Full
            })
    }

    fn remove(&self, less: usize) {
        self.count.fetch_sub(less, Ordering::AcqRel);
    }
}

impl Account {
    /// With nothing in hand.
    pub fn new(bounds: Bounds) -> Self {
        // Verifying a payment and asking the policy take processor time: more at once than this only makes each slower.
        let plugins =
            std::thread::available_parallelism().map_or(8, |cores| cores.get().saturating_mul(8));
        let Bounds { host, peer, full } = bounds;
        let slots = host.slots.min(Semaphore::MAX_PERMITS);
        Self {
            host: Arc::new(Host {
                all_slots: slots,
                bytes: Bounded::new(["bytes", "host"], host.bytes, full),
                slots: Semaphore::new(slots),
                waiting: Bounded::new(["queue", "host"], host.waiting, full),
                managing: Semaphore::new(MANAGING),
                plugins: Arc::new(Semaphore::new(plugins)),
                plugins_waiting: Bounded::new(["turns", "host"], host.waiting, full),
                full,
            }),
            peers: Mutex::default(),
            peer: Most {
                slots: peer.slots.min(Semaphore::MAX_PERMITS),
                ..peer
            },
        }
    }

    /// The side of one peer. Requests of the same peer share one.
    pub fn party(&self, peer: &Peer) -> Party {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.get(peer).and_then(Weak::upgrade);
        Party(known.unwrap_or_else(|| {
            if peers.len() >= PEERS {
                peers.retain(|_, entries| entries.strong_count() > 0);
            }
            let entries = Arc::new(Entries {
                peer: peer.clone(),
                host: Arc::clone(&self.host),
                bytes: Bounded::new(["bytes", "peer"], self.peer.bytes, self.host.full),
                slots: Semaphore::new(self.peer.slots),
                waiting: Bounded::new(["queue", "peer"], self.peer.waiting, self.host.full),
            });
            peers.insert(peer.clone(), Arc::downgrade(&entries));
            entries
        }))
    }

    /// Returns when all of so many slots are free.
    pub async fn idle(&self, slots: usize) {
        let all = u32::try_from(slots).unwrap_or(u32::MAX);
        // Nobody closes it.
        let _ = self.host.slots.acquire_many(all).await;
    }

    /// A turn with a plugin that decides about requests. They are few, so that a flood of requests makes callers wait and not
    /// the plugin run out of its time.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn plugin(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(turn) = Arc::clone(&self.host.plugins).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.host.plugins_waiting)?;
        Arc::clone(&self.host.plugins)
            .acquire_owned()
            .await
            .map_err(|_| Full)
    }
}

/// One place in a queue; given back when the wait ends, also by the caller going away.
struct Place<'a>(&'a Bounded);

impl<'a> Place<'a> {
    fn take(queue: &'a Bounded) -> Result<Self, Full> {
        queue.add(1)?;
        Ok(Self(queue))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.remove(1);
    }
}

impl Party {
    /// Its peer.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// The network that its peer is in.
    pub fn network(&self) -> String {
        self.0.peer.network()
    }

    /// A share of no bytes yet.
    pub fn share(&self) -> Share {
        Share {
            party: self.clone(),
            bytes: 0,
        }
    }

    /// Enters `bytes` until the last part of them is gone: sent, or given up.
    ///
    /// # Errors
    /// [`Full`].
    pub fn hold(&self, bytes: Vec<u8>) -> Result<Bytes, Full> {
        let mut share = self.share();
        share.cover(bytes.len())?;
        Ok(share.around(bytes))
    }
}

impl Share {
    /// Makes the share cover `bytes`, if it does not yet.
    ///
    /// # Errors
    /// [`Full`].
    pub fn cover(&mut self, bytes: usize) -> Result<(), Full> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            let own = &self.party.0;
            own.bytes.add(more)?;
            if let Err(full) = own.host.bytes.add(more) {
                own.bytes.remove(more);
                return Err(full);
            }
            self.bytes = bytes;
        }
        Ok(())
    }

    /// `bytes` that end this share when the last part of them is gone.
    pub fn around(self, bytes: Vec<u8>) -> Bytes {
        struct Held {
            bytes: Vec<u8>,
            _share: Share,
        }

        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }

        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let own = &self.party.0;
        own.bytes.remove(self.bytes);
        own.host.bytes.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let most = |bytes, slots, waiting| Most {
            bytes,
            slots,
            waiting,
        };
        Account::new(Bounds {
            host: most(100, 3, 2),
            peer: most(60, 2, 1),
            full: |_, _| {},
        })
    }

    fn peer(last: u8) -> Peer {
        Peer::at(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn one_peer_at_its_share_leaves_the_rest_to_others() {
        let account = account();
        let held = account.party(&peer(1)).hold(vec![0; 60]).unwrap();
        assert_eq!(account.party(&peer(1)).hold(vec![0; 1]), Err(Full));
        let other = account.party(&peer(2)).hold(vec![0; 40]).unwrap();
        assert_eq!(account.party(&peer(3)).hold(vec![0; 1]), Err(Full));
        drop(held.slice(..1));
        assert_eq!(account.party(&peer(1)).hold(vec![0; 1]), Err(Full));
        drop((held, other));
        assert!(account.party(&peer(1)).hold(vec![0; 60]).is_ok());
    }

    #[tokio::test]
    async fn slots_and_places_are_bounded_for_each_peer_and_for_all() {
        let account = account();
        let (one, two) = (account.party(&peer(1)), account.party(&peer(2)));
        let _first = one.enter().await.unwrap();
        let second = one.enter().await.unwrap();
        let mut third = std::pin::pin!(one.enter());
        assert!(poll(third.as_mut()).await.is_none());
        assert_eq!(one.enter().await.err(), Some(Full));
        let _other = two.enter().await.unwrap();
        assert!(two.try_enter().is_err());
        drop(second);
        third.await.unwrap();
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_peer() {
        let at = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2:3"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_eq!(
            at("2001:db8:7:1::1").network(),
            at("2001:db8:7:2::1").network()
        );
        assert_ne!(at("2001:db8:7::1").network(), at("2001:db8:8::1").network());
    }

    /// Polls once.
    async fn poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
