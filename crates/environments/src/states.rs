//! States in memory, as far as there is room.

use std::sync::{Mutex, PoisonError};

use hypervisor_runtime::State;
use lru::LruCache;

use crate::head::{Head, Id};

/// States by environment; least recently used goes first, and is wiped when nothing runs on it any more.
pub(crate) struct States {
    kept: Mutex<Kept>,
    most: u64,
}

struct Kept {
    states: LruCache<Id, (u64, State)>,
    bytes: u64,
}

impl States {
    pub(crate) fn new(most: u64) -> Self {
        let states = LruCache::unbounded();
        Self {
            kept: Mutex::new(Kept { states, bytes: 0 }),
            most,
        }
    }

    /// The state that a head names.
    pub(crate) fn get(&self, head: &Head) -> Option<State> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (writing, state) = kept.states.get(&head.id)?;
        (*writing == head.writing).then(|| state.clone())
    }

    /// Keeps it, unless there is a later one.
    pub(crate) fn put(&self, head: &Head, state: &State) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let there = kept.states.peek(&head.id);
        if there.is_some_and(|(writing, _)| *writing > head.writing) {
            return;
        }
        let before = kept.states.put(head.id, (head.writing, state.clone()));
        kept.bytes = kept.bytes.saturating_add(state.size());
        kept.without(before);
        while kept.bytes > self.most {
            let Some((_, oldest)) = kept.states.pop_lru() else {
                return;
            };
            kept.without(Some(oldest));
        }
    }

    pub(crate) fn remove(&self, id: &Id) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = kept.states.pop(id);
        kept.without(gone);
    }
}

impl Kept {
    fn without(&mut self, gone: Option<(u64, State)>) {
        let bytes = gone.map_or(0, |(_, state)| state.size());
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
