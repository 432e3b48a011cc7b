//! Which hosts share a store, and how a request finds the host of its session.
//!
//! A [`Fleet`] is this host's place among the hosts that share rows, which are called nodes: one start of one host each. Every node
//! has a row with its [`Tag`], its [`Address`] and when it was last seen, written anew with each heartbeat. The last bytes of a
//! session's id are the tag of the node that opened it, and no other node can serve it: a request that comes to another one is
//! forwarded, once, over HTTP/1.1, with a proof that it comes from a node ([`FORWARDED`]).
//!
//! Time is the database's. A node that was not seen for [`Settings::dead`] is dead: what it left is taken over, and its row is
//! deleted by whoever did that.

mod address;
mod connect;
mod error;
mod fleet;
mod forward;
mod node;
mod places;
mod proof;
mod relayed;
mod tag;
#[cfg(test)]
mod tests;
mod view;

pub use address::Address;
pub use connect::{Connections, Connector, Stream, connections};
pub use error::{Error, NotForwarded};
pub use fleet::{Fleet, Settings, Vitals};
pub use forward::Head;
pub use node::{NODES, Node};
pub use proof::{FORWARDED, Proved};
pub use relayed::Relayed;
pub use tag::Tag;
