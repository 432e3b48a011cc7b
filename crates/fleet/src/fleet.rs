//! A host's place in its fleet: its row, its heartbeat, and what it knows of the others.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Uri};
use hypervisor_store::{Change, Error as RowError, Expect, Store};
use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;

use crate::address::Address;
use crate::connect::{Connections, connections};
use crate::error::Error;
use crate::node::{NODES, Node, Value};
use crate::places::Places;
use crate::proof::{self, Proved};
use crate::tag::Tag;
use crate::view::View;

/// Tags that are tried until one is free.
const ATTEMPTS: usize = 16;
/// Calls of the database at once: a heartbeat, a look at all nodes, and rows that are deleted.
const CALLS: usize = 4;
/// How young a look at all nodes is that a tag which is not in it is not looked up again for.
const FRESH: Duration = Duration::from_millis(200);

/// What a node is and how it keeps its place.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where other nodes reach it; none where they cannot.
    pub address: Option<Address>,
    /// The version of the host.
    pub host: String,
    /// Time between two heartbeats.
    pub beat: Duration,
    /// A node that was not seen for so long is dead.
    pub dead: Duration,
    /// Time that the database has to answer.
    pub patience: Duration,
    /// Time to connect to another node.
    pub connect: Duration,
    /// Which part of what is forwarded at once may be one client's: so many of so many.
    pub share: (usize, usize),
}

impl Settings {
    /// The usual times.
    pub fn new(address: Option<Address>, host: impl Into<String>) -> Self {
        Self {
            address,
            host: host.into(),
            beat: Duration::from_secs(2),
            dead: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            share: (1, 2),
        }
    }
}

/// What a node says of itself with each heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// It takes nothing new, and is about to end.
    pub leaving: bool,
    /// Sessions that it holds.
    pub sessions: u64,
}

/// The place of one node among all.
pub struct Fleet {
    pub(crate) rows: Arc<Store>,
    tag: Tag,
    pub(crate) settings: Settings,
    own: Arc<Mutex<Own>>,
    view: watch::Sender<Arc<View>>,
    /// When the database was there again after it was away.
    back: Mutex<Option<Instant>>,
    /// Held by whoever looks at all nodes because a tag is not known.
    looking: tokio::sync::Mutex<()>,
    calls: Arc<Semaphore>,
    /// Dead nodes whose work is being taken over.
    taking: Mutex<HashSet<Tag>>,
    takeovers: AtomicU64,
    pub(crate) connections: Connections,
    pub(crate) places: Arc<Places>,
}

/// What a node has to know of its own row.
struct Own {
    started: u64,
    /// The version of the row; none where it is to be inserted.
    row: Option<u64>,
    vitals: Vitals,
    /// It takes no connections any more.
    closed: bool,
    /// The row was removed, for good.
    left: bool,
}

