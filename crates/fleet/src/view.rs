//! All nodes, as they were at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hypervisor_store::Store;

use crate::error::Error;
use crate::node::{NODES, Node, Value};
use crate::tag::Tag;

/// Rows that are read at once.
const PAGE: usize = 256;
/// Rows that are looked at; more are no fleet but a mistake, or the work of whoever has the database.
const MOST: usize = 4096;

/// All nodes at one moment. Who is alive is judged by that moment: as long as the database is away nobody dies.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) nodes: BTreeMap<Tag, Node>,
    /// The moment by the database's clock, microseconds.
    at: u64,
    /// And by this machine's.
    pub(crate) read: Instant,
}

impl View {
    /// Reads all of them. A row that does not open is nobody's: it is said in the log, and others go on.
    pub(crate) fn read(rows: &Store, dead: Duration) -> Result<Self, Error> {
        let at = rows.now()?;
        let dead = micros(dead);
        let (mut nodes, mut looked_at, mut unread) = (BTreeMap::new(), 0_usize, 0_usize);
        let mut after: Option<Vec<u8>> = None;
        while looked_at < MOST {
            let page = rows.scan(NODES, b"", after.as_deref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            looked_at = looked_at.saturating_add(page.len());
            for scanned in page {
                let tag = <[u8; 4]>::try_from(&*scanned.key).map(Tag).ok();
                let row = scanned.row.ok();
                let read = row.and_then(|row| Some((Value::decode(&row).ok()?, row.version)));
                match tag.zip(read) {
                    Some((tag, (value, version))) => {
                        nodes.insert(tag, value.node(tag, version, (at, dead)));
                    }
                    None => unread = unread.saturating_add(1),
                }
            }
        }
        if unread > 0 {
            // Not a line for each: whoever has the database decides how many there are.
            tracing::warn!(rows = unread, "rows of nodes cannot be read");
        }
        Ok(Self {
            nodes,
            at,
            read: Instant::now(),
        })
    }

    /// Takes nobody for dead.
    pub(crate) fn spare(&mut self) {
        for node in self.nodes.values_mut() {
            node.alive = true;
        }
    }

    pub(crate) fn live(&self, tag: Tag) -> Option<&Node> {
        self.nodes.get(&tag).filter(|node| node.alive)
    }

    /// The node that serves the sessions with this tag.
    pub(crate) fn serving(&self, tag: Tag) -> Option<&Node> {
        self.live(tag).filter(|node| !node.closed)
    }

    /// The time by the database's clock, as far as it is known: Unix time, seconds.
    pub(crate) fn now(&self) -> u64 {
        self.at.saturating_add(micros(self.read.elapsed())) / 1_000_000
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
