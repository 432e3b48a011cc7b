//! A row's value in the store, and what is counted of rows.

use std::collections::HashMap;

use hypervisor_runtime::RowsError;

/// What a row counts for beside its key and value, bytes: about what it takes in the store.
const ROW_BYTES: u64 = 160;

/// A keyed hash of a client.
pub(super) type Client = [u8; 8];
/// Calls that no client sent.
pub(super) const NOBODY: Client = [0; 8];

/// A row.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) component: &'a str,
    pub(super) by: Client,
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
}

impl<'a> Kept<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (component, rest) = text(bytes)?;
        let (by, rest) = rest.split_first_chunk::<8>()?;
        let (key, value) = text(rest)?;
        Some(Self {
            component,
            by: *by,
            key,
            value,
        })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.value.len().saturating_add(128));
        prefixed(&mut bytes, self.component.as_bytes());
        bytes.extend(self.by);
        prefixed(&mut bytes, self.key.as_bytes());
        bytes.extend(self.value);
        bytes
    }

    /// What it counts for.
    pub(super) fn bytes(&self) -> u64 {
        let length = self.key.len().saturating_add(self.value.len());
        u64::try_from(length)
            .unwrap_or(u64::MAX)
            .saturating_add(ROW_BYTES)
    }
}

/// Appends a length and that many bytes.
pub(super) fn prefixed(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(part);
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((str::from_utf8(text).ok()?, rest))
}

/// Bytes that are kept.
#[derive(Default)]
pub(super) struct Held {
    pub(super) all: u64,
    by: HashMap<Client, u64>,
}

impl Held {
    pub(super) fn add(&mut self, by: Client, bytes: u64) {
        self.all = self.all.saturating_add(bytes);
        let own = self.by.entry(by).or_default();
        *own = own.saturating_add(bytes);
    }

    pub(super) fn take(&mut self, by: Client, bytes: u64) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(own) = self.by.get_mut(&by) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.by.remove(&by);
            }
        }
    }

    /// Puts `after` in the place of `before`.
    pub(super) fn replace(&mut self, before: &Self, after: &Self) {
        let all = before.by.iter();
        all.for_each(|(by, bytes)| self.take(*by, *bytes));
        let all = after.by.iter();
        all.for_each(|(by, bytes)| self.add(*by, *bytes));
    }

    /// Whether what comes in the place of `before` fits into `most`, and a quarter of it for each client. What makes less of it always does.
    pub(super) fn fits(&self, before: &Self, after: &Self, most: u64) -> Result<(), RowsError> {
        let sum = |held: u64, before: u64, after: u64| {
            let sum = held.saturating_sub(before).saturating_add(after);
            (sum, after > before)
        };
        let (all, grows) = sum(self.all, before.all, after.all);
        if grows && all > most {
            return Err(RowsError::new("what this component may keep is used up"));
        }
        for (by, after) in after.by.iter().filter(|(by, _)| **by != NOBODY) {
            let of = |held: &Self| held.by.get(by).copied().unwrap_or_default();
            let (own, grows) = sum(of(self), of(before), *after);
            if grows && own > most / 4 {
                return Err(RowsError::new("what one client may have kept is used up"));
            }
        }
        Ok(())
    }
}
