//! All nodes, as they were at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hypervisor_store::Store;

use crate::error::Error;
use crate::node::{NODES, Node, Value};
use crate::tag::Tag;

/// Rows that are read at once.
const PAGE: usize = 256;
/// Nodes that are looked at; more are no fleet but a mistake.
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
        let mut nodes = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        while nodes.len() < MOST {
            let page = rows.scan(NODES, b"", after.as_deref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for scanned in page {
                let Ok(tag) = <[u8; 4]>::try_from(&*scanned.key).map(Tag) else {
                    tracing::warn!("a row of the fleet has a key that is no tag");
                    continue;
                };
                let read = scanned.row.map_err(Error::from);
                let read = read.and_then(|row| Ok((Value::decode(&row)?, row.version)));
                match read {
                    Ok((value, version)) => {
                        nodes.insert(tag, value.node(tag, version, (at, dead)));
                    }
                    Err(error) => tracing::warn!(%tag, %error, "a node cannot be read"),
                }
            }
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
