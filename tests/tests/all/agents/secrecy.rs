//! Private agents: to everyone but their owner they do not exist, and nothing of any agent is in the host's log or on its disk.

use hyper::Request;
use hypervisor_client::protocol::{ContentFormat, Exit, OwnerKey, Rejection};
use hypervisor_client::{Error, Inputs, Session};
use hypervisor_evidence::{ComponentLog, Evidence};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, problem, reference, rejection};
use hypervisor_tests::programs::{guest, importing};

use crate::agents::persistence::{files, simulated};

/// Deploys a private agent.
async fn private(host: &Host, owner: &OwnerKey, guest: &str, name: &str) -> String {
    let more = "private = true";
    host.deploy(owner, guest, name, more).await.info.address
}

async fn get(host: &Host, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", host.url())).await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, text)
}

#[tokio::test]
async fn a_private_agent_is_in_no_list_and_no_search() {
    let host = Host::start();
    let address = private(&host, &owner(), "http-hello", "hidden").await;
    assert!(host.client().agents().await.unwrap().agents.is_empty());
    for words in ["hidden", "agent of the tests", &address] {
        let answer = host.client().search(words, None).await.unwrap();
        assert_eq!(answer.message, "no agent found", "{words}");
    }
}

#[tokio::test]
async fn a_private_agent_is_told_from_none_by_nothing() {
    let host = Host::start();
    let address = private(&host, &owner(), "http-hello", "hidden").await;
    let nobody = format!("nobody.{}", owner().id());
    let mut answers = Vec::new();
    for name in ["hidden", &address, "nobody", &nobody] {
        let shown = problem(
            reqwest::get(format!("{}/agents/{name}", host.url()))
                .await
                .unwrap(),
        );
        let called = problem(host.get(name, "/").await);
        for (status, problem) in [shown.await, called.await] {
            assert_eq!(status, 404);
            answers.push((
                problem.kind,
                problem.title,
                problem.detail,
                problem.instance,
            ));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_sealed_call_of_a_private_agent_is_one_of_an_unknown_agent_to_all_but_its_owner() {
    let host = Host::start();
    let (owner, other) = (owner(), owner());
    let address = private(&host, &owner, "echo", "hidden").await;
    let session = host.session().await;
    let call = async |name: &str, owner: Option<&OwnerKey>| {
        let inputs = Inputs::new().argument("called");
        let agent = reference(name);
        session.call_command(&agent, inputs, owner).await.unwrap()
    };
    let mut reports = Vec::new();
    for name in ["hidden", &address, "nobody"] {
        for owner in [None, Some(&other)] {
            let report = call(name, owner).await.report;
            let error = Error::Agent(Box::new(report.exit));
            reports.push((rejection(&error), report.program_digest));
        }
    }
    reports.dedup();
    let [((problem, _), _)] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert_eq!(*problem, Rejection::UnknownAgent);
    for name in ["hidden", &address] {
        assert_eq!(call(name, Some(&owner)).await.result, b"called\n");
    }
}

#[tokio::test]
async fn only_its_owner_lists_removes_and_reads_the_log_of_a_private_agent() {
    let host = Host::start();
    let (owner, other) = (owner(), owner());
    let address = private(&host, &owner, "hello", "hidden").await;
    let session = host.session().await;
    for name in ["hidden", &address] {
        let agent = reference(name);
        for error in [
            session.remove_agent(&agent, &other).await.unwrap_err(),
            session.agent_logs(&agent, &other).await.unwrap_err(),
        ] {
            assert_eq!(rejection(&error).0, Rejection::UnknownAgent);
        }
    }
    assert!(session.own_agents(&other).await.unwrap().agents.is_empty());
    let own = session.own_agents(&owner).await.unwrap().agents;
    assert_eq!(own[0].address, address);
    assert!(own[0].private);
    let agent = reference("hidden");
    session.agent_logs(&agent, &owner).await.unwrap();
    session.remove_agent(&agent, &owner).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_becomes_private_disappears_and_comes_back() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "http-hello", "agent", "").await;
    for (more, status, listed) in [("private = true", 404, 0), ("private = false", 200, 1)] {
        host.deploy(&owner, "http-hello", "agent", more).await;
        assert_eq!(get(&host, "/agents/agent").await.0, status);
        assert_eq!(get(&host, "/agents/agent/").await.0, status);
        assert_eq!(host.client().agents().await.unwrap().agents.len(), listed);
        let found = host.client().search("agent", None).await.unwrap();
        assert_eq!(found.agents.len(), listed);
    }
}

/// The names in the component log that the host's evidence has.
async fn component_log(host: &Host) -> Vec<String> {
    const CBOR: ContentFormat = ContentFormat::Cbor;
    let url = format!(
        "{}/attestation?nonce=00112233445566778899aabbccddeeff",
        host.url()
    );
    let request = reqwest::Client::new()
        .get(url)
        .header("accept", "application/cbor");
    let answer = request.send().await.unwrap().bytes().await.unwrap();
    let evidence = Evidence::decode(CBOR, &answer).unwrap();
    let log = ComponentLog::decode(CBOR, evidence.log.as_ref().unwrap()).unwrap();
    log.entries()
        .iter()
        .map(|entry| entry.name.clone())
        .collect()
}

#[tokio::test]
async fn the_component_log_has_the_names_of_public_agents_only() {
    let mut host = Host::with(&simulated("one"));
    let owner = owner();
    let info = host.deploy(&owner, "hello", "public", "").await.info;
    private(&host, &owner, "echo", "hidden").await;
    // The same component under another private name is nothing new to the log.
    private(&host, &owner, "echo", "hidden-too").await;
    let public = format!("agent/{}", info.address);
    assert_eq!(
        component_log(&host).await,
        [public.as_str(), "agent/private"]
    );

    host.kill_and_restart();
    assert!(component_log(&host).await.is_empty(), "nothing is loaded");
    let session = host.session().await;
    let agent = reference("hidden");
    let called = session.call_command(&agent, Inputs::new(), Some(&owner));
    assert_eq!(called.await.unwrap().report.exit, Exit::Ok);
    assert_eq!(component_log(&host).await, ["agent/private"]);
}

/// A word that is nowhere else.
const MARKER: &str = "xyzzymarker";

/// Calls a private service, with the marker in header and body.
async fn post(session: &Session, agent: &str, path: &str, owner: Option<&OwnerKey>) {
    let request = Request::post(path)
        .header("x-header", MARKER)
        .body(MARKER.as_bytes().to_vec())
        .unwrap();
    let agent = reference(&format!("{MARKER}-{agent}"));
    session.call_service(&agent, request, owner).await.unwrap();
}

/// Deploys private agents, with the marker wherever their owner has a say.
async fn deploy_marked(host: &Host, owner: &OwnerKey) {
    let text = format!(
        "name = '{MARKER}-bad'\ndescription = 'The {MARKER} of a description.'\n\
         version = '1.0.0-{MARKER}'\nskills = ['{MARKER}']\nprivate = true\n\
         [environment]\nKEY = '{MARKER}'\n{MARKER} = 'x'"
    );
    let component = guest("bad-agent");
    host.try_deploy(owner, &component, &text).await.unwrap();
    let more = format!(
        "private = true\noutgoing = ['http://{MARKER}-bad.agent.internal', \
         'http://{MARKER}-chain.agent.internal', 'http://127.0.0.1:1', 'http://{MARKER}.invalid']"
    );
    let chain = format!("{MARKER}-chain");
    host.deploy(owner, "chain", &chain, &more).await;
    let trap = format!("{MARKER}-trap");
    host.deploy(owner, "trap", &trap, "private = true").await;
}

/// Calls that succeed, and calls that fail in every way that an agent may.
async fn call_marked(session: &Session, owner: &OwnerKey) {
    for path in [
        "/env?",
        "/never?",
        "/twice?",
        "/trap-before?",
        "/trap-after-headers?",
        "/write-forever?",
        "/spin?",
        "/sleep-forever?",
        "/oom?",
        "/bad-header?",
        "/wrong-length?",
        "/log?bytes=100&",
    ] {
        let path = format!("{path}{MARKER}");
        post(session, "bad", &path, Some(owner)).await;
        post(session, "bad", &path, None).await;
    }
    let trap = reference(&format!("{MARKER}-trap"));
    let inputs = Inputs::new().argument(MARKER).stdin(MARKER.as_bytes());
    let called = session.call_command(&trap, inputs, Some(owner));
    called.await.unwrap();
    // What the host refuses to read.
    let bad = reference(&format!("{MARKER}-bad"));
    let inputs = Inputs::new().stdin(MARKER.as_bytes());
    let called = session.call_command(&bad, inputs, Some(owner));
    called.await.unwrap();
}

/// Requests of an agent's own: sent, refused, and failed.
async fn chain_marked(session: &Session, owner: &OwnerKey) {
    for url in [
        format!("http://{MARKER}-bad.agent.internal/{MARKER}"),
        format!("http://{MARKER}-bad.agent.internal/trap-before?{MARKER}"),
        format!("http://{MARKER}-chain.agent.internal/?url={MARKER}"),
        format!("http://{MARKER}-other.agent.internal/{MARKER}"),
        format!("http://127.0.0.1:1/{MARKER}"),
        format!("http://{MARKER}.invalid/{MARKER}"),
        format!("https://{MARKER}.example.org/{MARKER}"),
        MARKER.to_owned(),
    ] {
        let target = reqwest::Url::parse_with_params("http://agent/", [("url", url)]).unwrap();
        let path = format!("/?{}", target.query().unwrap());
        post(session, "chain", &path, Some(owner)).await;
    }
}

/// Deployments that are refused, and what owners do with their agents.
async fn manage_marked(host: &Host, session: &Session, owner: &OwnerKey) {
    let foreign = importing(&format!("{MARKER}:db/store@1.0.0"));
    for (component, more) in [
        (guest("hello"), format!("descripton = '{MARKER}'")),
        (guest("hello"), "world = 'service'".to_owned()),
        (MARKER.as_bytes().to_vec(), "private = true".to_owned()),
        (foreign, "private = true".to_owned()),
    ] {
        let text = manifest(&format!("{MARKER}-refused"), &more);
        host.try_deploy(owner, &component, &text).await.unwrap_err();
    }
    let [bad, trap] = ["bad", "trap"].map(|name| reference(&format!("{MARKER}-{name}")));
    session.agent_logs(&bad, owner).await.unwrap();
    session.own_agents(owner).await.unwrap();
    session.remove_agent(&trap, owner).await.unwrap();
    for path in [
        format!("/agents/{bad}/{MARKER}?{MARKER}"),
        format!("/agents/{bad}"),
    ] {
        assert_eq!(get(host, &path).await.0, 404);
    }
}

fn holds(bytes: &[u8], marker: &str) -> bool {
    let pieces = bytes.windows(marker.len());
    pieces
        .into_iter()
        .any(|piece| piece.eq_ignore_ascii_case(marker.as_bytes()))
}

#[tokio::test]
async fn nothing_of_private_agents_is_in_the_log_on_the_disk_or_in_the_counters() {
    let limits = "[limits]\ncpu = '200ms'\nwall = '500ms'\nmemory = '32 MiB'\noutput = '64 KiB'";
    let mut host = Host::with(&format!("{}{limits}", simulated("one")));
    let owner = owner();
    let session = host.session().await;
    deploy_marked(&host, &owner).await;
    call_marked(&session, &owner).await;
    chain_marked(&session, &owner).await;
    manage_marked(&host, &session, &owner).await;
    let counters = reqwest::get(format!("{}/metrics", host.admin()))
        .await
        .unwrap();
    let counters = counters.text().await.unwrap();
    host.kill_and_restart();
    let session = host.session().await;
    let agent = reference(&format!("{MARKER}-bad"));
    let request = Request::get("/env").body(Vec::new()).unwrap();
    let answer = session
        .call_service(&agent, request, Some(&owner))
        .await
        .unwrap();
    // It is there, so the marker has been through all of it.
    let body = answer.into_response().unwrap().into_body();
    assert!(holds(&body, MARKER));

    let log = host.log();
    assert!(log.contains("an agent was deployed") && log.contains("was not sent"));
    for (where_, bytes) in [
        ("log", log.into_bytes()),
        ("counters", counters.into_bytes()),
    ] {
        for marker in [MARKER, &owner.id()] {
            let at = bytes
                .windows(marker.len())
                .position(|it| it == marker.as_bytes());
            let piece = at.map(|at| {
                let end = bytes.len().min(at + 200);
                String::from_utf8_lossy(&bytes[at.saturating_sub(200)..end]).into_owned()
            });
            assert_eq!(piece, None, "{marker} is in the {where_}");
        }
    }
    for (path, bytes) in files(&host.state()) {
        for marker in [MARKER, &owner.id()] {
            assert!(!holds(&bytes, marker), "{marker} is in {}", path.display());
            assert!(
                !holds(path.to_string_lossy().as_bytes(), marker),
                "{}",
                path.display()
            );
        }
    }
}