impl Fleet {
    /// Takes a tag that no other node has, and writes the first row.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn join(rows: Arc<Store>, settings: Settings) -> Result<Arc<Self>, Error> {
        let calls = Arc::new(Semaphore::new(CALLS));
        let (store, of) = (Arc::clone(&rows), settings.clone());
        let joining = call(&calls, settings.patience, move || join(&store, &of));
        let (tag, own, view) = joining.await?;
        tracing::info!(%tag, nodes = view.nodes.len(), "joined the fleet");
        Ok(Arc::new(Self {
            rows,
            tag,
            connections: connections(settings.connect),
            places: Places::new(settings.share),
            settings,
            own: Arc::new(Mutex::new(own)),
            view: watch::Sender::new(Arc::new(view)),
            back: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            calls,
            taking: Mutex::default(),
            takeovers: AtomicU64::new(0),
        }))
    }

    /// What the ids of this node's sessions end in.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// All nodes that have a row, by their tags, as they were at the last look.
    pub fn nodes(&self) -> Vec<Node> {
        self.view().nodes.values().cloned().collect()
    }

    /// Nodes that are dead, and whose work nobody has taken over yet.
    pub fn dead(&self) -> Vec<Tag> {
        let view = self.view();
        let dead = view.nodes.values().filter(|node| !node.alive);
        dead.map(|node| node.tag)
            .filter(|tag| *tag != self.tag)
            .collect()
    }

    /// How often this node took over what a dead one left.
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::Relaxed)
    }

    /// The node that serves the sessions with this tag. One that joined since the last look is found too.
    pub async fn owner_of(&self, tag: Tag) -> Option<Node> {
        if let Some(node) = self.view().serving(tag) {
            return Some(node.clone());
        }
        self.look_again().await;
        self.view().serving(tag).cloned()
    }

    /// Looks at all nodes, unless that was done after this was called: many may ask at once, for tags that there never were.
    pub(crate) async fn look_again(&self) {
        let asked = Instant::now();
        let _one = self.looking.lock().await;
        let read = self.view().read;
        if read > asked {
            return;
        }
        tokio::time::sleep(FRESH.saturating_sub(read.elapsed())).await;
        if let Err(error) = self.look().await {
            tracing::debug!(%error, "the nodes of the fleet cannot be looked up");
        }
    }

    /// Whether a node lives, or may: one that joined since the last look has a row, and one whose work was taken over has none. Waits
    /// for the database where the node is not known.
    pub fn is_alive(&self, tag: Tag) -> bool {
        match self.view().nodes.get(&tag) {
            Some(node) => node.alive,
            None => !matches!(self.rows.get(NODES, &tag.0), Ok(None)),
        }
    }

    /// What the header fields of a request prove of where it comes from.
    pub fn proved(&self, fields: &HeaderMap, method: &Method, uri: &Uri) -> Option<Proved> {
        let now = self.view().now();
        proof::check(&self.rows, self.tag, now, fields, (method, uri))
    }

    /// The field that proves to `to` that this node forwards a request.
    pub(crate) fn prove(
        &self,
        to: Tag,
        client: Option<IpAddr>,
        request: proof::Request<'_>,
    ) -> Option<http::HeaderValue> {
        let now = self.view().now();
        proof::make(&self.rows, [self.tag, to], now, client, request)
    }

    /// Keeps the place of this node, as long as it is polled: writes what `vitals` says with each heartbeat, and has `take_over` do
    /// for each dead node what is to be done, once at a time; where that says that it is done, the node's row goes. Another node
    /// may do the same for the same dead one at the same time.
    pub async fn attend<V, F, T>(self: Arc<Self>, vitals: V, take_over: F)
    where
        V: Fn() -> Vitals + Send + Sync,
        F: Fn(Tag) -> T + Send + Sync,
        T: Future<Output = bool> + Send + 'static,
    {
        let mut beats = tokio::time::interval(self.settings.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_well = true;
        loop {
            beats.tick().await;
            match self.beat(vitals()).await {
                Ok(()) if !is_well => tracing::info!("the fleet's rows can be written again"),
                Err(error) if is_well => {
                    tracing::error!(%error, "this node cannot keep its place in the fleet");
                }
                Ok(()) | Err(_) => {}
            }
            is_well = self.view().read.elapsed() < self.settings.dead;
            for tag in self.dead() {
                if !self.taking().insert(tag) {
                    continue;
                }
                let taken = take_over(tag);
                let fleet = Arc::clone(&self);
                tokio::spawn(async move {
                    if taken.await {
                        fleet.retire(tag).await;
                    }
                    fleet.taking().remove(&tag);
                });
            }
        }
    }

    /// One heartbeat, and a look at all nodes.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn beat(&self, vitals: Vitals) -> Result<(), Error> {
        let (own, rows, tag) = (Arc::clone(&self.own), Arc::clone(&self.rows), self.tag);
        let settings = self.settings.clone();
        let view = self.call(move || {
            let mut own = lock(&own);
            own.vitals = vitals;
            own.write(&rows, tag, &settings)?;
            let view = View::read(&rows, settings.dead)?;
            own.row = view.nodes.get(&tag).map(|node| node.row);
            Ok(view)
        });
        self.saw(view.await?);
        Ok(())
    }

    /// Has the others know that this node takes nothing new.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn leave(&self) -> Result<(), Error> {
        self.say(|own| own.vitals.leaving = true).await
    }

    /// Has the others know that this node is about to take no connections: its sessions have ended. Nobody sends to it any more
    /// once each has looked, which is after [`Settings::beat`].
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn close(&self) -> Result<(), Error> {
        self.say(|own| own.closed = true).await
    }

    async fn say(&self, what: impl FnOnce(&mut Own)) -> Result<(), Error> {
        let vitals = {
            let mut own = lock(&self.own);
            what(&mut own);
            own.vitals
        };
        self.beat(vitals).await
    }

    /// Removes this node's row: it left nothing to take over. It has no place in the fleet from here on.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn depart(&self) -> Result<(), Error> {
        let (own, rows, tag) = (Arc::clone(&self.own), Arc::clone(&self.rows), self.tag);
        let departed = self.call(move || {
            let mut own = lock(&own);
            own.left = true;
            match own.row.take() {
                Some(row) => delete(&rows, tag, row).map(drop),
                None => Ok(()),
            }
        });
        departed.await
    }

    /// Whether a node serves its sessions, as of the last look.
    pub(crate) fn serves(&self, tag: Tag) -> bool {
        self.view().serving(tag).is_some()
    }

    /// Returns when a node is not alive any more.
    pub(crate) async fn gone(&self, tag: Tag) {
        let mut views = self.view.subscribe();
        // The sender lives as long as this does.
        let _ = views.wait_for(|view| view.live(tag).is_none()).await;
    }

    /// Deletes the row of a node whose work was taken over, unless it was written since.
    async fn retire(&self, tag: Tag) {
        let Some(row) = self.view().nodes.get(&tag).map(|node| node.row) else {
            return;
        };
        let rows = Arc::clone(&self.rows);
        match self.call(move || delete(&rows, tag, row)).await {
            Ok(true) => {
                self.takeovers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%tag, "took over what a dead node left");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%tag, %error, "a dead node's row stays"),
        }
    }

    /// A look at all nodes, as they are now.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub async fn look(&self) -> Result<(), Error> {
        let (rows, dead) = (Arc::clone(&self.rows), self.settings.dead);
        let view = self.call(move || View::read(&rows, dead)).await?;
        self.saw(view);
        Ok(())
    }

    /// Goes by this look at all nodes from here on. After a time without one, the database was away for the others too, or this
    /// node stood still: nobody is dead until each had the time to say that it is not.
    fn saw(&self, mut view: View) {
        let dead = self.settings.dead;
        let mut back = lock(&self.back);
        if view.read.saturating_duration_since(self.view().read) > dead / 2 {
            *back = Some(view.read);
        }
        if back.is_some_and(|back| view.read.saturating_duration_since(back) < dead) {
            view.spare();
        }
        self.view.send_replace(Arc::new(view));
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        call(&self.calls, self.settings.patience, work).await
    }

    /// As if the last look were so long ago.
    #[cfg(test)]
    pub(crate) fn last_looked(&self, ago: Duration) {
        self.view.send_modify(|view| {
            if let Some(view) = Arc::get_mut(view) {
                view.read = view.read.checked_sub(ago).unwrap_or(view.read);
            }
        });
    }

    /// As if the database were there again for so long.
    #[cfg(test)]
    pub(crate) fn came_back(&self, ago: Duration) {
        let mut back = lock(&self.back);
        *back = back.and_then(|at| at.checked_sub(ago));
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    fn taking(&self) -> MutexGuard<'_, HashSet<Tag>> {
        lock(&self.taking)
    }
}

