//! Whose turn it is: a few compiler processes run at once, and clients who wait for one take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

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

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Places that one client may have: with two or more, one is always left for somebody else.
    of_one: usize,
    patience: Duration,
}

#[derive(Debug)]
struct State {
    free: usize,
    inside: HashMap<Client, usize>,
    waiting: HashMap<Client, VecDeque<oneshot::Sender<()>>>,
    /// Clients that wait, in the order of their turns.
    turns: VecDeque<Client>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    client: Client,
}

/// A wait for a place, which may end by itself.
struct Waiting {
    gate: Arc<Gate>,
    client: Client,
    turn: oneshot::Receiver<()>,
}

impl Gate {
    /// `at_once` places. Nobody waits longer than `patience`.
    pub(crate) fn new(at_once: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: at_once,
                inside: HashMap::new(),
                waiting: HashMap::new(),
                turns: VecDeque::new(),
            }),
            of_one: at_once.saturating_sub(1).max(1),
            patience,
        })
    }

    /// Waits for a place.
    pub(crate) async fn enter(self: &Arc<Self>, client: Client) -> Result<Place, Busy> {
        let turn = {
            let mut state = self.lock();
            if state.take(client, self.of_one) {
                None
            } else {
                Some(state.wait(client)?)
            }
        };
        if let Some(turn) = turn {
            let mut waiting = Waiting {
                gate: Arc::clone(self),
                client,
                turn,
            };
            // A turn that comes at the very end of its patience is given on by `waiting`.
            match tokio::time::timeout(self.patience, &mut waiting.turn).await {
                Ok(Ok(())) => {}
                _ => return Err(Busy),
            }
        }
        Ok(Place {
            gate: Arc::clone(self),
            client,
        })
    }

    fn release(&self, client: Client) {
        let mut state = self.lock();
        state.leave(client);
        state.admit(self.of_one);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, client: Client, of_one: usize) -> bool {
        let inside = self.inside.entry(client).or_default();
        if self.free == 0 || *inside >= of_one {
            if *inside == 0 {
                self.inside.remove(&client);
            }
            return false;
        }
        *inside = inside.saturating_add(1);
        self.free = self.free.saturating_sub(1);
        true
    }

    fn leave(&mut self, client: Client) {
        self.free = self.free.saturating_add(1);
        if let Some(inside) = self.inside.get_mut(&client) {
            *inside = inside.saturating_sub(1);
            if *inside == 0 {
                self.inside.remove(&client);
            }
        }
    }

    fn wait(&mut self, client: Client) -> Result<oneshot::Receiver<()>, Busy> {
        self.forget_who_left();
        let all: usize = self.waiting.values().map(VecDeque::len).sum();
        let own = self.waiting.get(&client).map_or(0, VecDeque::len);
        if all >= MOST || own >= MOST_OF_ONE {
            return Err(Busy);
        }
        let (sender, receiver) = oneshot::channel();
        if own == 0 {
            self.turns.push_back(client);
        }
        self.waiting.entry(client).or_default().push_back(sender);
        Ok(receiver)
    }

    fn forget_who_left(&mut self) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|turn| !turn.is_closed());
            !waiting.is_empty()
        });
        self.turns
            .retain(|client| self.waiting.contains_key(client));
    }

    /// Gives free places to those whose turn it is.
    fn admit(&mut self, of_one: usize) {
        let mut passed_over = 0_usize;
        while self.free > 0 && passed_over < self.turns.len() {
            let Some(client) = self.turns.pop_front() else {
                return;
            };
            if !self.take(client, of_one) {
                self.turns.push_back(client);
                passed_over = passed_over.saturating_add(1);
                continue;
            }
            let admitted = self.waiting.get_mut(&client).is_some_and(|waiting| {
                std::iter::from_fn(|| waiting.pop_front()).any(|turn| turn.send(()).is_ok())
            });
            if !admitted {
                self.leave(client);
            }
            match self.waiting.get(&client) {
                Some(waiting) if !waiting.is_empty() => self.turns.push_back(client),
                _ => {
                    self.waiting.remove(&client);
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.release(self.client);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turn.close();
        // Its turn came, and it had gone away.
        if self.turn.try_recv().is_ok() {
            self.gate.release(self.client);
        }
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
        let gate = Gate::new(2, LONG);
        let _first = gate.enter(client("a")).await.unwrap();
        let second = in_line(&gate, "a").await;
        drop(gate.enter(client("b")).await.unwrap());
        assert!(!second.is_finished());
    }

    #[tokio::test]
    async fn clients_take_turns_however_much_one_of_them_asks_for() {
        let gate = Gate::new(1, LONG);
        let first = gate.enter(client("a")).await.unwrap();
        let mut of_a = Vec::new();
        for _ in 0..5 {
            of_a.push(in_line(&gate, "a").await);
        }
        let of_b = in_line(&gate, "b").await;
        drop(first);
        drop(of_a.remove(0).await.unwrap());
        drop(of_b.await.unwrap());
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_so() {
        let gate = Gate::new(1, LONG);
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
        let gate = Gate::new(1, LONG);
        let inside = gate.enter(client("a")).await.unwrap();
        let gone = in_line(&gate, "b").await;
        let next = in_line(&gate, "c").await;
        gone.abort();
        let _ = gone.await;
        drop(inside);
        drop(next.await.unwrap());
    }
}
