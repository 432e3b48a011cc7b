//! A shop: a chain, a facilitator and a host that sells executions.

use std::process::{Command, Output};

use hypervisor_tests::host::binary;
pub(crate) use hypervisor_tests::payments::purchase::{
    PYTHON, Purchase, WASM, asked, component, config, confirmed, header,
};
use hypervisor_tests::payments::{Chain, Facilitator, Payment, Version};
use hypervisor_tests::{Answer, Host};

/// One cent, in the smallest unit.
pub(crate) const PRICE: u128 = 10_000;

/// What `check` says of a configuration.
pub(crate) fn checked(config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hypervisor.toml");
    let state = folder.path().join("state");
    std::fs::write(&file, format!("executor_path = {state:?}\n{config}")).unwrap();
    let mut check = Command::new(binary("hypervisor-ctl"));
    check.args(["check", "--config"]).arg(&file);
    check.output().unwrap()
}

pub(crate) struct Shop {
    pub(crate) chain: Chain,
    pub(crate) facilitator: Facilitator,
    pub(crate) host: Host,
}

impl Shop {
    /// The official facilitator, settlements confirmed on the chain.
    pub(crate) fn open() -> Self {
        Self::with("")
    }

    pub(crate) fn with(more: &str) -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        let more = format!("{}\n{more}", confirmed(&chain));
        let host = Host::with(&config(&chain, facilitator.url(), &more));
        Self {
            chain,
            facilitator,
            host,
        }
    }

    /// A good payment of the first payer.
    pub(crate) async fn payment(&self, purchase: &Purchase) -> Payment {
        purchase.payment(&self.chain, Version::V2).await
    }
}

/// Why a payment was refused.
pub(crate) fn reason(answer: &Answer) -> String {
    asked(answer, Version::V1)["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Ends a host in order, and starts it again.
pub(crate) fn restart(host: &mut Host) {
    host.terminate();
    host.wait();
    host.kill_and_restart();
}
