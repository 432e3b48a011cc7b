//! Joiner and member without a network between them, over rows in memory.

use std::path::Path;
use std::sync::Arc;

use hypervisor_attestation::{Attestation, Identity, Measured, now};
use hypervisor_evidence::{Attester, Peer};
use hypervisor_fleet::{NODES, Tag};
use hypervisor_protocol::fleet_key::Exchange;
use hypervisor_protocol::{HexArray, HexBytes, PrivateKey};
use hypervisor_simulated::Simulator;
use hypervisor_store::{Backend, Disk, RawChange, RawRow, Ring, SealingKey};
use hypervisor_verify::tdx::TdxQuote;
use zeroize::Zeroizing;

use crate::error::{Error, Refused};
use crate::judge::{Judge, evidence};
use crate::member::Member;
use crate::message::{self, Answer, Challenge, Proof};
use crate::rows::{Rows, Vault};
use crate::terms::Terms;

mod turns;

const SEED: &[u8] = b"tests of peers";

fn rows() -> Rows {
    Rows::of(backend())
}

fn backend() -> Arc<dyn Backend> {
    let memory = || Ok(redb::backends::InMemoryBackend::new());
    Arc::new(Disk::over(Path::new("memory"), memory).unwrap())
}

pub(crate) fn key(byte: u8) -> SealingKey {
    SealingKey::new(Zeroizing::new([byte; 32]))
}

pub(crate) fn ring(byte: u8) -> Arc<Ring> {
    Arc::new(Ring::of(&key(byte)).unwrap())
}

/// A host that has the key 7.
pub(crate) fn member(rows: Rows, terms: &Terms) -> Member {
    Member::new(ring(7), rows, terms, (None, None)).unwrap()
}

fn simulator() -> Simulator {
    Simulator::builder(SEED).build().unwrap()
}

pub(crate) fn terms() -> Terms {
    let simulator = simulator();
    let quote = simulator.raw_quote(&[7; 64]).unwrap();
    let report = TdxQuote::parse(&quote).unwrap().report;
    let mut text = format!(
        "version = 1\nroots.simulated = \"{}\"\n[components]\nany = true\n[manifest]\nany = true\n[[tdx.reference]]\nname = \"image\"\n",
        const_hex::encode(simulator.fingerprint())
    );
    let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmr;
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
    Terms::parse(text).unwrap()
}

/// A host that goes by `terms`.
pub(crate) fn attestation(terms: &Terms) -> Attestation {
    use hypervisor_evidence::manifest::FleetKey;
    let attester: Arc<dyn Attester> = Arc::new(simulator());
    let log = Arc::new(Measured::on(&attester, None).unwrap());
    let collateral = simulator().collateral_json().unwrap();
    let collateral = hypervisor_attestation::Collateral::new(collateral.into_bytes());
    #[derive(serde::Serialize)]
    struct Manifest {
        fleet: FleetKey,
    }
    let manifest = Manifest {
        fleet: FleetKey::Peers(terms.sha256()),
    };
    let identity = Arc::new(Identity::generate().unwrap());
    let manifest = message::encode(&manifest);
    Attestation::start(attester, identity, log, Some(collateral), manifest, None).unwrap()
}

/// A joiner that was told what to prove.
struct Joiner {
    own: PrivateKey,
    challenge: Challenge,
    proof: Proof,
}

impl Joiner {
    async fn of(member: &Member, attestation: &Attestation) -> Self {
        let challenge: Challenge = message::decode(&member.challenge().unwrap()).unwrap();
        let own = PrivateKey::generate();
        let end = Peer {
            joins: true,
            own_public_key: own.public_key().clone(),
            exchange: challenge.exchange,
            other_public_key: message::key(&challenge.public_key).unwrap(),
        };
        let evidence = evidence(attestation, end, challenge.nonce.0).await.unwrap();
        let proof = Proof {
            exchange: challenge.exchange,
            public_key: HexBytes(own.public_key().to_bytes().to_vec()),
            nonce: HexArray(std::array::from_fn(|at| at as u8)),
            evidence: HexBytes(evidence),
        };
        Self {
            own,
            challenge,
            proof,
        }
    }

