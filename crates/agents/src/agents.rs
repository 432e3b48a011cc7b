//! The agents of a host: the live ones, how they are found, and what may be said of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use hypervisor_egress::Senders;
use hypervisor_protocol::{AgentInfo, AgentList, Found, HexArray};
use hypervisor_runtime::{Agent, Executor, PolicyEngine};
use hypervisor_store::Fingerprint;

use crate::catalog::Catalog;
use crate::deployed::Deployed;
use crate::egress::{Neighbours, Network};
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::name::{Address, Owner};
use crate::registry::Registry;
use crate::search::Index;
use crate::set::Set;
use crate::store::Store;
use crate::surroundings::{Settings, Surroundings};

/// What agents are put together from.
pub struct Parts {
    /// Compiles and links them.
    pub executor: Arc<Executor>,
    /// Asked whether what was deployed before a restart may be there still.
    pub policy: Option<Arc<PolicyEngine>>,
    /// The host around them.
    pub host: Arc<dyn Surroundings>,
    /// The operator's folder.
    pub registry: Registry,
    /// What survives a restart.
    pub store: Store,
    /// Sends their requests, to the networks that are allowed.
    pub senders: Arc<Senders>,
    /// What they may have.
    pub settings: Settings,
}

/// The agents of a host.
pub struct Agents {
    pub(crate) executor: Arc<Executor>,
    pub(crate) host: Arc<dyn Surroundings>,
    pub(crate) settings: Settings,
    pub(crate) network: Arc<Network>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) store: Arc<Store>,
    pub(crate) index: Arc<Index>,
    set: RwLock<Set>,
    /// Held while the set changes: deployments are checked and written one after the other.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// What the store was like when others' changes were last taken up.
    pub(crate) followed: Mutex<Fingerprint>,
    /// Agents whose code is in memory.
    pub(crate) loaded: moka::future::Cache<u64, Agent>,
    next: AtomicU64,
}

impl Agents {
    /// Takes up the agents that were deployed before a restart, as far as operator and policy still allow them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let Parts {
            executor,
            policy,
            host,
            registry,
            store,
            senders,
            settings,
        } = parts;
        let loaded = moka::future::Cache::builder()
            .max_capacity(settings.loaded.as_u64())
            .weigher(|_, agent: &Agent| u32::try_from(agent.code_bytes()).unwrap_or(u32::MAX))
            .build();
        let agents = Self {
            network: Arc::new(Network::new(&host, senders, &settings)),
            catalog: Arc::new(Catalog::new(registry, settings.component)),
            store: Arc::new(store),
            index: Arc::new(Index::new()),
            set: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            followed: Mutex::default(),
            loaded,
            next: AtomicU64::new(1),
            executor,
            host,
            settings,
        };
        agents.take_up(policy.as_deref()).await?;
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
    pub fn reference(&self, agent: &Deployed) -> String {
        self.set().shortest(agent)
    }

    /// What may be said of an agent.
    pub fn info(&self, agent: &Deployed) -> AgentInfo {
        agent.info(&self.reference(agent))
    }

    /// Those that everybody may know of.
    pub fn public(&self) -> AgentList {
        self.list(|agent| !agent.terms.manifest.private)
    }

    /// All, for the operator: private ones too.
    pub fn all(&self) -> AgentList {
        self.list(|_| true)
    }

    /// Those of one owner.
    pub fn of_owner(&self, owner: &Owner) -> AgentList {
        self.list(|agent| agent.terms.owner() == owner)
    }

    fn list(&self, wanted: impl Fn(&Deployed) -> bool) -> AgentList {
        let set = self.set();
        let wanted = set.all().filter(|agent| wanted(agent));
        AgentList {
            agents: wanted
                .map(|agent| agent.info(&set.shortest(agent)))
                .collect(),
        }
    }

    /// Those that everybody may know of and that have a price, each with the shortest name by which it is found.
    pub fn sold(&self) -> Vec<(String, Arc<Deployed>)> {
        let set = self.set();
        let is_sold = |it: &&Arc<Deployed>| {
            let manifest = &it.terms.manifest;
            manifest.price.is_some() && !manifest.private
        };
        let sold = set.all().filter(is_sold);
        sold.map(|it| (set.shortest(it), Arc::clone(it))).collect()
    }

    /// The prices of all that have one, and who is paid where the manifest names somebody.
    pub fn prices(&self) -> Vec<(String, Option<String>)> {
        let set = self.set();
        let manifests = set.all().map(|it| &it.terms.manifest);
        manifests
            .filter_map(|it| Some((it.price.clone()?, it.pay_to.clone())))
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
        // An agent may be deployed and in the registry, under two numbers.
        let most = limit.saturating_mul(2);
        let find = move || {
            catalog.refresh(&index);
            index.find(&description, most)
        };
        let matches = tokio::task::spawn_blocking(find)
            .await
            .map_err(|e| e.to_string())?;
        let set = self.set();
        let found = |(id, score): (u64, f64)| {
            if let Some(agent) = set.numbered(id) {
                let terms = &agent.terms;
                let digest = terms.digest;
                return Some(found(&terms.address, &terms.manifest, digest, score, true));
            }
            let entry = self.catalog.get(id)?;
            let address = Address {
                name: entry.found.name,
                owner: Owner::Operator,
            };
            let manifest = &entry.found.manifest;
            let is_new = set.get(&address).is_none() && !manifest.private;
            is_new.then(|| found(&address, manifest, entry.digest, score, false))
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

    pub(crate) fn set(&self) -> RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mut(&self) -> RwLockWriteGuard<'_, Set> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
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
