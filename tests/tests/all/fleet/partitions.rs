//! Cables that are pulled between hosts, their database and their balancer: machines are network namespaces.

use std::time::{Duration, Instant};

use hypervisor_client::protocol::ContentFormat;
use hypervisor_tests::agents::{manifest, owner};
use hypervisor_tests::balancer::Balancer;
use hypervisor_tests::fleet::Fleet;
use hypervisor_tests::network::{Cable, Entered, Machine, Network};
use hypervisor_tests::postgres::Postgres;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Answer, Host, RawSession, eventually};
use serde_json::Value;

/// No answer takes longer, where 2 s are meant, with room for a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(15);
/// The same, where an answer is under way when its host is cut off, which is noticed after 6 s.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// Hosts on machines of their own, and whoever asks them, where this thread is.
struct Partitioned {
    hosts: Vec<Host>,
    machines: Vec<Machine>,
    _fleet: Fleet,
    _database: Machine,
    // Fields are dropped in their order: this thread goes home when the processes have ended.
    _client: Entered,
    network: Network,
}

impl Partitioned {
    /// So many hosts; none where namespaces are not permitted.
    async fn start(count: usize) -> Option<Self> {
        let network = Network::permitted()?;
        let database = network.machine(&[Cable::Store]);
        let fleet = {
            let _there = database.enter();
            Fleet::over(Postgres::reachable())
        };
        let there = database.address(Cable::Store).to_string();
        let url = fleet.database.url().replace("127.0.0.1", &there);
        let cables = [Cable::Front, Cable::Peers, Cable::Store];
        let machines: Vec<_> = (0..count).map(|_| network.machine(&cables)).collect();
        network.join(&machines.iter().collect::<Vec<_>>());
        let host = |machine: &Machine| {
            let _there = machine.enter();
            let address = machine.address(Cable::Front);
            Host::with(&format!(
                "listening = '{address}:0'\n[limits]\nwall = '60s'\n\
                 [admin]\nlistening = '{address}:0'\nhosts = ['readiness']\n{}advertise = '{address}:0'\n",
                fleet.section_at(&url)
            ))
        };
        let hosts = machines.iter().map(host).collect();
        let client = network.machine(&[Cable::Front]);
        let partitioned = Self {
            hosts,
            machines,
            _fleet: fleet,
            _database: database,
            _client: client.enter(),
            network,
        };
        for host in &partitioned.hosts {
            host.ready().await;
        }
        Some(partitioned)
    }

    fn pull(&self, host: usize, cable: Cable) {
        self.network.pull(&self.machines[host], cable);
    }

    fn plug(&self, host: usize, cable: Cable) {
        self.network.plug(&self.machines[host], cable);
    }

    /// A session of a host, whose requests go to another.
    async fn session(&self, of: usize, asks: usize) -> RawSession {
        let session = RawSession::open(&self.hosts[of]).await;
        session.sent_to(&self.hosts[asks])
    }
}

/// Runs a program that says a word, within a bound.
async fn run(session: &RawSession, bound: Duration) -> Answer {
    let (request, pending) = session.request(&guest("echo"), None, &[b"word"]);
    let began = Instant::now();
    let answer = session.send(&request).await;
    assert!(began.elapsed() < bound, "{:?}: {answer:?}", began.elapsed());
    if answer.status == 200 {
        let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
        assert_eq!(opened.result, b"word\n");
    }
    answer
}

async fn answers(session: &RawSession) {
    assert_eq!(run(session, BOUND).await.status, 200);
}

async fn answers_again(session: &RawSession) {
    eventually("the session is served again", async || {
        (run(session, BOUND).await.status == 200).then_some(())
    })
    .await;
}

fn is_out_of_reach(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded")
    );
    assert!(answer.headers.contains_key("retry-after"));
}

/// The gauge of a host that says whether its database answers.
async fn store_is_up(host: &Host) -> bool {
    let asked = host.operator().get(format!("{}/metrics", host.admin()));
    let text = asked.send().await.unwrap().text().await.unwrap();
    text.contains("hypervisor_fleet_store_up 1")
}

