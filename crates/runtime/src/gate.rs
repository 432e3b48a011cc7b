//! Whose turn it is: a few compiler processes run at once, and clients who wait for one take turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns that one session or owner may wait for, one peer, and all of them together.
const MOST_OF_ONE: usize = 64;
const MOST_OF_PEER: usize = 128;
const MOST: usize = 256;

/// On whose behalf something is compiled. Who has waited for nothing else comes before who sends one program after the other:
/// among peers, and of one peer among sessions or owners, of which anybody has as many as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    peer: Id,
    own: Id,
}

type Id = [u8; 32];

impl Client {
    /// The client of this name, a session's id or an owner's, of the peer of this name.
    pub fn of(peer: &[u8], own: &[u8]) -> Self {
        let peer = *blake3::hash(peer).as_bytes();
        Self {
            peer,
            own: *blake3::keyed_hash(&peer, own).as_bytes(),
        }
    }
}

/// More wait than may, or it took too long: ask again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Places, given in the order of arrival. A peer stands in that line no more often than it may have places, and with the rest of
/// what it asks for behind its own; so does a session in the line of its peer.
#[derive(Debug)]
pub(crate) struct Gate {
    all: Arc<Line>,
    /// Those of peers and of sessions that are inside or wait.
    lines: Mutex<HashMap<Id, Arc<Line>>>,
    /// Places that one peer may have.
    of_peer: usize,
    patience: Duration,
}

/// Places, and room for those who have one or wait for it.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _lines: [Arc<Line>; 3],
    _taken: Vec<OwnedSemaphorePermit>,
}

impl Line {
    fn new(places: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            room: Arc::new(Semaphore::new(places.saturating_add(waiting))),
        })
    }
}

impl Gate {
    /// `at_once` places, of which one peer may have `of_peer`. Nobody waits longer than `patience`.
    pub(crate) fn new(at_once: usize, of_peer: usize, patience: Duration) -> Self {
        Self {
            all: Line::new(at_once, MOST),
            lines: Mutex::default(),
            of_peer,
            patience,
        }
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self, client: Client) -> Result<Place, Busy> {
        let lines = self.lines_of(client);
        let mut taken = Vec::new();
        for line in &lines {
            let room = Arc::clone(&line.room).try_acquire_owned();
            taken.push(room.map_err(|_| Busy)?);
        }
        let turn = async {
            for line in &lines {
                taken.push(Arc::clone(&line.places).acquire_owned().await.ok()?);
            }
            Some(taken)
        };
        let taken = tokio::time::timeout(self.patience, turn).await;
        Ok(Place {
            _taken: taken.ok().flatten().ok_or(Busy)?,
            _lines: lines,
        })
    }

    /// The lines to stand in, one after the other: the client's own, its peer's and that of all.
    fn lines_of(&self, client: Client) -> [Arc<Line>; 3] {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        let mut line = |id, waiting| {
            let line = lines.entry(id);
            Arc::clone(line.or_insert_with(|| Line::new(self.of_peer, waiting)))
        };
        [
            line(client.own, MOST_OF_ONE),
            line(client.peer, MOST_OF_PEER),
            Arc::clone(&self.all),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// `PEER`, or a session of it: `PEER/SESSION`.
    fn client(name: &str) -> Client {
        let (peer, own) = name.split_once('/').unwrap_or((name, ""));
        Client::of(peer.as_bytes(), own.as_bytes())
    }

    /// Waits in a task of its own, and is in line when this returns.
    async fn in_line(gate: &Arc<Gate>, name: &str) -> tokio::task::JoinHandle<Place> {
        let (gate, name) = (Arc::clone(gate), client(name));
        let task = tokio::spawn(async move { gate.enter(name).await.unwrap() });
        tokio::task::yield_now().await;
        task
    }

    #[tokio::test]
    async fn one_client_leaves_a_place_for_another() {
        let gate = Arc::new(Gate::new(2, 1, LONG));
        let _first = gate.enter(client("a")).await.unwrap();
        let second = in_line(&gate, "a").await;
        drop(gate.enter(client("b")).await.unwrap());
        assert!(!second.is_finished());
    }

    #[tokio::test]
    async fn clients_take_turns_however_much_one_of_them_asks_for() {
        let gate = Arc::new(Gate::new(1, 1, LONG));
        let first = gate.enter(client("a")).await.unwrap();
        let mut of_a = Vec::new();
        for _ in 0..5 {
            of_a.push(in_line(&gate, "a").await);
        }
        let of_b = in_line(&gate, "b").await;
        drop(first);
        drop(of_b.await.unwrap());
        drop(of_a.remove(0).await.unwrap());
    }

    #[tokio::test]
    async fn many_sessions_of_one_peer_have_the_turns_of_one() {
        let gate = Arc::new(Gate::new(2, 1, LONG));
        let first = gate.enter(client("a/0")).await.unwrap();
        let mut of_a = Vec::new();
        for n in 1..5 {
            of_a.push(in_line(&gate, &format!("a/{n}")).await);
        }
        assert!(!of_a.iter().any(tokio::task::JoinHandle::is_finished));
        let of_b = in_line(&gate, "b/0").await;
        drop(of_b.await.unwrap());
        drop(first);
        drop(of_a.remove(0).await.unwrap());
    }

    #[tokio::test]
    async fn sessions_of_one_peer_take_turns_with_each_other() {
        let gate = Arc::new(Gate::new(1, 1, LONG));
        let first = gate.enter(client("a/0")).await.unwrap();
        let mut of_the_first = Vec::new();
        for _ in 0..5 {
            of_the_first.push(in_line(&gate, "a/0").await);
        }
        let of_the_second = in_line(&gate, "a/1").await;
        drop(first);
        drop(of_the_second.await.unwrap());
        drop(of_the_first.remove(0).await.unwrap());
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_so() {
        let gate = Arc::new(Gate::new(1, 1, LONG));
        let _inside = gate.enter(client("a")).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..MOST_OF_ONE {
            waiting.push(in_line(&gate, "a").await);
        }
        assert_eq!(gate.enter(client("a")).await.unwrap_err(), Busy);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        let other = in_line(&gate, "b").await;
        assert!(!other.is_finished());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_no_place_is_lost() {
        let gate = Gate::new(1, 1, Duration::from_millis(1));
        let inside = gate.enter(client("a")).await.unwrap();
        assert_eq!(gate.enter(client("b")).await.unwrap_err(), Busy);
        drop(inside);
        gate.enter(client("b")).await.unwrap();
    }

    #[tokio::test]
    async fn a_turn_of_somebody_who_has_gone_is_given_on() {
        let gate = Arc::new(Gate::new(1, 1, LONG));
        let inside = gate.enter(client("a")).await.unwrap();
        let gone = in_line(&gate, "b").await;
        let next = in_line(&gate, "c").await;
        gone.abort();
        let _ = gone.await;
        drop(inside);
        drop(next.await.unwrap());
    }
}
