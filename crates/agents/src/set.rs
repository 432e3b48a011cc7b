//! The deployed agents, found by what callers write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::deployed::Deployed;
use crate::name::{Address, Name, Owner};

/// The agents. A bare name means the operator's agent of that name, else the public one that was deployed first.
#[derive(Default)]
pub(crate) struct Set {
    by_address: BTreeMap<Address, Arc<Deployed>>,
    /// Names and addresses as text, for one look-up a request. Private agents are found by their address alone.
    by_text: HashMap<String, Arc<Deployed>>,
    by_id: HashMap<u64, Arc<Deployed>>,
}

impl Set {
    /// The agent that somebody means. `owner` is who asks, where that is proved: their own agents come first, and nobody
    /// else's private ones exist.
    pub(crate) fn find(&self, reference: &str, owner: Option<&Owner>) -> Option<Arc<Deployed>> {
        let own = owner.and_then(|owner| {
            let name: Name = reference.parse().ok()?;
            self.by_address.get(&Address {
                name,
                owner: owner.clone(),
            })
        });
        own.or_else(|| self.by_text.get(reference))
            .filter(|agent| !agent.terms.manifest.private || owner == Some(agent.terms.owner()))
            .cloned()
    }

    pub(crate) fn get(&self, address: &Address) -> Option<&Arc<Deployed>> {
        self.by_address.get(address)
    }

    /// The agent that the operator means, private ones too: an address, or a name that is the operator's or only one's; else all
    /// that it could be.
    pub(crate) fn meant(&self, reference: &str) -> Result<Arc<Deployed>, Vec<Arc<Deployed>>> {
        if let Ok(address) = reference.parse::<Address>() {
            return self.get(&address).cloned().ok_or_else(Vec::new);
        }
        let named: Vec<_> = self
            .all()
            .filter(|agent| agent.terms.address.name.as_str() == reference)
            .cloned()
            .collect();
        let operators = named.iter().find(|it| *it.terms.owner() == Owner::Operator);
        match (operators, named.as_slice()) {
            (Some(agent), _) | (None, [agent]) => Ok(Arc::clone(agent)),
            _ => Err(named),
        }
    }

    /// The agent with this number.
    pub(crate) fn numbered(&self, id: u64) -> Option<&Arc<Deployed>> {
        self.by_id.get(&id)
    }

    /// The shortest name by which others find an agent.
    pub(crate) fn shortest(&self, agent: &Deployed) -> String {
        let bare = agent.terms.address.name.as_str();
        match self.by_text.get(bare) {
            Some(found) if found.id == agent.id => bare.to_owned(),
            _ => agent.terms.address.to_string(),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Deployed>> {
        self.by_address.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Adds an agent in the place of an earlier one of its address, which it gives back.
    pub(crate) fn insert(&mut self, agent: Arc<Deployed>) -> Option<Arc<Deployed>> {
        let address = agent.terms.address.clone();
        self.by_text.insert(address.to_string(), Arc::clone(&agent));
        self.by_id.insert(agent.id, Arc::clone(&agent));
        let before = self.by_address.insert(address.clone(), agent);
        if let Some(before) = &before {
            self.by_id.remove(&before.id);
        }
        self.name(&address.name);
        before
    }

    pub(crate) fn remove(&mut self, address: &Address) -> Option<Arc<Deployed>> {
        let removed = self.by_address.remove(address)?;
        self.by_text.remove(&address.to_string());
        self.by_id.remove(&removed.id);
        self.name(&address.name);
        Some(removed)
    }

    /// Gives a bare name to whom it belongs.
    fn name(&mut self, name: &Name) {
        let from = Address {
            name: name.clone(),
            owner: Owner::Operator,
        };
        let holder = self
            .by_address
            .range(from..)
            .map(|(_, agent)| agent)
            .take_while(|agent| agent.terms.address.name == *name)
            .filter(|agent| !agent.terms.manifest.private)
            // The same one on every host that has the same agents.
            .min_by_key(|agent| {
                let owner = &agent.terms.address.owner;
                (*owner != Owner::Operator, agent.deployed_at, owner.clone())
            })
            .cloned();
        match holder {
            Some(agent) => self.by_text.insert(name.to_string(), agent),
            None => self.by_text.remove(name.as_str()),
        };
    }
}