#[tokio::test]
async fn hosts_that_are_cut_off_from_each_other_serve_their_own_and_say_so_of_others() {
    let Some(net) = Partitioned::start(2).await else {
        return;
    };
    let (own, across) = (net.session(0, 0).await, net.session(0, 1).await);
    let back = net.session(1, 0).await;
    for session in [&own, &across, &back] {
        answers(session).await;
    }
    net.pull(0, Cable::Peers);
    for _ in 0..3 {
        answers(&own).await;
        is_out_of_reach(&run(&across, UNDER_WAY).await);
        is_out_of_reach(&run(&back, UNDER_WAY).await);
    }
    net.plug(0, Cable::Peers);
    answers_again(&across).await;
    answers_again(&back).await;
    answers(&own).await;
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_the_cable_was_pulled_is_given_up() {
    let Some(net) = Partitioned::start(2).await else {
        return;
    };
    let across = net.session(0, 1).await;
    answers(&across).await;
    let (request, _) = across.request(&guest("sleepy"), None, &[b"50000"]);
    let pulled = async {
        let status = format!("{}/status", net.hosts[0].admin());
        eventually("it runs", async || {
            let asked = net.hosts[0].operator().get(&status).send().await.unwrap();
            let status: Value = serde_json::from_str(&asked.text().await.unwrap()).unwrap();
            (status["in_use"][0]["used"] == 1).then_some(())
        })
        .await;
        net.pull(0, Cable::Peers);
        Instant::now()
    };
    let (answer, pulled) = tokio::join!(across.send(&request), pulled);
    assert!(pulled.elapsed() < UNDER_WAY, "{:?}", pulled.elapsed());
    is_out_of_reach(&answer);
    assert!(answer.detail().contains("may have been done"));
    net.plug(0, Cable::Peers);
    answers_again(&across).await;
}

#[tokio::test]
async fn what_is_lost_one_way_alone_is_out_of_reach_both_ways_and_no_longer_than_it_lasts() {
    let Some(net) = Partitioned::start(2).await else {
        return;
    };
    let (across, back) = (net.session(0, 1).await, net.session(1, 0).await);
    answers(&across).await;
    answers(&back).await;
    net.machines[0].lose(&net.machines[1]);
    for _ in 0..2 {
        is_out_of_reach(&run(&across, UNDER_WAY).await);
        is_out_of_reach(&run(&back, UNDER_WAY).await);
    }
    net.machines[0].find(&net.machines[1]);
    answers_again(&across).await;
    answers_again(&back).await;
}

#[tokio::test]
async fn a_host_that_is_cut_off_from_the_database_serves_its_sessions_and_deploys_again_afterwards()
{
    let Some(net) = Partitioned::start(2).await else {
        return;
    };
    let (own, across) = (net.session(0, 0).await, net.session(0, 1).await);
    answers(&across).await;
    net.pull(0, Cable::Store);
    let (late, component, text) = (owner(), guest("http-hello"), manifest("late", ""));
    let began = Instant::now();
    let refused = net.hosts[0].try_deploy(&late, &component, &text).await;
    assert!(refused.is_err() && began.elapsed() < BOUND);
    eventually("it is noticed", async || {
        answers(&own).await;
        (!store_is_up(&net.hosts[0]).await).then_some(())
    })
    .await;
    assert!(store_is_up(&net.hosts[1]).await);
    // As long as it is not taken for dead, others reach it.
    eventually("it is taken for dead", async || {
        answers(&own).await;
        let answer = run(&across, BOUND).await;
        (answer.status == 404).then(|| assert_eq!(answer.problem(), "unknown-session"))
    })
    .await;
    let ready = reqwest::get(format!("{}/readyz", net.hosts[0].admin()));
    assert_eq!(ready.await.unwrap().status(), 200);
    net.plug(0, Cable::Store);
    answers_again(&across).await;
    eventually("it deploys again", async || {
        let deployed = net.hosts[0].try_deploy(&late, &component, &text).await;
        deployed.ok()
    })
    .await;
    eventually("the other has it", async || {
        let answer = net.hosts[1].get("late", "/").await;
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_that_the_balancer_does_not_reach_is_reached_by_the_others() {
    let Some(net) = Partitioned::start(3).await else {
        return;
    };
    let machine = net.network.machine(&[Cable::Front]);
    let [a, b, c] = &net.hosts[..] else { panic!() };
    let balancer = {
        let _there = machine.enter();
        let address = machine.address(Cable::Front).into();
        Balancer::at(address, [a, b, c]).await
    };
    let direct = RawSession::open(a).await;
    let by_balancer = async || {
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(RawSession::open_at(balancer.url()).await);
        }
        sessions
    };
    let sessions = by_balancer().await;
    for session in &sessions {
        answers(session).await;
    }
    net.pull(0, Cable::Front);
    for session in &sessions {
        eventually("it is answered by way of another", async || {
            let (request, _) = session.request(&guest("hello"), None, &[]);
            let began = Instant::now();
            // The balancer may end the connection instead.
            let answer = session.try_send(&request).await;
            assert!(began.elapsed() < UNDER_WAY, "{:?}", began.elapsed());
            (answer.ok()?.status == 200).then_some(())
        })
        .await;
    }
    for session in by_balancer().await {
        answers(&session).await;
    }
    net.plug(0, Cable::Front);
    answers_again(&direct).await;
    for session in &sessions {
        answers(session).await;
    }
}
