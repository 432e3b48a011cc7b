//! A fleet whose hosts give each other the key, with the policy by which they judge each other.

use std::fs;
use std::path::{Path, PathBuf};

use hypervisor_evidence::{Evidence, manifest};
use hypervisor_protocol::ContentFormat;
use hypervisor_simulated::Simulator;
use hypervisor_verify::tdx::TdxQuote;
use tempfile::TempDir;

use crate::Host;
use crate::fleet::Fleet;
use crate::postgres::Postgres;

/// The image that a simulator says it is, as a policy names it, with what it lets a host load and how it lets it be set.
pub fn policy_text(roots: &str, simulator: &Simulator, manifests: &str) -> String {
    let quote = simulator.raw_quote(&[7; 64]).unwrap();
    let report = TdxQuote::parse(&quote).unwrap().report;
    let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmr;
    let mut text = format!(
        "version = 1\nroots.{roots}\n[components]\nany = true\n[manifest]\n{manifests}\n[[tdx.reference]]\nname = \"image\"\n"
    );
    for (name, value) in [
        ("mrtd", &report.mrtd[..]),
        ("rtmr0", &rtmr0),
        ("rtmr1", &rtmr1),
        ("rtmr2", &rtmr2),
        ("rtmr3", &rtmr3),
        ("xfam", &report.xfam),
        ("td_attributes", &report.td_attributes),
        ("mrowner", &report.mrowner),
    ] {
        text += &format!("{name} = \"{}\"\n", const_hex::encode(value));
    }
    text
}

/// A fleet whose hosts prove themselves by a simulator.
pub struct Peers {
    /// The database, and what can be done to it.
    pub fleet: Fleet,
    config: String,
    folder: TempDir,
    /// The policy that its hosts go by.
    pub policy: PathBuf,
}

impl Peers {
    /// One whose hosts have this configuration, which is the only one that its policy accepts.
    pub async fn start(config: &str) -> Self {
        let alone = Host::with(&attested(config));
        let accepted = manifest::digest(&document_of(&alone).await);
        Self::over(Postgres::start(), config, &allowed(&accepted))
    }

    /// One with this database, and what its policy says of manifests.
    pub fn over(database: Postgres, config: &str, manifests: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let policy = folder.path().join("fleet.toml");
        fs::write(&policy, text(manifests)).unwrap();
        Self {
            fleet: Fleet::over(database),
            config: attested(config),
            policy,
            folder,
        }
    }

    /// Another policy: the same with a line of comment, or one that accepts another manifest.
    pub fn another_policy(&self, accepted: Option<[u8; 48]>) -> PathBuf {
        let text = match accepted {
            Some(accepted) => text(&allowed(&accepted)),
            None => format!("# Another.\n{}", fs::read_to_string(&self.policy).unwrap()),
        };
        let path = self.folder.path().join("another.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The configuration of its hosts without the fleet.
    pub fn attests(&self) -> &str {
        &self.config
    }

    /// The configuration of one of its hosts, with more lines and this policy.
    pub fn config(&self, more: &str, policy: &Path) -> String {
        format!(
            "{}\n{more}\n[fleet]\nstore = '{}'\nkey = 'peers'\npolicy = {policy:?}\nadvertise = '127.0.0.1:0'\n",
            self.config,
            self.fleet.database.url()
        )
    }

    /// One of its hosts.
    pub fn host(&self) -> Host {
        Host::with(&self.config("", &self.policy))
    }

    /// What a host of this configuration says when it does not start.
    pub fn refused(&self, more: &str, policy: &Path) -> String {
        Host::refused(&self.config(more, policy))
    }
}

const SEED: &str = "a fleet of peers";

/// A configuration with evidence.
fn attested(config: &str) -> String {
    format!("[attestation]\nbackend = 'simulated'\nsimulated_seed = '{SEED}'\n{config}")
}

fn allowed(manifest: &[u8; 48]) -> String {
    format!("allowed = [\"{}\"]", const_hex::encode(manifest))
}

fn text(manifests: &str) -> String {
    let simulator = Simulator::builder(SEED.as_bytes()).build().unwrap();
    let root = const_hex::encode(simulator.fingerprint());
    policy_text(&format!("simulated = \"{root}\""), &simulator, manifests)
}

/// A host's manifest, as its evidence has it.
pub async fn document_of(host: &Host) -> Vec<u8> {
    let nonce = "0123456789abcdef".repeat(2);
    let url = format!("{}/attestation?nonce={nonce}", host.url());
    let asked = reqwest::Client::new().get(url);
    let answer = asked.header("accept", "application/cbor").send().await;
    let body = answer.unwrap().bytes().await.unwrap();
    let evidence = Evidence::decode(ContentFormat::Cbor, &body).unwrap();
    evidence.manifest.unwrap()
}
