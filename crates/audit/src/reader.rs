//! Nodes of the tree, read from its tiles: a proof asks for a few of each.

use hypervisor_tlog::tree::{Hash, Nodes};

use crate::edge::{HEIGHT, perfect};
use crate::error::Error;
use crate::rows::Rows;

/// Reads each tile once.
pub(crate) struct Reader<'a> {
    rows: &'a Rows,
    read: Vec<((u8, u64), Vec<Hash>)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rows: &'a Rows) -> Self {
        let read = Vec::new();
        Self { rows, read }
    }

    fn tile(&mut self, level: u8, tile: u64) -> Result<&[Hash], Error> {
        let wanted = (level, tile);
        let known = self.read.iter().position(|(it, _)| *it == wanted);
        let known = match known {
            Some(place) => place,
            None => {
                let hashes = self.rows.tile(level, tile)?;
                let hashes = hashes.ok_or(Error::Damaged("a tile is missing"))?;
                self.read.push((wanted, hashes));
                self.read.len().saturating_sub(1)
            }
        };
        let found = self.read.get(known).map(|(_, hashes)| hashes.as_slice());
        found.ok_or(Error::Damaged("a tile is missing"))
    }
}

impl Nodes for Reader<'_> {
    type Error = Error;

    fn node(&mut self, height: u32, place: u64) -> Result<Hash, Error> {
        let level = u8::try_from(height / HEIGHT).map_err(|_| Error::Damaged("its height"))?;
        let (within, count) = (height % HEIGHT, 1_usize << (height % HEIGHT));
        let tile = self.tile(level, place >> (HEIGHT - within))?;
        let at = usize::try_from((place << within) % (1 << HEIGHT)).unwrap_or_default();
        let hashes = tile.get(at..at.saturating_add(count));
        let node = hashes.and_then(perfect);
        node.ok_or(Error::Damaged("a tile is too short"))
    }
}
