//! A host with all that it can do, a chain and a facilitator, and what is called on it.

use hypervisor_bench::error::{Context, Result};
use hypervisor_client::payment::{Payer, PaymentPolicy, Price, Wallet};
use hypervisor_client::protocol::OwnerKey;
use hypervisor_client::{Client, Program};
use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator};
use hypervisor_tests::programs::{a2a_front, guest, javascript_plugin, python_plugin};

/// The agent that costs nothing.
pub(crate) const FREE: &str = "hello";
/// The same for a cent.
pub(crate) const SOLD: &str = "sold";
/// Environments that calls are spread over.
const ENVIRONMENTS: usize = 4;
/// Payers of the chain that have money.
const PAYERS: usize = 4;

pub(crate) struct Market {
    chain: Chain,
    _facilitator: Facilitator,
    pub(crate) host: Host,
    /// One for all: its connections are shared.
    pub(crate) client: Client,
    pub(crate) payers: Vec<Payer>,
    pub(crate) owner: OwnerKey,
    pub(crate) environments: Vec<String>,
    pub(crate) echo: Vec<u8>,
}

impl Market {
    /// Everything, with room for so many calls at once. One address makes them all, so it has the shares of all peers. `limits` are more
    /// of those.
    pub(crate) async fn open(at_once: usize, limits: &str) -> Result<Self> {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let selling = format!("unsettled = {at_once}\n{}\n", confirmed(&chain));
        let room = at_once + 64;
        let host = Host::logging(
            "warn",
            &format!(
                "{}[limits]\npeer_executions = {}\npeer_queue = {}\nconnections_per_peer = {}\ncompilations = 2\npeer_compilations = 2\n{limits}\n\
                 [attestation]\nbackend = 'simulated'\nsimulated_seed = 'load'\n\
                 [runtime.python]\n{}\n[runtime.javascript]\n{}\n[environments]\nsetup = true\n\
                 [[protocols]]\nname = 'a2a'\npaths = ['/a2a/']\nbackground = '2m'\n{}\n",
                config(&chain, facilitator.url(), &selling),
                room.min(512),
                room.min(1024),
                (2 * room).max(512),
                python_plugin(),
                javascript_plugin(),
                a2a_front(),
            ),
        );
        host.ready().await;
        let owner = owner();
        host.deploy(&owner, "http-hello", FREE, "").await;
        host.deploy(&owner, "http-hello", SOLD, "price = '0.01 USDC'")
            .await;
        let client = host.client();
        let tenant = host.tenant().await;
        let mut environments = Vec::with_capacity(ENVIRONMENTS);
        for _ in 0..ENVIRONMENTS {
            let source = "export function handler(event) { return event.data.toUpperCase(); }";
            environments.push(tenant.set_up("javascript", source).await.id);
        }
        let payers = (0..PAYERS).map(|index| {
            let wallet = Wallet::from_hex(&chain.payer(index).private_key());
            let most = "0.05".parse::<Price>().context("a price")?;
            Ok(Payer::new(
                wallet.context("a wallet")?,
                PaymentPolicy::new(most),
            ))
        });
        Ok(Self {
            payers: payers.collect::<Result<_>>()?,
            chain,
            _facilitator: facilitator,
            host,
            client,
            owner: tenant.owner,
            environments,
            echo: guest("echo"),
        })
    }
}

impl Market {
    /// Payments on the chain.
    pub(crate) async fn charged(&self) -> usize {
        self.chain.transfers().await.len()
    }
}

/// Whether a host does what it is there for.
pub(crate) async fn serves(host: &Host) -> Result<()> {
    let hello = guest("hello");
    let session = host.client().open_session().await.context("a session")?;
    let done = session
        .run_wasm(Program::new(&hello))
        .await
        .context("hello")?;
    match done.result == b"hello\n" {
        true => Ok(()),
        false => Err(hypervisor_bench::error::Error::new(
            "hello says something else",
        )),
    }
}

/// Holds a host to that.
pub(crate) async fn hold_serving(faults: &mut Vec<String>, when: &str, host: &Host) {
    if let Err(error) = serves(host).await {
        faults.push(format!("{when}: {error}"));
    }
}
