//! Writing into a fresh instance's pages before anything is read in them.

use std::collections::BTreeSet;

use wasmtime::Store;
use zeroize::Zeroizing;

use super::access::{Access, HEAD, STEP, bytes_of, le};
use super::guest::Guest;
use super::snapshot::{Delta, Part};
use super::written::pages_like;

/// Writes that change nothing, one into each page that is going to be written to.
///
/// A page that was read before it is first written to is mapped twice, and where threads of this process run on other cores, those are
/// interrupted to forget the first mapping: some microseconds on each side, for each page. Reading a page maps those around it too.
pub(super) struct Touch(Vec<Part>);

/// Places of pages, of each memory.
pub(super) type Places = Vec<Vec<usize>>;

impl Touch {
    /// The pages that were written to in an instance which has been given `delta`, or what it gives.
    pub(super) async fn places(
        delta: &Delta,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<Places> {
        let mut places = Places::new();
        for (at, memory) in (0_u8..).zip(&access.memories) {
            let parts = delta.parts.iter().filter(|part| part.memory == at);
            let known: Vec<_> = parts.flat_map(Part::pages).collect();
            let length = bytes_of(memory.pages(store).await?);
            let found = pages_like(&known, length);
            tracing::debug!(
                known = known.len(),
                found = found.as_ref().map(BTreeSet::len),
                "pages of an engine that are touched before they are read"
            );
            places.push(match found {
                Some(pages) => pages.into_iter().collect(),
                None => known,
            });
        }
        Ok(places)
    }

    /// What touches pages; the bytes are those that a fresh instance has there.
    pub(super) async fn of(
        places: &Places,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<Self> {
        let mut parts = Vec::new();
        for ((at, memory), places) in (0_u8..).zip(&access.memories).zip(places) {
            let end = bytes_of(memory.pages(store).await?);
            for places in places.chunks(STEP.div_euclid(HEAD + 1)) {
                let mut runs = Zeroizing::new(Vec::new());
                for &place in places.iter().filter(|place| **place < end) {
                    runs.extend_from_slice(&le(place));
                    runs.extend_from_slice(&le(1));
                    runs.push(memory.byte(store, place).await?);
                }
                parts.push(Part { memory: at, runs });
            }
        }
        Ok(Self(parts))
    }

    /// Writes them, into an instance in which nothing ran yet.
    pub(super) async fn write(
        &self,
        access: &Access,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<()> {
        for part in &self.0 {
            part.write(access, store).await?;
        }
        Ok(())
    }
}
