//! The parts that a call may need, and exchanging the plugins among them while calls go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hypervisor_account::Account;
use hypervisor_agents::{Owner, SealingKey, Shelves};
use hypervisor_evidence::Subject;
use hypervisor_peers::Member;
use hypervisor_postgres::Postgres;
use hypervisor_protocol::{HexBytes, ProblemType};
use hypervisor_server::Drain;
use hypervisor_store::Backend;
use hypervisor_telemetry::metrics::{self, history};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::body::Bodies;
use super::route::{PAID_ROUTES, Route};
use crate::agents::{self, Agents, Deployers, Neighbours};
use crate::attestation::{Attestation, HostFacts, now};
use crate::audit::{self, Done, Trail};
use crate::config::Config;
use crate::environments::{self, Environments};
use crate::error::Error;
use crate::executor::{Executor, PluginSet, Rules};
use crate::fleet::{self, Fleet, Tag};
use crate::fronts::Fronts;
use crate::manifest::{self, Manifest};
use crate::page::Page;
use crate::payments::{Payments, Teller};
use crate::sessions::Sessions;
use crate::snapshot::{Current, Snapshot};
use crate::state::State;

/// The pause before evidence is asked for again that there was not.
const RETRY: Duration = Duration::from_secs(10);

/// Everything that a call may need.
pub struct Host {
    config: Config,
    executor: Arc<Executor>,
    facts: Arc<HostFacts>,
    agents: Arc<Agents>,
    fronts: Fronts,
    /// None where nobody may use any.
    environments: Option<Arc<Environments>>,
    /// Who may.
    environment_users: Deployers,
    /// None where it is alone.
    fleet: Option<Arc<Fleet>>,
    /// What gives other hosts the fleet's key; none where they do not have it from each other.
    member: Option<Arc<Member>>,
    sessions: Sessions,
    account: Account,
    bodies: Bodies,
    payments: Option<Payments>,
    /// The database of its fleet; none where it is alone.
    shared: Option<Arc<Postgres>>,
    /// None where the configuration wants none.
    trail: Option<Arc<Trail>>,
    /// What makes evidence, or why there is none.
    attestation: Result<Attestation, String>,
    current: Current,
    /// Whether the evidence that goes with components' statements is there, or will not be.
    introduced: AtomicBool,
    /// Held while a plugin is swapped: one at a time.
    swapping: tokio::sync::Mutex<()>,
    page: Page,
    /// Whether it is to be sent nothing more.
    drain: Arc<Drain>,
    started_at: u64,
    /// How agents reach each other. Lives as long as the host does.
    inside: OnceLock<Arc<dyn Neighbours>>,
}

/// The plugins that can be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plugin {
    /// What takes payments.
    Payments,
    /// What decides, by rules.
    Policy,
    /// What makes the operator's page. It has no part in calls, and is not in the manifest.
    Status,
}

impl Plugin {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Policy => "policy",
            Self::Status => "status",
        }
    }
}

/// What is to be put in the place of a plugin, in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The component; without one the one in use stays.
    pub component: Option<HexBytes>,
    /// The policy's rules; without them a component reads those in the file of the configuration.
    pub rules: Option<HexBytes>,
}

/// A swap that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// Which plugin; `NAME.protocol` is what answers in the host's own name.
    pub plugin: String,
    /// SHA-384 of the component now in use, hex.
    pub sha384: String,
    /// SHA-256 of the rules now in use, hex; none for what has no rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_sha256: Option<String>,
    /// SHA-384 of the manifest from now on, hex.
    pub manifest_sha384: String,
    /// Entries of the component log, this one included.
    pub log_entries: u64,
}

