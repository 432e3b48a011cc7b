//! What scripts send over HTTP: a table of exchanges, and waiting for what comes of them.
//!
//! Nothing here blocks but [`Exchanges::wait`], and what nobody asks for stays with the host. An exchange holds handles of the host,
//! which do not live on in a copy of the memory: [`Exchanges::clear`] gives all of them back.

mod exchange;
mod failure;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{self, Pollable};

use exchange::{Exchange, Part};
pub use failure::Failure;

/// What came of an exchange.
pub enum Event {
    /// The head of the response.
    Response {
        /// Its status.
        status: u16,
        /// Names and values, each character of a value a byte.
        headers: Vec<Vec<String>>,
    },
    /// The next piece of the body.
    Piece(Vec<u8>),
    /// The end of the body; the exchange is over.
    End,
    /// There is no more, and this is why; the exchange is over.
    Failed(Failure),
}

/// Something to send.
pub struct Outgoing {
    pub method: String,
    pub url: String,
    /// Names and values in turn, each character of a value a byte.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

/// The exchanges under way in an instance, by their numbers.
#[derive(Clone, Default)]
pub struct Exchanges(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    /// A number is used once, so that what an earlier call left finds nothing of a later one.
    last: u32,
    all: BTreeMap<u32, Exchange>,
}

impl Exchanges {
    /// Begins an exchange; whatever is wrong with it is told as an event.
    pub fn start(&self, outgoing: Outgoing) -> u32 {
        let mut table = self.0.borrow_mut();
        table.last = table.last.wrapping_add(1);
        let id = table.last;
        table.all.insert(id, Exchange::new(outgoing));
        id
    }

    /// Asks for the next piece of a response's body. False where there is no such exchange any more.
    pub fn ask(&self, id: u32) -> bool {
        let mut table = self.0.borrow_mut();
        table.all.get_mut(&id).is_some_and(Exchange::ask)
    }

    /// Drops an exchange, whatever is under way.
    pub fn end(&self, id: u32) {
        self.0.borrow_mut().all.remove(&id);
    }

    /// Drops all of them. False where there was none.
    pub fn clear(&self) -> bool {
        !std::mem::take(&mut self.0.borrow_mut().all).is_empty()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().all.is_empty()
    }

    /// Whether something is under way that will end in an event, or that is still being sent.
    pub fn is_awaited(&self) -> bool {
        self.0.borrow().all.values().any(Exchange::is_awaited)
    }

    /// Waits until something has come, or for so long; for ever without a time. Not at all where something is there already.
    pub fn wait(&self, longest: Option<Duration>) -> Vec<(u32, Event)> {
        let mut table = self.0.borrow_mut();
        let mut events = table.step();
        // What is always ready must not keep the others from being looked at.
        let longest = match events.is_empty() {
            true => longest,
            false => Some(Duration::ZERO),
        };
        table.poll(longest);
        events.extend(table.step());
        events
    }
}

impl Table {
    /// Does what can be done without waiting.
    fn step(&mut self) -> Vec<(u32, Event)> {
        let mut events = Vec::new();
        self.all.retain(|&id, exchange| {
            let event = exchange.step();
            let is_over = matches!(event, Some(Event::End | Event::Failed(_)));
            events.extend(event.map(|it| (id, it)));
            !is_over
        });
        events
    }

    /// Waits until something can go on.
    fn poll(&mut self, longest: Option<Duration>) {
        let mut parts: Vec<(u32, Part)> = Vec::new();
        let mut pollables: Vec<&Pollable> = Vec::new();
        for (&id, exchange) in &self.all {
            for (part, pollable) in exchange.blocked() {
                parts.push((id, part));
                pollables.push(pollable);
            }
        }
        if pollables.is_empty() {
            // Bodies that nobody reads.
            std::thread::sleep(longest.unwrap_or_default());
            return;
        }
        let timer = longest.map(|it| {
            monotonic_clock::subscribe_duration(u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
        });
        pollables.extend(&timer);
        let ready = poll::poll(&pollables);
        for at in ready {
            let part = usize::try_from(at).ok().and_then(|at| parts.get(at));
            if let Some((id, part)) = part
                && let Some(exchange) = self.all.get_mut(id)
            {
                exchange.unblock(*part);
            }
        }
    }
}
