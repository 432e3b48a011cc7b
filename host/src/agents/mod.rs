//! Deployed agents: the live ones, how they come and go, and what they may reach.

mod catalog;
mod deploy;
mod deployed;
mod egress;
mod load;
mod log;
mod plan;
mod set;
mod take_up;
mod terms;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use hypervisor_agents::{Address, Index, Manifest, Owner, Registry, Store};
use hypervisor_egress::{Sender, SystemResolver};
use hypervisor_protocol::{AgentInfo, AgentList, Found, HexArray};

use crate::attestation::HostFacts;
use crate::config::{self, Config, Limits};
use crate::error::Error;
use crate::executor::{Agent, Executor, Offer};
use crate::payments::Offering;
use crate::state::State;
use catalog::Catalog;
use egress::Network;
use set::Set;

pub use deploy::NotTaken;
pub use deployed::Deployed;
pub(crate) use egress::declared_length;
pub use egress::{Caller, Neighbours};
pub use plan::{Plan, Refused, words};

/// What the path of a request to an agent begins with.
pub(crate) const PREFIX: &str = "/agents/";

/// The agents of a host.
pub struct Agents {
    executor: Arc<Executor>,
    facts: Arc<HostFacts>,
    settings: config::Agents,
    limits: Limits,
    network: Arc<Network>,
    registry: Arc<Registry>,
    catalog: Arc<Catalog>,
    store: Arc<Store>,
    index: Arc<Index>,
    set: RwLock<Set>,
    /// Held while the set changes: deployments are checked and written one after the other.
    changing: tokio::sync::Mutex<()>,
    /// Agents whose code is in memory.
    loaded: moka::future::Cache<u64, Agent>,
    /// What the component log has already, since this start.
    measured: Mutex<HashSet<(String, [u8; 48])>>,
    next: AtomicU64,
    /// What makes offers of prices, where payments are taken.
    payments: Option<Offering>,
}

