//! Hosts that give each other the key of their fleet, and whom they do not give it to.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::get;
use hypervisor_client::protocol::{
    ContentFormat, CreateKeypairRequest, HexArray, HexBytes, PrivateKey, PublicKey, SessionId,
};
use hypervisor_evidence::manifest::{self, FleetKey};
use hypervisor_tests::agents::owner;
use hypervisor_tests::payments::purchase::{config, confirmed};
use hypervisor_tests::payments::{Chain, Facilitator, Purchase, Version};
use hypervisor_tests::peers::{Peers, document_of};
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::post;
use hypervisor_tests::{Host, RawSession, eventually};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const CBOR: ContentFormat = ContentFormat::Cbor;
const KEYS: &str = "select encode(sealed, 'hex') from hypervisor_rows where tab = 'fleet-key'";

/// What a member says first, and a joiner after it, in their own form.
#[derive(Clone, Serialize, Deserialize)]
struct Challenge {
    exchange: SessionId,
    public_key: HexBytes,
    nonce: HexArray<32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Proof {
    exchange: SessionId,
    public_key: HexBytes,
    nonce: HexArray<32>,
    evidence: HexBytes,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Given {
        evidence: HexBytes,
        sealed: HexBytes,
    },
    Refused {
        check: String,
        reason: String,
    },
    Busy,
}

/// Somebody between a joiner and a member.
type Between = dyn Fn(&Challenge, Proof) -> Proof + Send + Sync;

/// Answers joiners in a member's place.
#[derive(Clone)]
struct Impostor {
    member: String,
    /// What goes on to the member of what a joiner proves.
    bends: Arc<Between>,
    challenge: Arc<Mutex<Option<Challenge>>>,
    /// What the member answered first, where that is what everybody is given.
    replays: Option<Arc<Mutex<Option<Vec<u8>>>>>,
}

impl Impostor {
    fn before(member: &Host, bends: Arc<Between>) -> Self {
        Self {
            member: format!("{}/fleet/join", member.url()),
            bends,
            challenge: Arc::default(),
            replays: None,
        }
    }