    async fn asks(&self, member: &Member, attestation: &Attestation) -> Answer {
        let proof = message::encode(&self.proof);
        message::decode(&member.answer(attestation, None, &proof).await).unwrap()
    }

    /// What the answer gives.
    fn opens(&self, judge: &Judge, answer: Answer) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let Answer::Given { evidence, sealed } = answer else {
            panic!("{answer:?}")
        };
        let member = message::key(&self.challenge.public_key)?;
        let end = Peer {
            joins: false,
            own_public_key: member.clone(),
            exchange: self.challenge.exchange,
            other_public_key: self.own.public_key().clone(),
        };
        judge.judge(&end, (self.proof.nonce.0, now()), &evidence.0)?;
        let exchange = Exchange {
            joiner: self.own.public_key(),
            member: &member,
            id: self.challenge.exchange,
            policy: judge.policy(),
        };
        let opened = exchange.open(&self.own, &sealed.0);
        opened.map_err(|error| message::malformed(&error.to_string()))
    }
}

fn check(answer: Answer) -> String {
    match answer {
        Answer::Refused { check, .. } => check,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_proves_itself_gets_the_key_once_for_each_exchange() {
    let terms = terms();
    let attestation = attestation(&terms);
    let member = member(rows(), &terms);
    let joiner = Joiner::of(&member, &attestation).await;
    let answer = joiner.asks(&member, &attestation).await;
    let judge = terms.judge().unwrap();
    let given = joiner.opens(&judge, answer.clone()).unwrap();
    assert_eq!(given, member.ring().write());
    assert_eq!(check(joiner.asks(&member, &attestation).await), "message");
    // An answer of one exchange is of no use in another.
    let other = Joiner::of(&member, &attestation).await;
    let why = other.opens(&judge, answer).unwrap_err();
    assert!(
        ["session-key", "session-id"].contains(&why.check.as_str()),
        "{why}"
    );
}

#[tokio::test]
async fn what_a_joiner_proves_is_for_this_member_this_exchange_and_its_own_key() {
    let terms = terms();
    let attestation = attestation(&terms);
    let [member, other] = [(); 2].map(|()| member(rows(), &terms));
    let joiner = Joiner::of(&member, &attestation).await;
    let elsewhere = joiner.asks(&other, &attestation).await;
    assert!(["nonce", "client-key"].contains(&check(elsewhere).as_str()));
    let asks = async |proof: Proof| {
        let proof = message::encode(&proof);
        let answer = member.answer(&attestation, None, &proof).await;
        check(message::decode(&answer).unwrap())
    };
    let own = PrivateKey::generate().public_key().to_bytes().to_vec();
    let with_its_key = Proof {
        public_key: HexBytes(own),
        ..joiner.proof.clone()
    };
    assert_eq!(asks(with_its_key).await, "session-key");
    let second = Joiner::of(&member, &attestation).await;
    let in_another = Proof {
        exchange: second.challenge.exchange,
        ..joiner.proof.clone()
    };
    assert!(["nonce", "session-id"].contains(&asks(in_another).await.as_str()));
    let over = Proof {
        exchange: hypervisor_protocol::SessionId::from_bytes([0; 16]),
        ..joiner.proof.clone()
    };
    assert_eq!(asks(over).await, "message");
    // What was refused did not use the exchange up.
    let answer = joiner.asks(&member, &attestation).await;
    assert!(joiner.opens(&terms.judge().unwrap(), answer).is_ok());
}

#[test]
fn one_of_those_that_begin_at_once_makes_the_key() {
    let rows = rows();
    assert!(rows.key().unwrap().is_none());
    assert!(rows.begin(&ring(1)).unwrap());
    assert!(!rows.begin(&ring(2)).unwrap());
    assert_eq!(rows.key().unwrap().unwrap().id, ring(1).id());
}

#[test]
fn keys_that_were_sealed_open_on_their_platform_by_their_policy_alone() {
    let rows = rows();
    let (platform, sealed) = (key(8), ring(1));
    let vault = |platform: &SealingKey, policy| Vault::of(&rows, platform, policy).unwrap();
    vault(&platform, [1; 32]).keep(&sealed).unwrap();
    // A host like it does so again, with what is newer.
    sealed.offer(key(2)).unwrap();
    vault(&platform, [1; 32]).keep(&sealed).unwrap();
    let opened = vault(&platform, [1; 32]).open(sealed.id()).unwrap();
    assert_eq!(opened.unwrap().write(), sealed.write());
    let opens = |platform: u8, policy, id| {
        let opened = vault(&key(platform), policy).open(id);
        opened.unwrap().is_some()
    };
    assert!(opens(8, [1; 32], sealed.id()));
    assert!(!opens(8, [2; 32], sealed.id()));
    assert!(!opens(9, [1; 32], sealed.id()));
    assert!(!opens(8, [1; 32], [0; 8]));
}

#[test]
fn a_member_is_where_it_says_as_long_as_it_is_seen() {
    let backend = backend();
    let rows = Rows::of(Arc::clone(&backend));
    let id = ring(1).id();
    let node = |tag: Tag, version: u64| {
        let change = RawChange {
            table: NODES.place(&const_hex::encode(id)),
            key: tag.0.to_vec(),
            expected: None,
            row: Some(RawRow {
                version,
                sealed: vec![0; 40],
            }),
        };
        backend.commit(vec![change], false).unwrap();
    };
    let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
    let now = backend.now().unwrap();
    let [live, dead, gone] = [1, 2, 3].map(|tag| Tag([tag; 4]));
    rows.enter(id, gone, &address(3)).unwrap();
    node(dead, now - 60_000_000);
    rows.enter(id, dead, &address(2)).unwrap();
    node(live, now);
    rows.enter(id, live, &address(1)).unwrap();
    assert_eq!(rows.members(id).unwrap(), [address(1)]);
    assert_eq!(rows.members([0; 8]).unwrap(), []);
    // Whoever enters takes away what is nobody's.
    assert!(backend.get("fleet-members", &gone.0).unwrap().is_none());
    assert!(backend.get("fleet-members", &dead.0).unwrap().is_some());
    rows.leave(live).unwrap();
    assert_eq!(rows.members(id).unwrap(), []);
}

#[test]
fn a_row_of_the_key_that_somebody_changed_is_an_error() {
    let backend = backend();
    let rows = Rows::of(Arc::clone(&backend));
    let change = RawChange {
        table: "fleet-key".to_owned(),
        key: b"key".to_vec(),
        expected: None,
        row: Some(RawRow {
            version: 1,
            sealed: vec![1; 9],
        }),
    };
    backend.commit(vec![change], false).unwrap();
    assert!(matches!(rows.key(), Err(Error::BadKeyRow)));
}

#[test]
fn a_policy_has_a_use_beside_peers_alone() {
    let (peers, file) = (Path::new("peers"), Path::new("/run/key"));
    let none = Path::new("");
    let wrong = |key, policy, is_reached| {
        let configured = Terms::configured(key, policy, is_reached);
        configured.err().map(|(key, _)| key)
    };
    assert_eq!(wrong(peers, none, true), Some("fleet.policy"));
    assert_eq!(wrong(file, Path::new("p"), true), Some("fleet.policy"));
    assert_eq!(wrong(peers, Path::new("p"), false), Some("fleet.advertise"));
    assert_eq!(
        wrong(peers, Path::new("/nowhere/p"), true),
        Some("fleet.policy")
    );
    assert!(matches!(Terms::configured(file, none, false), Ok(None)));
}
