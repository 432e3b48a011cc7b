//! Rows in memory, which all requests of one host share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::StoreError;
use crate::ports::Store;

type Buckets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Rows.
#[derive(Default)]
pub struct Rows {
    buckets: Mutex<Buckets>,
    changed: Condvar,
    most: Mutex<Option<usize>>,
    /// Who asks, for the host.
    client: Mutex<String>,
    /// Whether something was written that has not reached the disk.
    is_behind: AtomicBool,
    /// Whether others take at once what is deleted.
    is_greedy: AtomicBool,
    /// Where the next reads of clients' own buckets wait for each other, each at one of them.
    together: Mutex<Vec<Arc<Barrier>>>,
}

/// What a row takes, in bytes.
fn size((key, value): (&String, &Vec<u8>)) -> usize {
    key.len() + value.len() + 32
}

fn sizes(all: &Buckets) -> usize {
    all.values().flatten().map(size).sum()
}

impl Rows {
    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap()
    }

    /// Waits until somebody writes, a while at the most.
    pub fn wait(&self) {
        let held = self.lock();
        drop(
            self.changed
                .wait_timeout(held, Duration::from_millis(10))
                .unwrap(),
        );
    }

    /// Whether all that was written has reached the disk.
    pub fn is_on_disk(&self) -> bool {
        !self.is_behind.load(Ordering::SeqCst)
    }

    /// Requests come from this client from now on.
    pub fn come_from(&self, client: &str) {
        client.clone_into(&mut self.client.lock().unwrap());
    }

    /// Of these buckets each client has another.
    fn named(&self, bucket: &str) -> String {
        match bucket.starts_with("client:") {
            true => format!("{bucket} {}", self.client.lock().unwrap()),
            false => bucket.to_owned(),
        }
    }

    /// Holds no more bytes from now on than it holds now and so many.
    pub fn bound(&self, more: usize) {
        let held = sizes(&self.lock());
        *self.most.lock().unwrap() = Some(held + more);
    }

    /// So many who are about to look into their client's bucket look at one time.
    pub fn look_together(&self, many: usize) {
        let barrier = Arc::new(Barrier::new(many));
        *self.together.lock().unwrap() = std::iter::repeat_n(barrier, many).collect();
    }

    /// What is deleted from now on makes no room: others have it at once.
    pub fn give_freed_to_others(&self) {
        self.is_greedy.store(true, Ordering::SeqCst);
    }

    /// Buckets whose names begin so, with their keys.
    pub fn buckets(&self, prefix: &str) -> Vec<(String, Vec<String>)> {
        let all = self.lock();
        let named = all
            .iter()
            .filter(|(name, rows)| name.starts_with(prefix) && !rows.is_empty());
        named
            .map(|(name, rows)| (name.clone(), rows.keys().cloned().collect()))
            .collect()
    }

    /// All that a bucket holds.
    pub fn text(&self, bucket: &str) -> String {
        let all = self.lock();
        let values = all.get(bucket).into_iter().flat_map(|rows| rows.values());
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }
}

impl Store for Rows {
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let values = {
            let all = self.lock();
            let rows = all.get(&self.named(bucket));
            let value = |key| rows.and_then(|rows| rows.get(key)).cloned();
            keys.iter().map(value).collect()
        };
        if bucket.starts_with("client:") {
            let barrier = self.together.lock().unwrap().pop();
            if let Some(barrier) = barrier {
                barrier.wait();
            }
        }
        Ok(values)
    }

    fn set(&self, bucket: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        assert!((1..=256).contains(&bucket.len()));
        self.is_behind.store(!rows.is_empty(), Ordering::SeqCst);
        for (key, value) in &rows {
            assert!((1..=1024).contains(&key.len()) && value.len() <= 256 * 1024);
        }
        let mut all = self.lock();
        let held = sizes(&all);
        let here = all.entry(self.named(bucket)).or_default();
        let before = rows.iter().filter_map(|(key, _)| here.get_key_value(key));
        let before: usize = before.map(size).sum();
        let after: usize = rows.iter().map(|(key, value)| size((key, value))).sum();
        let most = *self.most.lock().unwrap();
        // What takes no more than it took always has its place.
        if after > before && most.is_some_and(|most| held + after > most + before) {
            return Err(StoreError::Full);
        }
        here.extend(rows);
        self.changed.notify_all();
        Ok(())
    }

    fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StoreError> {
        let mut all = self.lock();
        let before = sizes(&all);
        if let Some(rows) = all.get_mut(&self.named(bucket)) {
            for key in keys {
                rows.remove(key);
            }
        }
        if self.is_greedy.load(Ordering::SeqCst)
            && let Some(most) = self.most.lock().unwrap().as_mut()
        {
            *most -= before - sizes(&all);
        }
        self.changed.notify_all();
        Ok(())
    }

    fn keys(&self, bucket: &str, _: usize) -> Result<Vec<String>, StoreError> {
        let all = self.lock();
        // In no order that anything could rely on.
        let keys = all
            .get(&self.named(bucket))
            .map(|rows| rows.keys().rev().cloned().collect());
        Ok(keys.unwrap_or_default())
    }

    fn increment(&self, bucket: &str, key: &str) -> Result<u64, StoreError> {
        let mut all = self.lock();
        let row = all
            .entry(self.named(bucket))
            .or_default()
            .entry(key.to_owned())
            .or_default();
        // In decimal digits, as the host counts.
        let digits = str::from_utf8(row).ok();
        let count = digits.and_then(|it| it.parse().ok()).unwrap_or(0u64) + 1;
        *row = count.to_string().into_bytes();
        Ok(count)
    }
}