    /// Where it answers.
    async fn start(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/fleet/join", get(begin).post(end))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(self);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }
}

async fn begin(State(this): State<Impostor>) -> Bytes {
    let body = reqwest::get(&this.member)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    *this.challenge.lock().unwrap() = Some(CBOR.decode(&body).unwrap());
    body
}

async fn end(State(this): State<Impostor>, body: Bytes) -> Vec<u8> {
    let proof: Proof = CBOR.decode(&body).unwrap();
    let challenge = this.challenge.lock().unwrap().clone().unwrap();
    let proof = CBOR.encode(&(this.bends)(&challenge, proof)).unwrap();
    let client = reqwest::Client::new();
    let answer = post(&client, &this.member, CBOR.media_type(), proof).await;
    assert_eq!(answer.status, 200);
    match &this.replays {
        Some(kept) => (kept.lock().unwrap().get_or_insert(answer.body)).clone(),
        None => answer.body,
    }
}

/// Passes on what a joiner proves.
fn unchanged(_: &Challenge, proof: Proof) -> Proof {
    proof
}

fn key(bytes: &HexBytes) -> PublicKey {
    PublicKey::from_sec1(&bytes.0).unwrap()
}

/// Has the database say that all members are there.
fn lead_to(peers: &Peers, address: &str) {
    let changed = peers.fleet.database.query(&format!(
        "with led as (update hypervisor_rows set sealed = '{address}'::bytea where tab = 'fleet-members' returning 1) \
         select count(*) from led"
    ));
    assert_ne!(changed.trim(), "0");
}

fn starts(peers: &Peers) -> Host {
    peers.host()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_by_peers_have_each_others_agents_sessions_and_payments() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let peers = Peers::start(&config(&chain, facilitator.url(), &confirmed(&chain))).await;
    let hosts = [starts(&peers), starts(&peers), starts(&peers)];
    hosts[0].deploy(&owner(), "http-hello", "agent", "").await;
    for host in &hosts {
        eventually("the agent", async || {
            (host.get("agent", "/").await.status() == 200).then_some(())
        })
        .await;
    }
    // The machine code that an attested host made is what the others run.
    assert!(peers.fleet.rows("agent-bodies").len() >= 2);

    let session = RawSession::open(&hosts[0]).await.sent_to(&hosts[2]);
    let (request, pending) = session.request(&guest("echo"), None, &[b"word"]);
    let answer = session.send(&request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        session.open_answer(CBOR, &pending, &answer).result,
        b"word\n"
    );

    let purchase = Purchase::of_echo(&hosts[1], "argument").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    assert_eq!(purchase.pay(&payment).await.status, 200);
    // Another host has the payment in its books, and gives the same answer.
    let moved = purchase.moved(&hosts[2]);
    assert_eq!(moved.pay(&payment).await.status, 200);
    assert_eq!(chain.transfers().await.len(), 1);
    assert_eq!(peers.fleet.database.query(KEYS).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_first_at_once_make_one_key() {
    let peers = Peers::start("").await;
    let hosts: Vec<Host> = thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(|| starts(&peers))).collect();
        starting.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(peers.fleet.database.query(KEYS).lines().count(), 1);
    let made = hosts
        .iter()
        .filter(|host| host.log().contains("origin=Made"));
    assert_eq!(made.count(), 1);
    hosts[0].deploy(&owner(), "http-hello", "agent", "").await;
    for host in &hosts {
        eventually("the agent", async || {
            (host.get("agent", "/").await.status() == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_set_up_in_another_way_is_refused_at_both_ends_by_the_checks_name() {
    let peers = Peers::start("").await;
    let member = starts(&peers);
    let said = peers.refused("[limits]\noutput = '1 MiB'\n", &peers.policy);
    assert!(
        said.contains("it refuses this host: `manifest-allowed`"),
        "{said}"
    );
    member.has_logged("`manifest-allowed`").await;
    assert!(!member.log().contains("gave the fleet's key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_goes_by_another_policy_is_refused_at_both_ends_by_the_checks_name() {
    let peers = Peers::start("").await;
    let member = starts(&peers);
    let said = peers.refused("", &peers.another_policy(None));
    assert!(said.contains("it refuses this host: `fleet-key`"), "{said}");
    member.has_logged("`fleet-key`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_host_makes_no_key_that_its_own_policy_would_not_let_it_have() {
    let peers = Peers::start("").await;
    let said = peers.refused("", &peers.another_policy(Some([7; 48])));
    assert!(said.contains("own evidence does not pass"), "{said}");
    assert!(said.contains("`manifest-allowed`"), "{said}");
    assert_eq!(peers.fleet.database.query(KEYS).lines().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stands_between_two_hosts_gets_no_key_and_can_pass_it_on_sealed() {
    let peers = Peers::start("").await;
    let member = starts(&peers);
    // With a key of its own in the joiner's place.
    let own = PrivateKey::generate().public_key().to_bytes().to_vec();
    let bends = move |_: &Challenge, proof: Proof| Proof {
        public_key: HexBytes(own.clone()),
        ..proof
    };
    let impostor = Impostor::before(&member, Arc::new(bends)).start().await;
    lead_to(&peers, &impostor.to_string());
    let said = peers.refused("", &peers.policy);
    assert!(
        said.contains("it refuses this host: `session-key`"),
        "{said}"
    );
    member.has_logged("`session-key`").await;

    // Whoever changes nothing learns nothing, and the joiner has its key.
    let passes = Impostor::before(&member, Arc::new(unchanged));
    lead_to(&peers, &passes.start().await.to_string());
    let joined = starts(&peers);
    assert!(joined.log().contains("origin=Given"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_another_host_was_given_is_refused_by_a_checks_name() {
    let peers = Peers::start("").await;
    let member = starts(&peers);
    let mut impostor = Impostor::before(&member, Arc::new(unchanged));
    impostor.replays = Some(Arc::default());
    lead_to(&peers, &impostor.start().await.to_string());
    let first = starts(&peers);
    assert!(first.log().contains("origin=Given"));
    drop(first);
    // Only the impostor is there: members that are real would be asked too.
    peers.fleet.database.query(&format!(
        "delete from hypervisor_rows where tab = 'fleet-members' and encode(sealed, 'escape') = '{}'",
        member.url().trim_start_matches("http://")
    ));
    let said = peers.refused("", &peers.policy);
    assert!(said.contains("this host refuses it: `"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_something_else_is_refused_by_the_joiner() {
    let peers = Peers::start("").await;
    let _member = starts(&peers);
    // A real host of the same make, which quotes sessions for everybody.
    let other = Host::with(&peers.config("", &peers.policy));
    let sessions = format!("{}/verifiable/encrypt/create_keypair", other.url());
    let answer = move |proof: Proof| {
        let sessions = sessions.clone();
        async move {
            let request =
                CreateKeypairRequest::new(&key(&proof.public_key), Some(proof.nonce.0.to_vec()));
            let body = CBOR.encode(&request).unwrap();
            let answer = post(&reqwest::Client::new(), &sessions, CBOR.media_type(), body).await;
            let opened: hypervisor_client::protocol::CreateKeypairResponse =
                CBOR.decode(&answer.body).unwrap();
            CBOR.encode(&Answer::Given {
                evidence: opened.evidence.unwrap(),
                sealed: HexBytes(vec![0; 60]),
            })
            .unwrap()
        }
    };
    let begin = async || {
        CBOR.encode(&Challenge {
            exchange: SessionId::new(),
            public_key: HexBytes(PrivateKey::generate().public_key().to_bytes().to_vec()),
            nonce: HexArray(std::array::from_fn(|at| at as u8)),
        })
        .unwrap()
    };
    let end = move |body: Bytes| answer(CBOR.decode(&body).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/fleet/join", get(begin).post(end));
    let routes = routes.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    lead_to(&peers, &address.to_string());
    let said = peers.refused("", &peers.policy);
    assert!(said.contains("this host refuses it: `purpose`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_answer_or_is_not_there_is_passed_over_for_another() {
    let peers = Peers::start("").await;
    let (first, second) = (starts(&peers), starts(&peers));
    first.freeze();
    let third = starts(&peers);
    assert!(third.log().contains("origin=Given"));
    first.thaw();
    // The operator of the database says of one that it is somewhere else.
    let place = second.url().trim_start_matches("http://");
    peers.fleet.database.query(&format!(
        "update hypervisor_rows set sealed = '127.0.0.1:9' where tab = 'fleet-members' and encode(sealed, 'escape') = '{place}'"
    ));
    let fourth = starts(&peers);
    assert!(fourth.log().contains("origin=Given"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_were_down_the_platforms_key_brings_the_fleet_back_and_without_it_the_loss_has_a_name()
 {
    let peers = Peers::start("").await;
    let mut host = starts(&peers);
    host.deploy(&owner(), "http-hello", "agent", "").await;
    let key = peers.fleet.database.query(KEYS);
    host.kill_and_restart();
    assert!(host.log().contains("origin=Unsealed"));
    assert_eq!(host.get("agent", "/").await.status(), 200);
    host.kill();

    // Sealed for one policy, it does not open by another.
    let other = peers.another_policy(None);
    assert!(
        peers
            .refused("", &other)
            .contains("is lost: no host that has it lives")
    );
    // As on a platform that gives no key.
    let sealed = "delete from hypervisor_rows where tab like 'fleet-key-sealed%'";
    peers.fleet.database.query(sealed);
    let said = peers.refused("", &peers.policy);
    assert!(
        said.contains("is lost: no host that has it lives"),
        "{said}"
    );
    assert!(said.contains("To begin again"), "{said}");
    assert_eq!(peers.fleet.database.query(KEYS), key);

    peers.fleet.database.query("delete from hypervisor_rows");
    let anew = starts(&peers);
    assert!(anew.log().contains("origin=Made"));
    assert_ne!(peers.fleet.database.query(KEYS), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_or_missing_row_of_the_key_makes_no_host_take_another_key() {
    let peers = Peers::start("").await;
    let _member = starts(&peers);
    let key = peers.fleet.database.query(KEYS);
    let key = key.trim();
    // The row names another key, and what is seen of members is made to fit it.
    let other = "00112233445566aa";
    let sql = format!(
        "update hypervisor_rows set sealed = '\\x{other}' where tab = 'fleet-key'; \
         insert into hypervisor_rows (tab, key, version, sealed) \
         select 'nodes@{other}', key, (extract(epoch from clock_timestamp()) * 1000000)::bigint + 60000000, sealed \
         from hypervisor_rows where tab = 'nodes@{key}'"
    );
    peers.fleet.database.query(&sql);
    let said = peers.refused("", &peers.policy);
    assert!(said.contains("somebody changed the database"), "{said}");

    peers
        .fleet
        .database
        .query("delete from hypervisor_rows where tab = 'fleet-key'");
    let said = peers.refused("", &peers.policy);
    assert!(said.contains("no row that names the fleet's key"), "{said}");
    assert_eq!(peers.fleet.database.query(KEYS).lines().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_says_by_which_policy_the_key_is_shared_or_that_it_is_a_files() {
    let peers = Peers::start("").await;
    let by_peers = document_of(&starts(&peers)).await;
    let policy = Sha256::digest(fs::read(&peers.policy).unwrap()).into();
    assert_eq!(
        manifest::fleet_key(&by_peers).unwrap(),
        FleetKey::Peers(policy)
    );
    let by_file = Host::with(&format!("{}{}", peers.attests(), peers.fleet.section()));
    let by_file = document_of(&by_file).await;
    assert_eq!(manifest::fleet_key(&by_file).unwrap(), FleetKey::File);
    let alone = Host::with(peers.attests());
    // A host that is in no fleet gives nobody a key.
    let answer = reqwest::get(format!("{}/fleet/join", alone.url())).await;
    assert_eq!(answer.unwrap().status(), 404);
    let alone = document_of(&alone).await;
    assert_eq!(manifest::fleet_key(&alone).unwrap(), FleetKey::OwnHost);
    for document in [by_peers, by_file] {
        let same = manifest::digest_alone(&document).unwrap();
        assert_eq!(same, manifest::digest(&alone));
    }
}
