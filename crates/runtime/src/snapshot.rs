//! What an instance holds, as the pages that differ from those of one that was just made ready: read from one instance, written into
//! another.
//!
//! An instance that is made ready is the same as every other, byte for byte, since its clocks stand still and its chance is fixed
//! until then ([`Base`]). So pages that are as they were there need not be kept, and a fresh instance needs no others.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use zeroize::Zeroizing;

use super::access::{Access, HEAD, STEP, bytes_of, le, number, pages_of};
use super::guest::Guest;
use super::instrument::INSTRUMENTER_VERSION;
use super::written::PAGE;
use crate::imports::crypto::SigningKey;

/// All that an instance holds.
#[derive(PartialEq, Eq)]
pub(super) struct Image {
    memories: Vec<Vec<u8>>,
    globals: Vec<u8>,
    handles: Handles,
}

/// What every instance that was just made ready holds.
pub(super) struct Base {
    image: Image,
    /// What a state must have been taken from to fit.
    pub(super) digest: [u8; 32],
}

/// Handles of the host, by what they are of.
type Handles = BTreeMap<&'static str, usize>;

impl Image {
    /// That of an instance.
    pub(super) async fn of(access: &Access, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
        let mut memories = Vec::with_capacity(access.memories.len());
        for memory in &access.memories {
            let mut bytes = Vec::with_capacity(bytes_of(memory.pages(store).await?));
            let copy = |_, part: &[u8]| {
                bytes.extend_from_slice(part);
                true
            };
            memory.each(store, copy).await?;
            memories.push(bytes);
        }
        Ok(Self {
            memories,
            globals: access.globals(store).await?,
            handles: handles(&mut store.data_mut().table),
        })
    }
}

impl Image {
    /// Whether an instance holds the same.
    pub(super) async fn is_of(
        &self,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<bool> {
        for (memory, before) in access.memories.iter().zip(&self.memories) {
            let mut alike = true;
            let compare = |place: usize, part: &[u8]| {
                let end = place.saturating_add(part.len());
                alike = before.get(place..end) == Some(part);
                alike
            };
            let pages = memory.each(store, compare).await?;
            if !alike || pages_of(before.len()) != pages {
                return Ok(false);
            }
        }
        Ok(self.globals == access.globals(store).await?
            && self.handles == handles(&mut store.data_mut().table))
    }
}

impl Base {
    pub(super) fn new(image: Image) -> Self {
        let mut hash = Sha256::new();
        hash.update(INSTRUMENTER_VERSION);
        for part in image.memories.iter().chain([&image.globals]) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self {
            image,
            digest: hash.finalize().into(),
        }
    }
}

/// What an instance holds beyond its base.
pub(super) struct Delta {
    /// The size of each memory, in its own pages.
    pub(super) pages: Vec<u32>,
    /// All of them, eight bytes each.
    pub(super) globals: Zeroizing<Vec<u8>>,
    pub(super) parts: Vec<Part>,
}

/// Runs of pages of a memory, each behind its place and its length, little-endian, as the instrumented component takes them.
pub(super) struct Part {
    pub(super) memory: u8,
    pub(super) runs: Zeroizing<Vec<u8>>,
}

/// Why there is no delta.
#[derive(Debug)]
pub(super) enum Unkept {
    /// It is larger than it may be: at least so many bytes.
    TooLarge(u64),
    /// A handle of the host is in it that a copy would not have.
    Handle(&'static str),
}

impl Delta {
    /// That of an instance, of at most `most` bytes.
    pub(super) async fn of(
        access: &Access,
        store: &mut Store<Guest>,
        base: &Base,
        most: usize,
    ) -> wasmtime::Result<Result<Self, Unkept>> {
        let held = handles(&mut store.data_mut().table);
        let more = |(name, count): &(&&'static str, &usize)| {
            **count > base.image.handles.get(**name).copied().unwrap_or_default()
        };
        if let Some((name, _)) = held.iter().find(more) {
            return Ok(Err(Unkept::Handle(name)));
        }
        let mut runs = Runs::default();
        let mut pages = Vec::with_capacity(access.memories.len());
        for (at, (memory, before)) in (0_u8..).zip(access.memories.iter().zip(&base.image.memories))
        {
            let add = |place: usize, part: &[u8]| {
                let before = before.get(place..).unwrap_or_default();
                runs.add_differing(at, before, place, part);
                runs.size <= most
            };
            pages.push(memory.each(store, add).await?);
        }
        if runs.size > most {
            let size = u64::try_from(runs.size).unwrap_or(u64::MAX);
            return Ok(Err(Unkept::TooLarge(size)));
        }
        Ok(Ok(Self {
            pages,
            globals: Zeroizing::new(access.globals(store).await?),
            parts: runs.done(),
        }))
    }

