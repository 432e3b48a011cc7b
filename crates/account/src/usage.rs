//! What is in hand at the moment, for operators.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Account, Bounded, MANAGING, Peer};

/// What is in hand of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InHand {
    /// Of what.
    pub name: &'static str,
    /// How much.
    pub used: u64,
    /// How much there may be.
    pub most: u64,
}

impl InHand {
    /// `used` of `most`.
    pub fn new(name: &'static str, used: usize, most: usize) -> Self {
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        Self {
            name,
            used: number(used),
            most: number(most),
        }
    }
}

impl Account {
    /// What the whole host has in hand: slots, places in the queue, bytes, errands, and waits for a turn with a plugin.
    pub fn in_hand(&self) -> [InHand; 5] {
        let host = &self.host;
        let counted =
            |name, it: &Bounded| InHand::new(name, it.count.load(Ordering::Relaxed), it.bound);
        let taken = |all: usize, free: usize| all.saturating_sub(free);
        [
            InHand::new(
                "slots",
                taken(host.all_slots, host.slots.available_permits()),
                host.all_slots,
            ),
            counted("queue", &host.waiting),
            counted("bytes", &host.bytes),
            InHand::new(
                "errands",
                taken(MANAGING, host.managing.available_permits()),
                MANAGING,
            ),
            counted("turns", &host.plugins_waiting),
        ]
    }

    /// Bytes that each class of peers makes the host hold.
    pub fn bytes_by_peer(&self) -> [(&'static str, u64); 3] {
        let mut classes = [("ipv4", 0_u64), ("ipv6", 0), ("agent", 0)];
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, entries) in peers.iter() {
            let class = match peer {
                Peer::Address(IpAddr::V4(_)) => "ipv4",
                Peer::Address(IpAddr::V6(_)) => "ipv6",
                Peer::Owner(_) => "agent",
            };
            let Some(entries) = entries.upgrade() else {
                continue;
            };
            let held = entries.bytes.count.load(Ordering::Relaxed);
            for (name, bytes) in &mut classes {
                if *name == class {
                    *bytes = bytes.saturating_add(u64::try_from(held).unwrap_or(u64::MAX));
                }
            }
        }
        classes
    }
}
