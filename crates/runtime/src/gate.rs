//! Whose turn it is: a few compiler processes run at once, and clients who wait for one take turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns that one client may wait for, and all of them together.
const MOST_OF_ONE: usize = 64;
const MOST: usize = 256;

/// On whose behalf something is compiled. Who has waited for nothing else comes before who sends one program after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client([u8; 32]);

impl Client {
    /// The client of this name: a session's id, an owner's.
    pub fn of(name: &[u8]) -> Self {
        Self(*blake3::hash(name).as_bytes())
    }
}

/// More wait than may, or it took too long: ask again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Places, given in the order of arrival. A client stands in that line no more often than it may have places, and with the rest of
/// what it asks for behind its own: so clients take turns however much one of them asks for.
#[derive(Debug)]
pub(crate) struct Gate {
    all: Line,
    /// Those who are inside or wait.
    clients: Mutex<HashMap<Client, Arc<Line>>>,
    /// Places that one client may have: with two or more, one is always left for somebody else.
    of_one: usize,
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
    _taken: [OwnedSemaphorePermit; 4],
    _own: Arc<Line>,
}

impl Line {
    fn new(places: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            room: Arc::new(Semaphore::new(places.saturating_add(waiting))),
        }
    }

    fn stand(&self) -> Result<OwnedSemaphorePermit, Busy> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let place = Arc::clone(&self.places).acquire_owned();
        place.await.map_err(|_| Busy)
    }
}

impl Gate {
    /// `at_once` places. Nobody waits longer than `patience`.
    pub(crate) fn new(at_once: usize, patience: Duration) -> Self {
        Self {
            all: Line::new(at_once, MOST),
            clients: Mutex::default(),
            of_one: at_once.saturating_sub(1).max(1),
            patience,
        }
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self, client: Client) -> Result<Place, Busy> {
        let own = self.line_of(client);
        let (room, own_room) = (self.all.stand()?, own.stand()?);
        let turn = async { Ok::<_, Busy>((own.place().await?, self.all.place().await?)) };
        let (own_place, place) = tokio::time::timeout(self.patience, turn)
            .await
            .map_err(|_| Busy)??;
        Ok(Place {
            _taken: [place, own_place, own_room, room],
            _own: own,
        })
    }

    fn line_of(&self, client: Client) -> Arc<Line> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, line| Arc::strong_count(line) > 1);
        let line = || Arc::new(Line::new(self.of_one, MOST_OF_ONE));
        Arc::clone(clients.entry(client).or_insert_with(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn client(name: &str) -> Client {
        Client::of(name.as_bytes())
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
        let gate = Arc::new(Gate::new(2, LONG));
        let _first = gate.enter(client("a")).await.unwrap();
        let second = in_line(&gate, "a").await;
        drop(gate.enter(client("b")).await.unwrap());
        assert!(!second.is_finished());
    }

    #[tokio::test]
    async fn clients_take_turns_however_much_one_of_them_asks_for() {
        let gate = Arc::new(Gate::new(1, LONG));
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
    async fn more_than_may_wait_are_told_so() {
        let gate = Arc::new(Gate::new(1, LONG));
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
        let gate = Gate::new(1, Duration::from_millis(1));
        let inside = gate.enter(client("a")).await.unwrap();
        assert_eq!(gate.enter(client("b")).await.unwrap_err(), Busy);
        drop(inside);
        gate.enter(client("b")).await.unwrap();
    }

    #[tokio::test]
    async fn a_turn_of_somebody_who_has_gone_is_given_on() {
        let gate = Arc::new(Gate::new(1, LONG));
        let inside = gate.enter(client("a")).await.unwrap();
        let gone = in_line(&gate, "b").await;
        let next = in_line(&gate, "c").await;
        gone.abort();
        let _ = gone.await;
        drop(inside);
        drop(next.await.unwrap());
    }
}
