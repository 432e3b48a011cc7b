//! Sending for many: each of them within a share of its own, in its owner's, in the whole.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::Request;
use http_body::Body;

use crate::error::Error;
use crate::send::{Answered, Sender, Timeouts};
use crate::share::{Bounds, Share};

/// Lookups of names that all may have under way at once, those of one owner, and those of one component.
const LOOKUPS: [usize; 3] = [64, 24, 8];

/// What sends the requests of all components of a host.
pub struct Senders {
    sender: Sender,
    whole: Share,
    per_owner: Bounds,
    per_component: Bounds,
    /// The shares that are in use: a component that is loaded anew has the one that its calls still hold.
    shares: Mutex<Shares>,
}

#[derive(Default)]
struct Shares {
    owners: HashMap<String, Share>,
    components: HashMap<String, Share>,
}

impl Senders {
    /// As many connections at once: of all together, of one owner, of one component.
    pub fn new(sender: Sender, connections: [usize; 3]) -> Self {
        let [all, per_owner, per_component] = connections;
        let [lookups, of_owner, of_component] = LOOKUPS;
        let bounds = |connections, lookups| Bounds {
            connections,
            lookups,
        };
        Self {
            sender,
            whole: Share::new(bounds(all, lookups)),
            per_owner: bounds(per_owner, of_owner),
            per_component: bounds(per_component, of_component),
            shares: Mutex::default(),
        }
    }

    /// What sends the requests of one component. One without an owner shares with nobody but all.
    pub fn of(&self, owner: Option<&str>, component: &str) -> Sender {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.components.retain(|_, share| share.is_used());
        shares.owners.retain(|_, share| share.is_used());
        let Shares { owners, components } = &mut *shares;
        let share = components.entry(component.to_owned()).or_insert_with(|| {
            let whole = match owner {
                None => &self.whole,
                Some(owner) => owners
                    .entry(owner.to_owned())
                    .or_insert_with(|| self.whole.part(self.per_owner)),
            };
            whole.part(self.per_component)
        });
        self.sender.clone().sharing(share.clone())
    }
}

impl Sender {
    /// [`Self::send`] as the hooks of wasi:http have it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_for_guest<B>(
        &self,
        request: Request<B>,
        timeouts: Option<Timeouts>,
    ) -> Result<Answered, Error>
    where
        B: Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (response, connection) = self.send(request, timeouts.unwrap_or_default()).await?;
        Ok((response, Box::new(connection)))
    }
}

/// Why a request was not sent, for those who count.
pub fn why(error: &Error) -> &'static str {
    match error {
        Error::DestinationIpProhibited => "private_address",
        Error::ConnectionLimitReached => "limit",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::address::Networks;
    use crate::resolve::SystemResolver;

    fn senders(connections: [usize; 3]) -> Senders {
        let sender = Sender::new(Networks::default(), Arc::new(SystemResolver)).unwrap();
        Senders::new(sender, connections)
    }

    #[test]
    fn components_of_one_owner_share_what_an_owner_may_have() {
        let senders = senders([3, 2, 2]);
        let (a, b) = (
            senders.of(Some("o"), "a").share(),
            senders.of(Some("o"), "b").share(),
        );
        let held = [a.connection().unwrap(), b.connection().unwrap()];
        assert!(a.connection().is_err() && b.connection().is_err());
        let other = senders.of(Some("p"), "c").share().connection().unwrap();
        assert!(senders.of(None, "d").share().connection().is_err());
        drop((held, other));
        assert!(senders.of(None, "d").share().connection().is_ok());
    }

    #[test]
    fn a_component_that_comes_again_has_the_share_that_its_calls_still_hold() {
        let senders = senders([9, 9, 1]);
        let held = senders.of(Some("o"), "a").share().connection().unwrap();
        assert!(senders.of(Some("o"), "a").share().connection().is_err());
        drop(held);
        assert!(senders.of(Some("o"), "a").share().connection().is_ok());
        drop(senders.of(None, "b"));
        assert_eq!(senders.shares.lock().unwrap().components.len(), 1);
    }
}