impl Host {
    /// Puts the parts together. The payment component, where there is one, is asked about the operator's offers.
    ///
    /// # Errors
    /// What is wrong with `[payments]`, or with the store in `executor_path`.
    pub async fn start(
        config: Config,
        executor: Executor,
        plugins: PluginSet,
        facts: Arc<HostFacts>,
        attestation: Result<Attestation, String>,
        (sealing_key, drain): (Option<SealingKey>, Arc<Drain>),
    ) -> Result<Arc<Self>, Error> {
        let executor = Arc::new(executor);
        let address = fleet::address(&config)?;
        let proofs = attestation.as_ref().map_err(String::as_str);
        let state = State::open(&config.executor_path, sealing_key)?
            .sharing(&config.fleet, address.as_ref(), proofs)
            .await?;
        let trail = audit::open(&config, &state, Arc::clone(facts.identity()))?;
        // What it works on in the books is under its tag. Nobody sends to it before it has a session.
        let fleet = fleet::join(&config, &state, address, proofs.ok()).await?;
        let (payments, teller) = match plugins.payments() {
            None => (None, None),
            Some(engine) => {
                let teller = Teller::open(&config, engine, &PAID_ROUTES).await?;
                let payments = Payments::open(&config, &state, fleet.as_ref())?;
                (Some(payments), Some(teller))
            }
        };
        let asked = (plugins.policy().cloned(), teller.clone());
        let senders = agents::senders(&config)?;
        let kept = (&state, Arc::clone(&senders));
        let agents = agents::start(&config, &executor, asked, &facts, kept).await?;
        let fronts = Fronts::start(&config, &executor, &agents, &state).await?;
        let page = Page::start(&config, &executor, &facts).await?;
        let environments = environments::open(&config, &executor, (&state, senders))?;
        let snapshot = snapshot(plugins, teller, attestation.as_ref().ok());
        let tag = fleet.as_ref().map(|fleet| fleet.tag());
        Ok(Arc::new(Self {
            sessions: Sessions::new(&config.limits).of(tag),
            fleet,
            member: state.member().map(Arc::clone),
            account: Account::new(config.limits.account()),
            bodies: Bodies::new(&config.limits),
            current: Current::new(snapshot),
            environment_users: config.environments.users(),
            config,
            executor,
            facts,
            agents,
            fronts,
            environments,
            payments,
            shared: state.shared().map(Arc::clone),
            trail,
            introduced: AtomicBool::new(attestation.is_err()),
            attestation,
            swapping: tokio::sync::Mutex::default(),
            page,
            drain,
            started_at: now(),
            inside: OnceLock::new(),
        }))
    }

    /// Lets agents reach each other.
    pub(crate) fn introduce_agents(&self, inside: Arc<dyn Neighbours>) {
        self.agents.introduce(Arc::downgrade(&inside));
        self.inside.get_or_init(|| inside);
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// What makes the operator's page.
    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// What has it be sent nothing more.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Unix time, seconds.
    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// SHA-384 of the manifest, hex; none where nothing attests.
    pub(crate) fn manifest_sha384(&self) -> Option<String> {
        let attestation = self.attestation.as_ref().ok()?;
        Some(manifest::hex(&attestation.manifest().digest()))
    }

    /// Notes from time to time what happened and what is full, as long as the host runs.
    pub async fn keep_history(&self) {
        let mut rounds = tokio::time::interval(history::INTERVAL);
        loop {
            rounds.tick().await;
            history::sample(&self.account.in_hand());
        }
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The agents of the host.
    pub fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }

    /// The components that answer in the host's own name.
    pub(crate) fn fronts(&self) -> &Fronts {
        &self.fronts
    }

    /// What the components keep that answer in the host's own name; none where there are none.
    pub fn shelves(&self) -> Option<&Arc<Shelves>> {
        self.fronts.shelves()
    }

    /// The environments of the host; none where nobody may use any.
    pub fn environments(&self) -> Option<&Arc<Environments>> {
        self.environments.as_ref()
    }

    pub(crate) fn environment_users(&self) -> &Deployers {
        &self.environment_users
    }

    /// Its place among the hosts that are one service; none where it is alone.
    pub(crate) fn fleet(&self) -> Option<&Arc<Fleet>> {
        self.fleet.as_ref()
    }

    pub(crate) fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    /// Takes over what a dead node left. Whether nothing of it is left.
    pub(crate) async fn take_over(&self, dead: Tag) -> bool {
        self.payments().is_none_or(|it| it.take_over(dead))
    }

    /// Live sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    pub(crate) fn payments(&self) -> Option<&Payments> {
        self.payments.as_ref()
    }

