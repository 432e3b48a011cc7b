//! Live sessions: bounded in number, shared fairly between peers, expiring, found by id or by the client's key.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hypervisor_account::Peer;
use hypervisor_fleet::Tag;
use hypervisor_protocol::{Error, HostSession, PublicKey, SessionId};
use lru::LruCache;

use crate::config::Limits;

/// All live sessions. Keys are zeroized when the last user of a session lets go of it.
#[derive(Debug)]
pub struct Sessions {
    live: Mutex<Live>,
    capacity: usize,
    idle: Duration,
    lifetime: Duration,
    /// What their ids end in; none where this host is alone.
    tag: Option<Tag>,
}

/// Sessions, and the indexes to them.
#[derive(Debug, Default)]
struct Live {
    sessions: HashMap<SessionId, Entry>,
    by_client: HashMap<PublicKey, Vec<SessionId>>,
    /// The sessions that each peer opened, in order of use.
    by_peer: HashMap<Peer, LruCache<SessionId, ()>>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<HostSession>,
    peer: Peer,
    created: Instant,
    used: Instant,
}

/// A session just opened.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Arc<HostSession>,
    /// Latest end of the session, seconds since the Unix epoch; it ends earlier when idle.
    pub expires_at: u64,
}

/// Why no session was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFound {
    /// No live session has this id and this client key.
    Unknown,
    /// The client key has several live sessions and the request names none.
    Ambiguous,
}

impl Sessions {
    /// An empty set with the limits' bounds.
    pub fn new(limits: &Limits) -> Self {
        Self {
            live: Mutex::default(),
            capacity: limits.sessions.max(1),
            idle: limits.session_idle,
            lifetime: limits.session_lifetime,
            tag: None,
        }
    }

    /// The same, of a node with this tag.
    pub(crate) fn of(self, tag: Option<Tag>) -> Self {
        Self { tag, ..self }
    }

    /// Opens a session for `client` with a key pair of its own. When full, a session of the peer that has most of them goes, the
    /// one idle for longest: who opens more than others pushes out its own.
    pub(crate) fn open(&self, peer: Peer, client: PublicKey) -> Result<Opened, Error> {
        // The key agreement is the dear part and needs no lock.
        let id = SessionId::new();
        let id = self
            .tag
            .map_or(id, |tag| SessionId::from_bytes(tag.within(*id.as_bytes())));
        let session = Arc::new(HostSession::generate(client, id)?);
        let now = Instant::now();
        let mut live = self.lock();
        while live.sessions.len() >= self.capacity && live.make_room() {}
        live.insert(Entry {
            session: Arc::clone(&session),
            peer,
            created: now,
            used: now,
        });
        drop(live);
        let end = SystemTime::now()
            .checked_add(self.lifetime)
            .and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        Ok(Opened {
            session,
            expires_at: end.map_or(u64::MAX, |end| end.as_secs()),
        })
    }

    /// The live session with this id, if it belongs to `client`; without an id, the client's only live session.
    pub fn find(
        &self,
        id: Option<&SessionId>,
        client: &PublicKey,
    ) -> Result<Arc<HostSession>, NotFound> {
        let now = Instant::now();
        let mut live = self.lock();
        let id = match id {
            Some(id) => *id,
            None => live.only_session_of(client, |entry| self.is_live(entry, now))?,
        };
        // Someone else's session is as unknown as none: its existence is not confirmed.
        let entry = live
            .sessions
            .get(&id)
            .filter(|e| e.session.client() == client)
            .ok_or(NotFound::Unknown)?;
        if !self.is_live(entry, now) {
            live.remove(&id);
            return Err(NotFound::Unknown);
        }
        live.used(&id, now).ok_or(NotFound::Unknown)
    }

    /// As [`Self::find`] for a session that is named, without reading the key: decompressing a point costs more than
    /// running a short program. None says that the slow way has to find out why.
    pub fn find_named(&self, id: &SessionId, client: &[u8]) -> Option<Arc<HostSession>> {
        let now = Instant::now();
        let mut live = self.lock();
        let entry = live.sessions.get(id)?;
        if !entry.session.client().is_sec1(client) || !self.is_live(entry, now) {
            return None;
        }
        live.used(id, now)
    }

    /// Drops expired sessions; gives the number left.
    pub fn sweep(&self) -> usize {
        let now = Instant::now();
        let mut live = self.lock();
        let expired: Vec<SessionId> = live
            .sessions
            .iter()
            .filter(|(_, e)| !self.is_live(e, now))
            .map(|(id, _)| *id)
            .collect();
        for id in &expired {
            live.remove(id);
        }
        live.sessions.len()
    }

