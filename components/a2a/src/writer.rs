//! Who writes a task: one at a time, the winner of its turn.

use serde_json::Value;

use crate::error::StoreError;
use crate::index;
use crate::ports::{Clock, Proofs, Store};
use crate::rows::{self, Record, bucket, event_key, pieces};

/// A runner says that it is alive so often, in milliseconds.
const BEAT_MS: u64 = 2_000;
/// Who said nothing for so long is taken for dead.
pub const DEAD_MS: u64 = 15_000;
/// Who was asleep for so long looks whether it was taken for dead.
const ASLEEP_MS: u64 = 8_000;
/// The record is written anew when so many bytes of events are not in it. As much waits to be written at the most.
const LAG: usize = 256 * 1024;
/// How often older tasks make room for one run: others may take the room before it is used.
const AIDS: u32 = 8;
/// A run that writes more bytes than this, all together, has room made for it once: a task that is too long for all of it does not drive out
/// the rest.
const SHORT: usize = 32 * 1024;
/// Bytes that a task holds beside its beat while it runs, so that its end has room whatever others take: an event, and as much more in the
/// record.
const KEPT_FREE: usize = 2048;

/// Writes a task. Events wait until they are [flushed](Writer::flush), so that those that come together are written together.
pub struct Writer<'a, W> {
    world: &'a W,
    /// As it stands.
    pub record: Record,
    began: u64,
    beat: u64,
    lag: usize,
    is_stored: bool,
    /// Events that are not written yet, their bytes, and whether the record and its entry in the lists change with them.
    rows: Vec<(String, Vec<u8>)>,
    waiting: usize,
    is_step: bool,
    /// For a task that is in no list yet: whether its context is new, too.
    uncounted: Option<bool>,
    /// How often older tasks have made room for this one.
    aids: u32,
    /// Bytes that it was to write so far.
    written: usize,
    /// Whether room is so short that what had none is kept to be written again.
    is_short: bool,
}

/// Whether a turn is the one's who asks.
pub fn wins(store: &impl Store, id: &str, turn: u64) -> Result<bool, StoreError> {
    Ok(store.increment(&bucket(id), &format!("run/{turn}"))? == 1)
}

impl<'a, W: Store + Clock + Proofs> Writer<'a, W> {
    /// The writer of a new task, of which nothing is stored yet.
    pub fn new(world: &'a W, record: Record, is_new_context: bool) -> Self {
        Self {
            uncounted: Some(is_new_context),
            ..Self::of(world, record)
        }
    }

    fn of(world: &'a W, record: Record) -> Self {
        let now = world.now();
        Self {
            world,
            record,
            began: now,
            beat: now,
            lag: 0,
            is_stored: false,
            rows: Vec::new(),
            waiting: 0,
            is_step: false,
            uncounted: None,
            aids: 0,
            written: 0,
            is_short: false,
        }
    }

    /// The writer of the next turn of a task; none where somebody else has it.
    pub fn next(world: &'a W, mut record: Record) -> Result<Option<Self>, StoreError> {
        record.turn = record.turn.saturating_add(1);
        if !wins(world, &record.task.id, record.turn)? {
            return Ok(None);
        }
        record.is_running = true;
        record.start = world.start();
        let mut writer = Self {
            is_stored: true,
            ..Self::of(world, record)
        };
        let turn = format!("run/{}", writer.record.turn);
        writer.save().inspect_err(|_| {
            // The turn is for whoever comes next.
            let _ = world.delete(&writer.bucket(), &[turn]);
        })?;
        Ok(Some(writer))
    }

    /// Writes the record and all events, and that the writer is alive.
    pub fn save(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let rows = self.snapshot(rows)?;
        self.write(rows)
    }