    /// The audit trail; none where the configuration wants none.
    pub fn trail(&self) -> Option<&Arc<Trail>> {
        self.trail.as_ref()
    }

    /// Enters into the audit trail what the host did; the digest of the entry, where there is a trail.
    pub(crate) fn did(&self, done: &Done<'_>) -> Option<[u8; 32]> {
        Some(audit::enter(self.trail.as_ref()?, done))
    }

    /// Enters into the audit trail what an operator did by the admin port, and what to. For the action's name, and nothing that a
    /// client sent.
    pub(crate) fn operated(&self, action: &str, subject: &str) {
        self.did(&Done::Operated(action, subject));
    }

    /// Refuses to begin what could not be entered into the audit trail for want of room before the disk.
    pub(crate) fn can_account(&self) -> Result<(), Refusal> {
        match self.trail.as_ref().is_some_and(|trail| trail.is_full()) {
            true => Err(Refusal::unaccountable()),
            false => Ok(()),
        }
    }

    /// What the host is now. To be asked once for each call.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.get()
    }

    /// What makes evidence.
    pub(crate) fn attestation(&self) -> Result<&Attestation, Refusal> {
        let attestation = self
            .attestation
            .as_ref()
            .map_err(|reason| Refusal::unattested(reason))?;
        attestation.check()?;
        Ok(attestation)
    }

    /// Returns when nothing runs: what goes on without a client has ended too.
    pub async fn idle(&self) {
        self.account.idle(self.config.limits.executions).await;
    }

    /// Bytes of a component at most.
    pub fn most_bytes(&self) -> u64 {
        self.config.limits.body.as_u64()
    }

    /// Refuses a route that runs what clients bring for nothing, where the operator wants none.
    pub(crate) fn gives_away(&self, route: &Route) -> Result<(), Refusal> {
        if route.brings_program() && !self.config.routes.free {
            return Err(Refusal::new(
                ProblemType::NotFound,
                "this host runs nothing for free; GET /openapi.json lists the paid routes",
            ));
        }
        Ok(())
    }

    /// Whether the database of its fleet answers, as far as is known; none where it is alone.
    pub(crate) fn shares(&self) -> Option<bool> {
        self.shared.as_ref().map(|it| it.is_well())
    }

    /// Why requests should go elsewhere; none where all is well.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.drain.is_on() {
            return Some("the host is draining: it takes nothing more");
        }
        if self.facts.log().is_poisoned() {
            return Some(
                "the component log and the runtime register disagree: no evidence until the host is restarted",
            );
        }
        // A store that a fleet shares fails for all of its hosts at once: they go on with what needs none.
        let has_books = self.config.fleet.is_on() || self.payments().is_none_or(Payments::is_well);
        if !has_books {
            return Some(
                "the payment store cannot be written: nothing is sold until its disk has room and works",
            );
        }
        if self.trail().is_some_and(|it| !it.is_well()) {
            return Some(
                "the audit trail cannot be written: nothing more is begun once too much waits for its disk",
            );
        }
        let introduced = self.introduced.load(Ordering::Acquire);
        (!introduced).then_some("the evidence of this host's identity is being made")
    }

    /// Gets the evidence that goes with components' statements, as long as the host runs: other evidence when more was loaded.
    pub async fn introduce(&self) {
        let Ok(attestation) = &self.attestation else {
            return;
        };
        let mut grown = self.facts.log().watch();
        loop {
            grown.mark_unchanged();
            let attested = attestation.evidence(None, Subject::Identity, None).await;
            self.introduced.store(true, Ordering::Release);
            match attested {
                Ok(attested) => {
                    self.facts.introduce(Arc::clone(attested.evidence()));
                    // The log is there as long as the host is.
                    let _ = grown.changed().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "components cannot make statements, or those that were loaded last cannot");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Tells the operator when the collateral that goes with quotes expires, as long as the host runs.
    pub async fn watch_collateral(&self) {
        if let Ok(attestation) = &self.attestation {
            attestation.watch_collateral().await;
        }
    }

    /// When that collateral expires, in Unix seconds: 0 where it cannot be read, none where there is none.
    pub(crate) fn collateral_expires_at(&self) -> Option<u64> {
        let collateral = self.attestation.as_ref().ok()?.collateral()?;
        Some(collateral.expires_at().unwrap_or_default())
    }

    /// What waits for a quote, by class; none where there are no quotes.
    pub(crate) fn quotes_waiting(&self) -> Option<[(&'static str, usize); 4]> {
        self.attestation.as_ref().ok().map(Attestation::waiting)
    }

    /// Clears doubts about payments, as long as the host runs.
    pub async fn clear_doubts(&self) {
        if let Some(payments) = &self.payments {
            payments
                .clear_doubts(|| self.snapshot().teller.clone())
                .await;
        }
    }

    /// Puts a component in the place of a plugin, other rules in the place of the policy's, or both: checked, compiled, measured
    /// and tried first, then in use for every call that enters later. Calls under way finish on the snapshot that they entered
    /// with. Whatever goes wrong changes neither plugins nor manifest; a component that was tried stays in the component log, for
    /// it was measured before it was instantiated. Rules are no component: they are in the manifest alone.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn swap(&self, plugin: Plugin, with: Replacement) -> Result<Swapped, String> {
        let _one = self.swapping.lock().await;
        let program = self.facts.program_sha384();
        let before = Manifest::new(&self.config, &self.snapshot().plugins, program).sha384();
        let exchanged = self.exchange(plugin, with).await;
        let (sha384, plugins, teller) =
            exchanged.inspect_err(|_| metrics::swap(plugin.name(), "refused"))?;
        let rules = plugins.policy().filter(|_| plugin == Plugin::Policy);
        let rules_sha256 = rules.map(|policy| manifest::hex(policy.rules_digest()));
        let manifest = Manifest::new(&self.config, &plugins, program);
        let (after, manifest_sha384) = (manifest.sha384(), manifest.digest());
        let attestation = self.attestation.as_ref().ok();
        if let Some(attestation) = attestation {
            attestation.replace_manifest(manifest.encode());
        }
        // Before any call meets the plugin.
        self.did(&Done::Swapped(plugin.name(), &before, &after));
        self.current.publish(snapshot(plugins, teller, attestation));
        let log_entries = self.facts.log().length();
        metrics::swap(plugin.name(), "swapped");
        tracing::warn!(
            plugin = plugin.name(),
            sha384,
            rules_sha256,
            manifest_sha384,
            "a plugin was swapped: clients that verified this host must verify it again"
        );
        Ok(Swapped {
            plugin: plugin.name().to_owned(),
            sha384,
            rules_sha256,
            manifest_sha384,
            log_entries,
        })
    }

    /// Puts a component in the place of what answers in the host's own name and is called this: checked, compiled and measured first.
    /// Requests under way finish on the old one. The manifest stays: it has no fronts.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn swap_front(
        &self,
        name: &str,
        with: Replacement,
    ) -> Result<Swapped, String> {
        let _one = self.swapping.lock().await;
        let plugin = format!("{name}.{}", Owner::Protocol);
        let parts = (&self.config, &*self.executor, &*self.agents);
        let enter = |before: &[u8; 48], after: &[u8; 48]| {
            self.did(&Done::Swapped(&plugin, before, after));
        };
        let exchanged = match (with.component, with.rules) {
            (Some(HexBytes(it)), None) => self.fronts.exchange(parts, name, it, enter).await,
            (None, _) => Err("nothing was sent to be swapped in".to_owned()),
            (Some(_), Some(_)) => Err("only the policy has rules".to_owned()),
        };
        let after = exchanged.inspect_err(|_| metrics::swap("protocol", "refused"))?;
        metrics::swap("protocol", "swapped");
        let sha384 = manifest::hex(&after);
        let program = self.facts.program_sha384();
        let manifest_sha384 =
            Manifest::new(&self.config, &self.snapshot().plugins, program).digest();
        tracing::warn!(plugin, sha384, "a front was swapped");
        Ok(Swapped {
            plugin,
            sha384,
            rules_sha256: None,
            manifest_sha384,
            log_entries: self.facts.log().length(),
        })
    }

    /// Makes the new plugin ready; gives its digest, the plugins with it in its place, and what takes payments then.
    async fn exchange(
        &self,
        plugin: Plugin,
        with: Replacement,
    ) -> Result<(String, PluginSet, Option<Teller>), String> {
        let snapshot = self.snapshot();
        let plugins = &snapshot.plugins;
        let refused = |error: Error| error.to_string();
        let config = &self.config;
        let absent = |section| {
            format!(
                "this host was started without a plugin in [{section}], so there is none to swap; restart it with one"
            )
        };
        let component = with.component.map(|component| component.0);
        let rules = with.rules.map(|rules| Rules::Sent(rules.0));
        match (plugin, component, rules) {
            (Plugin::Policy, ..) if plugins.policy().is_none() => Err(absent("policy")),
            (Plugin::Payments, ..) if self.payments.is_none() => Err(absent("payments")),
            (Plugin::Policy, Some(component), rules) => {
                let mut settings = config.policy_settings();
                settings.rules = rules.unwrap_or(settings.rules);
                let fresh = self.executor.fresh_policy(component, settings);
                let fresh = fresh.await.map_err(|e| refused(e.into()))?;
                let sha384 = fresh.sha384().to_owned();
                Ok((sha384, plugins.with_policy(fresh), snapshot.teller.clone()))
            }
            (Plugin::Policy, None, Some(rules)) => {
                let plugins = plugins.with_rules(rules).await;
                let plugins = plugins.map_err(|e| refused(e.into()))?;
                let plugins = plugins.ok_or_else(|| absent("policy"))?;
                let sha384 = plugins.policy_sha384().unwrap_or_default().to_owned();
                Ok((sha384, plugins, snapshot.teller.clone()))
            }
            (Plugin::Payments, Some(component), None) => {
                let settings = config.payment_settings().map_err(|e| refused(e.into()))?;
                let fresh = self.executor.fresh_payments(component, settings);
                let fresh = fresh.await.map_err(|e| refused(e.into()))?;
                let teller = Teller::open(config, &fresh.engine, &PAID_ROUTES).await;
                let teller = teller.map_err(refused)?;
                for (price, pay_to) in self.agents.prices() {
                    let offers = teller.offers(&price, pay_to.as_deref()).await;
                    offers.map_err(|words| format!("the price of a deployed agent: {words}"))?;
                }
                let sha384 = fresh.sha384().to_owned();
                Ok((sha384, plugins.with_payments(fresh), Some(teller)))
            }
            (Plugin::Status, Some(component), None) => {
                let sha384 = self.page.exchange(&component, &self.facts).await?;
                Ok((
                    manifest::hex(&sha384),
                    plugins.clone(),
                    snapshot.teller.clone(),
                ))
            }
            (Plugin::Payments | Plugin::Status, _, Some(_)) => {
                Err("only the policy has rules".to_owned())
            }
            (_, None, None) => Err("nothing was sent to be swapped in".to_owned()),
        }
    }
}

/// What the host is with these plugins.
fn snapshot(
    plugins: PluginSet,
    teller: Option<Teller>,
    attestation: Option<&Attestation>,
) -> Snapshot {
    Snapshot {
        teller,
        plugins,
        manifest: attestation.map(Attestation::manifest),
    }
}
