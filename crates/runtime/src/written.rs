//! Which pages of an instance's memory were written to, as the kernel has it (`proc_pid_pagemap(5)`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

/// Bytes of a page.
pub(super) const PAGE: usize = 4 << 10;
/// A memory in which more than so many times the pages that are known were written to is another one.
const MOST: usize = 4;
/// Bytes of what the kernel says of a page.
const ENTRY: usize = 8;
const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;

/// Opened before this process may no longer look into itself.
static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/pagemap").ok());

/// Opens what [`pages_like`] reads.
pub(super) fn open() {
    LazyLock::force(&PAGEMAP);
}

/// The places of all pages that were written to in the memory of `length` bytes in which most of those at `known` were, and these; nothing
/// where that is not found in this process.
///
/// The engine does not say where a memory lies. Pages of no file count where they were only read, too: it has to be a memory of which
/// not all was read. To be wrong takes time and does no harm: this decides what a fresh instance touches first, and nothing else.
pub(super) fn pages_like(known: &[usize], length: usize) -> Option<BTreeSet<usize>> {
    let pagemap = PAGEMAP.as_ref()?;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let most = known.len().saturating_mul(MOST);
    writable(&maps)
        .filter(|range| range.len() >= length)
        .filter_map(|range| written(pagemap, range.start, length))
        .filter(|pages| {
            let both = known.iter().filter(|place| pages.contains(place)).count();
            both.saturating_mul(2) > known.len() && pages.len() <= most
        })
        // Of those that are alike, the one that is not being torn down.
        .max_by_key(BTreeSet::len)
        .map(|pages| pages.into_iter().chain(known.iter().copied()).collect())
}

/// Places that are mapped to be written to, those side by side as one.
fn writable(maps: &str) -> impl Iterator<Item = Range<usize>> {
    let mut lines = maps.lines().filter_map(mapping).peekable();
    std::iter::from_fn(move || {
        let mut whole = lines.next()?;
        while let Some(next) = lines.next_if(|next| next.start == whole.end) {
            whole.end = next.end;
        }
        Some(whole)
    })
}

/// The place of a private mapping that is written to: `5581-5589 rw-p …`.
fn mapping(line: &str) -> Option<Range<usize>> {
    let (place, rest) = line.split_once(' ')?;
    let (start, end) = place.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    rest.starts_with("rw-p")
        .then_some(number(start)?..number(end)?)
}

/// The pages in a place of this process that are no file's any more.
fn written(pagemap: &File, start: usize, length: usize) -> Option<BTreeSet<usize>> {
    let mut entries = vec![0; length.div_ceil(PAGE).saturating_mul(ENTRY)];
    let offset = u64::try_from(start.div_euclid(PAGE).saturating_mul(ENTRY)).ok()?;
    pagemap.read_exact_at(&mut entries, offset).ok()?;
    let entries = entries.as_chunks().0.iter().copied();
    let pages = (0..).step_by(PAGE).zip(entries.map(u64::from_le_bytes));
    let pages = pages.filter(|(_, entry)| entry & PRESENT != 0 && entry & OF_A_FILE == 0);
    Some(pages.map(|(place, _)| place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_side_by_side_are_one_and_what_cannot_be_written_to_is_none() {
        let maps = "1000-3000 rw-p 00000000 00:00 0 \n\
                    3000-5000 rw-p 00001000 00:01 9 /memfd:machine-code (deleted)\n\
                    5000-9000 ---p 00000000 00:00 0 \n\
                    a000-b000 r-xp 00000000 00:01 9 /memfd:machine-code (deleted)\n\
                    c000-d000 rw-p 00000000 00:00 0 [heap]\n";
        let found: Vec<_> = writable(maps).collect();
        assert_eq!(found, [0x1000..0x5000, 0xc000..0xd000]);
    }

    #[test]
    fn a_memory_is_found_by_the_pages_that_are_known_of_it() {
        open();
        let known = [0, 5, 77, 300].map(|page| page * PAGE);
        let mut memory = vec![0_u8; 64 << 20];
        let untouched = vec![0_u8; 64 << 20];
        let [first, other] = [&memory, &untouched].map(|it| {
            let start = it.as_ptr() as usize;
            start.next_multiple_of(PAGE) - start
        });
        for place in known {
            memory[first + place] = 1;
        }
        let length = 2 << 20;
        let pagemap = PAGEMAP.as_ref().unwrap();
        let start = memory.as_ptr() as usize + first;
        let pages = written(pagemap, start, length).unwrap();
        assert!(known.iter().all(|place| pages.contains(place)));
        let start = untouched.as_ptr() as usize + other;
        assert_eq!(written(pagemap, start, length), Some(BTreeSet::new()));
    }
}