    /// Takes an event into the record, the next, and has it wait to be written.
    pub fn append(&mut self, event: &Value) -> Result<(), StoreError> {
        let is_whole = event.get("task").is_some() || event.get("message").is_some();
        let before = self.record.task.state;
        let text = serde_json::to_vec(event).map_err(|_| StoreError::Broken)?;
        self.record.fold(event);
        self.lag = self.lag.saturating_add(text.len());
        self.waiting = self.waiting.saturating_add(text.len());
        self.rows
            .extend(pieces(&event_key(self.record.seq), 0, &text));
        self.is_step |= is_whole || before != self.record.task.state;
        match self.waiting > LAG {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes the events that wait.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = match self.is_short {
            true => self.rows.clone(),
            false => std::mem::take(&mut self.rows),
        };
        // In between, who reads takes in the events that are not in the record yet.
        if !self.is_stored || self.is_step || self.lag > LAG {
            rows = self.snapshot(rows)?;
        }
        self.write(rows)
    }

    fn write(&mut self, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        self.written = self.written.saturating_add(bytes);
        let most = if self.written > SHORT { 1 } else { AIDS };
        while self.aids < most {
            match self.put(rows.clone()) {
                Err(StoreError::Full) => {}
                done => return done,
            }
            self.aids = self.aids.saturating_add(1);
            if !index::give_way(self.world, &self.record, self.began)? {
                return Err(StoreError::Full);
            }
        }
        self.put(rows)
    }

    fn put(&mut self, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.world.set(&self.bucket(), rows)?;
        if self.record.is_announced && self.is_step && self.record.answer.is_none() {
            index::write(self.world, &self.record)?;
            if let Some(is_new_context) = self.uncounted.take() {
                index::count(self.world, &self.record, is_new_context)?;
            }
        }
        self.rows.clear();
        self.waiting = 0;
        self.is_step = false;
        Ok(())
    }

    /// Makes room for the end of a task where there is none, and gives what had come of it, which is not kept. What was kept free for the
    /// end is there; where that is too little and another task takes the rest, the end waits to be [flushed](Self::flush) again.
    pub fn give_room(&mut self) -> Vec<Value> {
        self.is_short = true;
        self.rows.clear();
        self.waiting = 0;
        let artifacts = std::mem::take(&mut self.record.task.artifacts);
        let bucket = self.bucket();
        if let Ok(mut keys) = self.world.keys(&bucket, usize::MAX) {
            keys.retain(|key| key.starts_with("e/"));
            let _ = self.world.delete(&bucket, &keys);
        }
        artifacts
    }

    fn snapshot(
        &mut self,
        mut rows: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.record.version = self.record.version.saturating_add(1);
        let record = serde_json::to_vec(&self.record).map_err(|_| StoreError::Broken)?;
        rows.extend(pieces("r", self.record.version, &record));
        rows.push(self.beaten());
        self.lag = 0;
        self.is_stored = true;
        Ok(rows)
    }

    /// Says that the writer is alive, where that is due. False where it was taken for dead meanwhile: then it writes no more.
    pub fn beat(&mut self) -> Result<bool, StoreError> {
        if !self.is_stored {
            return Ok(true);
        }
        let now = self.world.now();
        let asleep = now.saturating_sub(self.beat);
        if asleep < BEAT_MS {
            return Ok(true);
        }
        if asleep > ASLEEP_MS {
            let next = format!("run/{}", self.record.turn.saturating_add(1));
            let taken = self.world.get(&self.bucket(), &[next])?;
            if taken.iter().any(Option::is_some) {
                return Ok(false);
            }
        }
        let row = self.beaten();
        self.world.set(&self.bucket(), vec![row])?;
        Ok(true)
    }

    /// The row that says that the writer is alive now, and keeps room free until the task is at rest.
    fn beaten(&mut self) -> (String, Vec<u8>) {
        self.beat = self.world.now();
        let mut value = self.beat.to_be_bytes().to_vec();
        if !self.record.is_at_rest() && !self.is_short {
            value.resize(value.len().saturating_add(KEPT_FREE), 0);
        }
        ("beat".to_owned(), value)
    }

    /// Whether somebody wants the task canceled.
    pub fn is_canceled(&self) -> Result<bool, StoreError> {
        if !self.is_stored {
            return Ok(false);
        }
        let key = format!("cancel/{}", self.record.turn);
        let found = self.world.get(&self.bucket(), &[key])?;
        Ok(found.iter().any(Option::is_some))
    }

    /// Whether anything of it is stored.
    pub fn is_stored(&self) -> bool {
        self.is_stored
    }

    fn bucket(&self) -> String {
        bucket(&self.record.task.id)
    }
}

/// Whether nobody is at a task any more that somebody was at.
pub fn is_dead(world: &(impl Store + Clock + Proofs), record: &Record) -> Result<bool, StoreError> {
    if !record.is_running {
        return Ok(false);
    }
    if record.start != world.start() {
        return Ok(true);
    }
    let bucket = rows::bucket(&record.task.id);
    let beat = world.get(&bucket, &["beat".to_owned()])?;
    let beat = beat.into_iter().flatten().next();
    let beat = beat
        .and_then(|row| row.first_chunk().copied())
        .map(u64::from_be_bytes);
    let silent = world.now().saturating_sub(beat.unwrap_or_default());
    Ok(silent > DEAD_MS)
}
