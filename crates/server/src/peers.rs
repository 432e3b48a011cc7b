//! How many connections one peer may have open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The subscriber behind an address: an IPv4 address, or the /64 of an IPv6 address.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The open connections of each peer.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One open connection of a peer.
#[derive(Debug)]
pub(crate) struct Counted {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// Counts a connection from `address`; none where its peer has as many as it may.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let peer = subscriber(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted {
            peers: self.clone(),
            peer,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let open = &self.peers.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(peers: &Peers, address: &str) -> Option<Counted> {
        peers.enter(address.parse().unwrap())
    }

    #[test]
    fn a_peer_has_so_many_connections_and_others_have_theirs() {
        let peers = Peers::new(2);
        let first = enter(&peers, "192.0.2.1");
        let _second = enter(&peers, "::ffff:192.0.2.1").unwrap();
        assert!(enter(&peers, "192.0.2.1").is_none());
        assert!(enter(&peers, "192.0.2.2").is_some());
        drop(first);
        assert!(enter(&peers, "192.0.2.1").is_some());
    }

    #[test]
    fn a_network_of_64_bits_is_one_peer() {
        let peers = Peers::new(1);
        let _first = enter(&peers, "2001:db8:0:1::1").unwrap();
        assert!(enter(&peers, "2001:db8:0:1:ffff::2").is_none());
        assert!(enter(&peers, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn nothing_is_kept_of_peers_that_went_away() {
        let peers = Peers::new(1);
        drop(enter(&peers, "192.0.2.1"));
        assert!(peers.open.lock().unwrap().is_empty());
    }
}