impl Own {
    /// Writes the row as it is now. One that somebody deleted, because this node was not seen for too long, is inserted again.
    fn write(&self, rows: &Store, tag: Tag, settings: &Settings) -> Result<(), Error> {
        if self.left {
            return Ok(());
        }
        let value = self.value(settings, rows)?.encode()?;
        let known = self.row.map_or(Expect::Absent, Expect::Version);
        if put(rows, tag, &value, known)? {
            return Ok(());
        }
        let there = match rows.get(NODES, &tag.0) {
            Ok(None) => Expect::Absent,
            // The answer to an earlier heartbeat was lost.
            Ok(Some(row)) if Value::decode(&row)?.started == self.started => {
                Expect::Version(row.version)
            }
            Ok(Some(_)) => return Err(Error::Taken),
            // Whoever has the database put it there: no node did.
            Err(error) if error.does_not_open() => Expect::Any,
            Err(RowError::RolledBack(_)) => Expect::Any,
            Err(error) => return Err(error.into()),
        };
        match put(rows, tag, &value, there)? {
            true => Ok(()),
            false => Err(RowError::Conflict(0).into()),
        }
    }

    fn value(&self, settings: &Settings, rows: &Store) -> Result<Value, RowError> {
        Ok(Value {
            address: settings.address.clone(),
            host: settings.host.clone(),
            started: self.started,
            seen: rows.now()?,
            leaving: self.vitals.leaving,
            closed: self.closed,
            sessions: self.vitals.sessions,
            keys: rows.key_ids(),
        })
    }
}

fn join(rows: &Store, settings: &Settings) -> Result<(Tag, Own, View), Error> {
    for _ in 0..ATTEMPTS {
        let tag = Tag::random()?;
        let now = rows.now()?;
        let mut own = Own {
            started: now,
            row: None,
            vitals: Vitals::default(),
            closed: false,
            left: false,
        };
        let value = own.value(settings, rows)?.encode()?;
        if put(rows, tag, &value, Expect::Absent)? {
            let view = View::read(rows, settings.dead)?;
            own.row = view.nodes.get(&tag).map(|node| node.row);
            return Ok((tag, own, view));
        }
    }
    Err(Error::Crowded)
}

/// Writes a row that is as expected; whether it did.
fn put(rows: &Store, tag: Tag, value: &[u8], expect: Expect) -> Result<bool, Error> {
    changed(
        rows,
        Change {
            expect,
            ..Change::put(NODES, &tag.0, value)
        },
    )
}

/// Deletes a row that still has this version; whether it did.
fn delete(rows: &Store, tag: Tag, row: u64) -> Result<bool, Error> {
    changed(
        rows,
        Change {
            expect: Expect::Version(row),
            ..Change::delete(NODES, &tag.0)
        },
    )
}

fn changed(rows: &Store, change: Change<'_>) -> Result<bool, Error> {
    match rows.commit(&[change], false) {
        Ok(()) => Ok(true),
        Err(RowError::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the database where that holds up nobody, and no longer than `patience`. What was given up still has its place until
/// the database answers it.
async fn call<T: Send + 'static>(
    places: &Arc<Semaphore>,
    patience: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let place = Arc::clone(places).try_acquire_owned();
    let place = place.map_err(|_| Error::Busy)?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match tokio::time::timeout(patience, working).await {
        Ok(Ok(done)) => done,
        Ok(Err(lost)) => Err(Error::Form(lost.to_string())),
        Err(_) => Err(Error::Slow(patience)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
