//! The one who writes: takes what gathered, adds it to the tree, brings both to the disk, and signs the head.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::edge::{Edge, HEIGHT, TILE};
use crate::error::Error;
use crate::rows::{State, Written};
use crate::trail::Shared;

/// Entries that are written in one change.
const GROUP: usize = 2048;
/// Tiles whose entries go in one change.
const DROPPED: usize = 16;
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often the end of the trail is tried to be written when the host ends.
const LAST_TRIES: usize = 2;

/// The writer, with what the disk has.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    state: State,
    version: Option<u64>,
    edge: Edge,
}

impl Writer {
    /// Reads what the disk has; where it has no trail, one is begun with the next entry.
    pub(crate) fn open(shared: Arc<Shared>) -> Result<Self, Error> {
        let (state, version) = match shared.rows.state()? {
            Some((state, version)) => (state, Some(version)),
            None => (shared.fresh, None),
        };
        Ok(Self {
            edge: shared.rows.edge(&state.head)?,
            state,
            version,
            shared,
        })
    }

    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut tries = LAST_TRIES;
        while tries > 0 && self.shared.queue.gather(GROUP, self.shared.settings.pause) {
            match self.write() {
                Ok(()) => self.shared.is_well.store(true, Ordering::Release),
                Err(error) => {
                    self.shared.is_well.store(false, Ordering::Release);
                    tracing::error!(%error, "the audit trail cannot be written: nothing is lost, and what waits is tried again");
                    self.shared.queue.rest(RETRY);
                    if self.shared.queue.is_closed() {
                        tries -= 1;
                    }
                    self.reload();
                }
            }
        }
        self.shared.queue.abandon();
    }

    /// What was tried may have reached the disk although it failed.
    fn reload(&mut self) {
        match Self::open(Arc::clone(&self.shared)) {
            Ok(read) => *self = read,
            Err(error) => tracing::error!(%error, "the audit trail cannot be read"),
        }
    }

    /// Writes the first entries of the queue.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        let rows = &self.shared.rows;
        let group = self.shared.queue.first(GROUP);
        let mut edge = self.edge.clone();
        let (mut tiles, mut places, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for entry in &group {
            // An answer is in the trail once, however often it is given.
            if entry.kind.is_commitment()
                && (!seen.insert(entry.digest) || rows.place(&entry.digest)?.is_some())
            {
                continue;
            }
            places.push((*entry, edge.size()));
            edge.push(entry, &mut tiles);
        }
        // The levels above 0 change where a tile became full.
        let only = if tiles.is_empty() { 0 } else { u8::MAX };
        tiles.extend(edge.tiles().filter(|tile| tile.level <= only));
        let dropped = self.dropped();
        let first = match dropped.last() {
            Some(tile) => tile.saturating_add(1) << HEIGHT,
            None => self.state.first,
        };
        let state = State {
            head: edge.head(),
            first,
            ..self.state
        };
        // Nothing new may still be more than was signed: an attempt that failed had reached the disk.
        if edge.size() > self.shared.newest().head.size {
            rows.write(&Written {
                state,
                version: self.version,
                tiles,
                places,
                dropped,
            })?;
            let read = rows.state()?.filter(|(it, _)| *it == state);
            let (_, version) = read.ok_or(Error::Damaged("what was just written"))?;
            (self.state, self.version, self.edge) = (state, Some(version), edge);
            self.shared.publish(&state);
        }
        self.shared.queue.written(group.len());
        Ok(())
    }

    /// Tiles of level 0 on the disk that are over what is kept.
    fn dropped(&self) -> Vec<u64> {
        let tile = TILE as u64;
        let kept = self.shared.settings.kept.max(tile);
        let last = self.state.head.size.saturating_sub(kept) >> HEIGHT;
        ((self.state.first >> HEIGHT)..last).take(DROPPED).collect()
    }
}