    /// Sessions that are held.
    pub(crate) fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    fn is_live(&self, entry: &Entry, now: Instant) -> bool {
        now.duration_since(entry.used) < self.idle
            && now.duration_since(entry.created) < self.lifetime
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn insert(&mut self, entry: Entry) {
        let id = *entry.session.id();
        let client = entry.session.client().clone();
        self.by_client.entry(client).or_default().push(id);
        let own = self.by_peer.entry(entry.peer.clone());
        own.or_insert_with(LruCache::unbounded).put(id, ());
        self.sessions.insert(id, entry);
    }

    /// Notes that a session is used.
    fn used(&mut self, id: &SessionId, now: Instant) -> Option<Arc<HostSession>> {
        let entry = self.sessions.get_mut(id)?;
        entry.used = now;
        if let Some(own) = self.by_peer.get_mut(&entry.peer) {
            own.promote(id);
        }
        Some(Arc::clone(&entry.session))
    }

    fn remove(&mut self, id: &SessionId) {
        let Some(entry) = self.sessions.remove(id) else {
            return;
        };
        let client = entry.session.client();
        if let Some(ids) = self.by_client.get_mut(client) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_client.remove(client);
            }
        }
        if let Some(own) = self.by_peer.get_mut(&entry.peer) {
            own.pop(id);
            if own.is_empty() {
                self.by_peer.remove(&entry.peer);
            }
        }
    }

    /// Removes the session idle for longest of the peer that has most; of several, the one with the oldest.
    fn make_room(&mut self) -> bool {
        let candidates = self.by_peer.values().filter_map(|own| {
            let (id, ()) = own.peek_lru()?;
            let used = self.sessions.get(id)?.used;
            Some((own.len(), Reverse(used), *id))
        });
        match candidates.max_by_key(|(count, used, _)| (*count, *used)) {
            Some((.., id)) => {
                self.remove(&id);
                true
            }
            None => false,
        }
    }

    fn only_session_of(
        &self,
        client: &PublicKey,
        is_live: impl Fn(&Entry) -> bool,
    ) -> Result<SessionId, NotFound> {
        let ids = self
            .by_client
            .get(client)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut own = ids
            .iter()
            .filter(|id| self.sessions.get(id).is_some_and(&is_live));
        match (own.next(), own.next()) {
            (Some(id), None) => Ok(*id),
            (Some(_), Some(_)) => Err(NotFound::Ambiguous),
            (None, _) => Err(NotFound::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypervisor_protocol::PrivateKey;

    fn sessions(change: impl FnOnce(&mut Limits)) -> Sessions {
        let mut limits = Limits::default();
        change(&mut limits);
        Sessions::new(&limits)
    }

    fn peer(last: u8) -> Peer {
        Peer::at([192, 0, 2, last].into())
    }

    fn client() -> PublicKey {
        PrivateKey::generate().public_key().clone()
    }

    #[test]
    fn every_session_has_a_key_pair_of_its_own() {
        let (sessions, client) = (sessions(|_| ()), client());
        let (a, b) = (
            sessions.open(peer(1), client.clone()).unwrap(),
            sessions.open(peer(1), client).unwrap(),
        );
        assert_ne!(a.session.public_key(), b.session.public_key());
        assert_ne!(a.session.id(), b.session.id());
    }

    #[test]
    fn a_session_is_found_by_id_only_with_its_own_client_key() {
        let (sessions, owner) = (sessions(|_| ()), client());
        let id = *sessions.open(peer(1), owner.clone()).unwrap().session.id();
        assert!(sessions.find(Some(&id), &owner).is_ok());
        assert_eq!(
            sessions.find(Some(&id), &client()).unwrap_err(),
            NotFound::Unknown
        );
    }

    #[test]
    fn without_an_id_the_only_session_is_found_and_two_are_ambiguous() {
        let (sessions, client) = (sessions(|_| ()), client());
        assert_eq!(sessions.find(None, &client).unwrap_err(), NotFound::Unknown);
        sessions.open(peer(1), client.clone()).unwrap();
        assert!(sessions.find(None, &client).is_ok());
        sessions.open(peer(1), client.clone()).unwrap();
        assert_eq!(
            sessions.find(None, &client).unwrap_err(),
            NotFound::Ambiguous
        );
    }

    #[test]
    fn when_full_the_session_idle_for_longest_goes() {
        let (sessions, client) = (sessions(|l| l.sessions = 2), client());
        let first = *sessions.open(peer(1), client.clone()).unwrap().session.id();
        let second = *sessions.open(peer(1), client.clone()).unwrap().session.id();
        sessions.find(Some(&first), &client).unwrap();
        sessions.open(peer(1), client.clone()).unwrap();
        assert!(sessions.find(Some(&first), &client).is_ok());
        assert_eq!(
            sessions.find(Some(&second), &client).unwrap_err(),
            NotFound::Unknown
        );
    }

    #[test]
    fn when_full_the_peer_with_most_sessions_loses_its_own() {
        let sessions = sessions(|l| l.sessions = 10);
        let open = |last| {
            let client = client();
            let opened = sessions.open(peer(last), client.clone()).unwrap();
            (*opened.session.id(), client)
        };
        let live = |(id, client): &(SessionId, PublicKey)| sessions.find(Some(id), client).is_ok();
        let few = [open(1), open(2), open(2)];
        let flood: Vec<_> = (0..100).map(|_| open(3)).collect();
        assert!(few.iter().all(live));
        assert_eq!(flood.iter().filter(|opened| live(opened)).count(), 7);
        // Newcomers find room too.
        let late = [open(4), open(5)];
        assert!(few.iter().chain(&late).all(live));
        assert!(live(flood.last().unwrap()));
    }

    #[test]
    fn an_expired_session_is_unknown_and_swept() {
        let (sessions, client) = (sessions(|l| l.session_idle = Duration::ZERO), client());
        let id = *sessions.open(peer(1), client.clone()).unwrap().session.id();
        assert_eq!(
            sessions.find(Some(&id), &client).unwrap_err(),
            NotFound::Unknown
        );
        sessions.open(peer(1), client.clone()).unwrap();
        assert_eq!(sessions.sweep(), 0);
        assert_eq!(sessions.find(None, &client).unwrap_err(), NotFound::Unknown);
    }
}