impl Agents {
    /// Without those that were deployed before a restart: see [`Self::take_up`].
    ///
    /// # Errors
    /// What is wrong with `[agents]`, with the registry or with the store.
    pub(crate) async fn start(
        config: &Config,
        executor: &Arc<Executor>,
        facts: &Arc<HostFacts>,
        payments: Option<Offering>,
        state: &State,
    ) -> Result<Arc<Self>, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
        let settings = config.agents.clone();
        let resolver = Arc::new(SystemResolver);
        let networks = settings.networks()?.elsewhere(config.own_ports()?);
        let sender = Sender::new(networks, resolver).map_err(|e| failed(&e))?;
        let network = Network::new(settings.allowed()?, sender, &settings);
        if settings.is_open() {
            tracing::warn!(
                "every client may deploy agents on this host: `deploy = true` in [agents], and `owners` names nobody"
            );
        }
        let store = opened(state)?;
        let loaded = moka::future::Cache::builder()
            .max_capacity(settings.loaded.as_u64())
            .weigher(|_, agent: &Agent| u32::try_from(agent.code_bytes()).unwrap_or(u32::MAX))
            .build();
        let agents = Self {
            executor: Arc::clone(executor),
            facts: Arc::clone(facts),
            limits: config.limits.clone(),
            network: Arc::new(network),
            registry: Arc::new(Registry::open(&config.app_path).map_err(|e| failed(&e))?),
            catalog: Arc::new(Catalog::new(&config.app_path, config.limits.body.as_u64())),
            store: Arc::new(store),
            index: Arc::new(Index::new()),
            set: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            loaded,
            measured: Mutex::default(),
            next: AtomicU64::new(1),
            payments,
            settings,
        };
        Ok(Arc::new(agents))
    }

    /// Makes the agents reachable for each other.
    pub fn introduce(&self, neighbours: Weak<dyn Neighbours>) {
        self.network.introduce(neighbours);
    }

    /// The agent that somebody means by a name or an address. `owner` is who asks, where that is proved.
    pub fn find(&self, reference: &str, owner: Option<&Owner>) -> Option<Arc<Deployed>> {
        self.set().find(reference, owner)
    }

    /// The shortest name by which everybody finds an agent: the same one whatever name a caller used.
    pub(crate) fn reference(&self, agent: &Deployed) -> String {
        self.set().shortest(agent)
    }

    /// What may be said of an agent.
    pub fn info(&self, agent: &Deployed) -> AgentInfo {
        agent.info(&self.set().shortest(agent))
    }

    /// Those that everybody may know of.
    pub fn public(&self) -> AgentList {
        self.list(|agent| !agent.terms.manifest.private)
    }

    /// Those of one owner.
    pub fn of_owner(&self, owner: Option<&Owner>) -> AgentList {
        self.list(|agent| Some(agent.owner()) == owner)
    }

    fn list(&self, wanted: impl Fn(&Deployed) -> bool) -> AgentList {
        let set = self.set();
        let agents = set
            .all()
            .filter(|agent| wanted(agent))
            .map(|agent| agent.info(&set.shortest(agent)))
            .collect();
        AgentList { agents }
    }

    /// The offers of all that have a price.
    pub(crate) fn all_offers(&self) -> Vec<Arc<[Offer]>> {
        self.set()
            .all()
            .filter_map(|agent| agent.offers().cloned())
            .collect()
    }

    /// Number of agents.
    pub fn len(&self) -> usize {
        self.set().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that match a description best, deployed or in the registry.
    ///
    /// # Errors
    /// When the search is lost.
    pub async fn search(&self, description: String, limit: usize) -> Result<Vec<Found>, String> {
        let (index, catalog) = (Arc::clone(&self.index), Arc::clone(&self.catalog));
        let registry = Arc::clone(&self.registry);
        // An agent may be deployed and in the registry, under two numbers.
        let most = limit.saturating_mul(2);
        let find = move || {
            catalog.refresh(&registry, &index);
            index.find(&description, most)
        };
        let matches = tokio::task::spawn_blocking(find)
            .await
            .map_err(|e| e.to_string())?;
        let set = self.set();
        let found = |(id, score): (u64, f64)| match set.numbered(id) {
            Some(agent) => Some(found(
                &agent.terms.address,
                &agent.terms.manifest,
                agent.terms.digest,
                score,
                true,
            )),
            None => {
                let entry = self.catalog.get(id)?;
                let address = Address {
                    name: entry.manifest.name.clone(),
                    owner: Owner::Operator,
                };
                let is_new = set.get(&address).is_none() && !entry.manifest.private;
                is_new.then(|| found(&address, &entry.manifest, entry.digest, score, false))
            }
        };
        Ok(matches.into_iter().filter_map(found).take(limit).collect())
    }

    /// Lets go of instances that nobody needed for a while.
    pub fn sweep(&self) {
        for (_, agent) in &self.loaded {
            if let Agent::Service(service) = agent {
                service.sweep();
            }
        }
    }

    fn set(&self) -> std::sync::RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_mut(&self) -> std::sync::RwLockWriteGuard<'_, Set> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// The store of agents, with what an earlier version kept in files.
fn opened(state: &State) -> Result<Store, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Agents(e.to_string());
    let rows = state.store("agents", &hypervisor_agents::store::TABLES)?;
    let store = Store::open(rows).map_err(|e| failed(&e))?;
    let folder = state.folder().join("agents");
    let (moved, damaged) = store
        .import(&folder, state.platform())
        .map_err(|e| failed(&e))?;
    if moved > 0 {
        tracing::info!(moved, "agents were moved from files into the store");
    }
    for damaged in damaged {
        tracing::error!(error = %damaged, "an agent cannot be read");
    }
    Ok(store)
}

fn found(
    address: &Address,
    manifest: &Manifest,
    digest: [u8; 32],
    score: f64,
    deployed: bool,
) -> Found {
    Found {
        name: address.name.to_string(),
        address: address.to_string(),
        description: manifest.description.clone(),
        version: manifest.version.clone(),
        skills: manifest.skills.clone(),
        score,
        price: manifest.price.clone(),
        digest: HexArray(digest),
        deployed,
    }
}
