//! Where sandboxed components may send HTTP requests, and the sending itself.
//!
//! Two questions are asked about a request, one after the other. *May it go to this origin?* is answered by an [`AllowList`] of
//! [`OriginPattern`]s, before anything is looked up. *May it go to this address?* is answered by [`Networks`]: public addresses
//! are allowed, and private ones only where the operator lists them. A [`Sender`] asks the second question for every address
//! that a name resolves to, and connects to exactly the addresses that were checked. How many connections and lookups it may have under
//! way is a [`Share`] of the whole host's, which [`Senders`] gives to each owner and each component.
//!
//! Nothing here logs, and no [`Error`] of a request says where the request was going.

mod address;
mod body;
mod connect;
mod error;
mod origin;
mod pattern;
mod pool;
mod resolve;
mod send;
mod senders;
mod share;

pub use address::{Networks, is_public};
pub use error::{Error, NetworkError, PatternError};
pub use origin::Origin;
pub use pattern::{AllowList, OriginPattern};
pub use pool::Pool;
pub use resolve::{Answer, Resolve, SystemResolver};
pub use send::{Connection, Sender, Timeouts};
pub use senders::{Senders, why};
pub use share::{Bounds, Share};