    /// What makes an instance one that holds `ready`.
    pub(super) async fn towards(
        ready: &Image,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<Self> {
        let mut runs = Runs::default();
        for (at, (memory, after)) in (0_u8..).zip(access.memories.iter().zip(&ready.memories)) {
            let mut seen = 0;
            let add = |place: usize, before: &[u8]| {
                seen = place.saturating_add(before.len()).min(after.len());
                runs.add_differing(
                    at,
                    before,
                    place,
                    after.get(place..seen).unwrap_or_default(),
                );
                true
            };
            memory.each(store, add).await?;
            // It has grown since.
            runs.add_differing(at, &[], seen, after.get(seen..).unwrap_or_default());
        }
        Ok(Self {
            pages: ready.memories.iter().map(|it| pages_of(it.len())).collect(),
            globals: Zeroizing::new(ready.globals.clone()),
            parts: runs.done(),
        })
    }

    /// Writes it into an instance that was just made ready.
    pub(super) async fn restore(
        &self,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<()> {
        for (memory, &wanted) in access.memories.iter().zip(&self.pages) {
            let missing = wanted.saturating_sub(memory.pages(store).await?);
            if missing > 0 && !memory.grow(store, missing).await? {
                return Err(wasmtime::Error::msg("the state does not fit into memory"));
            }
        }
        for part in &self.parts {
            part.write(access, store).await?;
        }
        access.set_globals(store, &self.globals).await
    }
}

impl Part {
    pub(super) async fn write(
        &self,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<()> {
        let Some(memory) = access.memories.get(usize::from(self.memory)) else {
            return Err(wasmtime::Error::msg("the state has a memory too many"));
        };
        memory.write(store, &self.runs).await
    }

    /// Where its pages begin.
    pub(super) fn pages(&self) -> impl Iterator<Item = usize> {
        let mut rest = self.runs.as_slice();
        let runs = std::iter::from_fn(move || {
            let (&[place, length], _) = rest.as_chunks().0.split_first_chunk()?;
            rest = rest.get(HEAD..)?.get(number(length)..).unwrap_or_default();
            Some(number(place)..number(place).saturating_add(number(length)))
        });
        runs.flat_map(|run| run.step_by(PAGE))
    }
}

/// Whether a page is what the base has there, which is nothing beyond its end.
fn is_as_before(before: &[u8], place: usize, page: &[u8]) -> bool {
    match before.get(place..place.saturating_add(page.len())) {
        Some(before) => before == page,
        None => page.iter().all(|&byte| byte == 0),
    }
}

/// Pages as they are found, in parts.
#[derive(Default)]
struct Runs {
    parts: Vec<Part>,
    /// Where the head of the last run stands in the last part, and where its memory goes on.
    last: Option<(usize, usize)>,
    size: usize,
}

impl Runs {
    /// The pages of `part`, which stands at `place`, that are not what `before` has there; its first byte stands at the same place.
    fn add_differing(&mut self, memory: u8, before: &[u8], place: usize, part: &[u8]) {
        for (at, page) in (0..).step_by(PAGE).zip(part.chunks(PAGE)) {
            if !is_as_before(before, at, page) {
                self.add(memory, place.saturating_add(at), page);
            }
        }
    }

    fn add(&mut self, memory: u8, place: usize, page: &[u8]) {
        let needed = page.len().saturating_add(HEAD);
        let is_open = self.parts.last().is_some_and(|part| {
            part.memory == memory && part.runs.len().saturating_add(needed) <= STEP
        });
        if !is_open {
            self.close();
            // All that it will ever hold: what is moved to grow leaves a copy behind.
            let runs = Zeroizing::new(Vec::with_capacity(STEP));
            self.parts.push(Part { memory, runs });
            self.last = None;
        }
        let Some(Part { runs, .. }) = self.parts.last_mut() else {
            return;
        };
        self.size = self.size.saturating_add(page.len());
        let goes_on = self.last.filter(|(_, next)| *next == place);
        let head = match goes_on {
            Some((head, _)) => head,
            None => {
                let head = runs.len();
                runs.extend_from_slice(&le(place));
                runs.extend_from_slice(&le(0));
                head
            }
        };
        runs.extend_from_slice(page);
        let length = le(runs.len().saturating_sub(head).saturating_sub(HEAD));
        let place_of_length = head.saturating_add(HEAD / 2)..head.saturating_add(HEAD);
        if let Some(place) = runs.get_mut(place_of_length) {
            place.copy_from_slice(&length);
        }
        self.last = Some((head, place.saturating_add(page.len())));
    }

    /// The last part keeps no more room than it takes.
    fn close(&mut self) {
        if let Some(part) = self.parts.last_mut() {
            part.runs = Zeroizing::new(part.runs.as_slice().to_vec());
        }
    }

    fn done(mut self) -> Vec<Part> {
        self.close();
        self.parts
    }
}

/// What there is of handles. Those of no name are the host's own.
fn handles(table: &mut ResourceTable) -> Handles {
    let mut handles = Handles::new();
    for entry in table.iter_mut() {
        let name = match () {
            () if entry.is::<SigningKey>() => "signing-key",
            () if entry.is::<DynPollable>() => "pollable",
            () if entry.is::<DynInputStream>() => "input-stream",
            () if entry.is::<DynOutputStream>() => "output-stream",
            () => "handle",
        };
        let count = handles.entry(name).or_default();
        *count = count.saturating_add(1);
    }
    handles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pages: &[(u8, usize)]) -> Vec<Part> {
        let mut runs = Runs::default();
        for &(memory, at) in pages {
            runs.add(memory, at * PAGE, &[7; PAGE]);
        }
        runs.done()
    }

    #[test]
    fn pages_side_by_side_are_one_run() {
        let parts = runs(&[(0, 3), (0, 4), (0, 9)]);
        assert_eq!(parts.len(), 1);
        let runs = &parts[0].runs;
        assert_eq!(runs.len(), 3 * PAGE + 2 * HEAD);
        assert_eq!(&runs[..HEAD], [le(3 * PAGE), le(2 * PAGE)].as_flattened());
        let second = HEAD + 2 * PAGE;
        assert_eq!(
            &runs[second..second + HEAD],
            [le(9 * PAGE), le(PAGE)].as_flattened()
        );
    }

    #[test]
    fn no_part_is_larger_than_what_goes_through_at_once_or_of_two_memories() {
        let many: Vec<_> = (0..200).map(|at| (0, at)).chain([(1, 200)]).collect();
        let parts = runs(&many);
        assert!(parts.iter().all(|part| part.runs.len() <= STEP));
        let of_second = parts.iter().filter(|part| part.memory == 1);
        assert_eq!(of_second.count(), 1);
        let kept: usize = parts.iter().map(|part| part.runs.len()).sum();
        assert_eq!(kept, 201 * PAGE + parts.len() * HEAD);
    }

    #[test]
    fn memory_beyond_the_base_counts_where_it_is_not_zero() {
        let before = vec![1; PAGE];
        assert!(is_as_before(&before, 0, &[1; PAGE]));
        assert!(!is_as_before(&before, 0, &[2; PAGE]));
        assert!(is_as_before(&before, PAGE, &[0; PAGE]));
        assert!(!is_as_before(&before, PAGE, &[1; PAGE]));
    }
}
