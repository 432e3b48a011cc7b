//! Whose agents are: names, addresses, and what only the owner may do.

use std::cmp::Reverse;

use hypervisor_client::Error;
use hypervisor_client::agents::Deployed;
use hypervisor_client::protocol::{
    AgentInfo, ContentFormat, DeployRequest, HexBytes, Operation, OwnerKey, OwnerProof,
    PendingRequest, Rejection,
};
use hypervisor_client::{Inputs, Session};
use hypervisor_tests::agents::{manifest, owner, reference, rejection};
use hypervisor_tests::programs::guest;
use hypervisor_tests::raw::post;
use hypervisor_tests::{Answer, Host, RawSession};
use reqwest::Method;

/// Two agents of one name: the first owner's is `http-hello`, the second's `http-echo`. The second's address comes first.
async fn two_of_one_name(host: &Host) -> [(OwnerKey, AgentInfo); 2] {
    let mut owners = [owner(), owner()];
    owners.sort_by_key(|owner| Reverse(owner.id()));
    let [first, second] = owners;
    let Deployed { info: one, .. } = host.deploy(&first, "http-hello", "agent", "").await;
    let Deployed { info: two, .. } = host.deploy(&second, "http-echo", "agent", "").await;
    [(first, one), (second, two)]
}

/// Whether `http-hello` answers there, and not `http-echo`.
async fn says_hello(host: &Host, reference: &str) -> bool {
    let answer = host.get(reference, "/").await;
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap().starts_with("hello from")
}

#[tokio::test]
async fn two_owners_may_have_agents_of_one_name_and_the_first_has_the_bare_name() {
    let host = Host::start();
    let [(_, one), (_, two)] = two_of_one_name(&host).await;
    assert_eq!(one.path, "/agents/agent/");
    assert_eq!(two.path, format!("/agents/{}/", two.address));
    assert!(says_hello(&host, "agent").await);
    assert!(says_hello(&host, &one.address).await);
    assert!(!says_hello(&host, &two.address).await);

    let listed = host.client().agents().await.unwrap().agents;
    let paths: Vec<&str> = listed.iter().map(|agent| agent.path.as_str()).collect();
    assert_eq!(paths, [&two.path, &one.path]);
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(found.address, one.address);
}

#[tokio::test]
async fn whoever_has_the_bare_name_keeps_it_while_replacing() {
    let host = Host::start();
    let [(first, one), (_, two)] = two_of_one_name(&host).await;
    host.deploy(&first, "http-hello", "agent", "skills = ['new']")
        .await;
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!((&found.address, &found.path), (&one.address, &one.path));
    assert!(!says_hello(&host, &two.address).await);
}

#[tokio::test]
async fn the_bare_name_passes_on_when_its_agent_goes() {
    let host = Host::start();
    let [(first, one), (_, two)] = two_of_one_name(&host).await;
    let session = host.session().await;
    session
        .remove_agent(&reference("agent"), &first)
        .await
        .unwrap();
    assert!(!says_hello(&host, "agent").await);
    assert_eq!(host.get(&one.address, "/").await.status(), 404);
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(
        (found.address, found.path.as_str()),
        (two.address, "/agents/agent/")
    );
}

#[tokio::test]
async fn an_agent_that_becomes_private_gives_the_bare_name_away() {
    let host = Host::start();
    let [(first, one), (_, two)] = two_of_one_name(&host).await;
    let info = host
        .deploy(&first, "http-hello", "agent", "private = true")
        .await
        .info;
    assert_eq!(info.path, format!("/agents/{}/", one.address));
    let found = host.client().agent(&reference("agent")).await.unwrap();
    assert_eq!(found.address, two.address);
}

#[tokio::test]
async fn the_operators_agent_takes_the_bare_name_from_a_clients() {
    let host = Host::start();
    let owner = owner();
    let mine = host.deploy(&owner, "http-echo", "agent", "").await.info;
    host.register("agent", &guest("http-hello"), &manifest("agent", ""));
    let theirs = host.client().deploy_registered("agent").await.unwrap();
    assert_eq!(theirs.agent.address, "agent.operator");
    assert_eq!(theirs.agent.path, "/agents/agent/");
    assert!(says_hello(&host, "agent").await);
    assert!(says_hello(&host, "agent.operator").await);
    assert!(!says_hello(&host, &mine.address).await);

    let url = format!("{}/agents/agent", host.admin());
    host.operator().delete(url).send().await.unwrap();
    assert!(!says_hello(&host, "agent").await);
}

#[tokio::test]
async fn an_owner_who_proves_it_means_their_own_agent_by_the_bare_name() {
    let host = Host::start();
    let [(first, one), (second, two)] = two_of_one_name(&host).await;
    let session = host.session().await;
    let digest = async |owner: Option<&OwnerKey>| {
        let request = hyper::Request::get("/").body(Vec::new()).unwrap();
        let agent = reference("agent");
        let answer = session.call_service(&agent, request, owner).await.unwrap();
        answer.execution.report.program_digest
    };
    assert_eq!(digest(None).await, one.digest);
    assert_eq!(digest(Some(&first)).await, one.digest);
    assert_eq!(digest(Some(&second)).await, two.digest);
    let removed = session
        .remove_agent(&reference("agent"), &second)
        .await
        .unwrap();
    assert_eq!(removed.address, two.address);
}

#[tokio::test]
async fn an_owner_lists_their_own_agents_and_no_others() {
    let host = Host::start();
    let (one, other) = (owner(), owner());
    host.deploy(&one, "hello", "b", "").await;
    host.deploy(&one, "hello", "a", "private = true").await;
    host.deploy(&other, "hello", "c", "").await;
    let session = host.session().await;
    let names = async |owner: &OwnerKey| -> Vec<String> {
        let list = session.own_agents(owner).await.unwrap();
        list.agents.into_iter().map(|agent| agent.name).collect()
    };
    assert_eq!(names(&one).await, ["a", "b"]);
    assert_eq!(names(&other).await, ["c"]);
    assert_eq!(names(&owner()).await, Vec::<String>::new());
}

/// What somebody else may not do with an agent.
async fn tries(session: &Session, agent: &str, other: &OwnerKey) -> [Error; 2] {
    let agent = reference(agent);
    [
        session.remove_agent(&agent, other).await.unwrap_err(),
        session.agent_logs(&agent, other).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn only_the_owner_removes_an_agent_and_reads_its_log() {
    let host = Host::start();
    let (owner, other) = (owner(), owner());
    let info = host.deploy(&owner, "bad-agent", "agent", "").await.info;
    host.get("agent", "/log?bytes=10").await;
    let session = host.session().await;
    for name in ["agent", &info.address] {
        for error in tries(&session, name, &other).await {
            assert_eq!(rejection(&error).0, Rejection::NotOwner, "{error}");
        }
    }
    // Deploying under the same name makes another agent.
    host.deploy(&other, "http-hello", "agent", "").await;
    assert_eq!(host.get("agent", "/counter").await.status(), 200);
    assert_eq!(host.logs(&owner, "agent").await.lines.len(), 1);
    session
        .remove_agent(&reference("agent"), &owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_owns_the_operators_agents() {
    let host = Host::start();
    host.register("agent", &guest("hello"), &manifest("agent", ""));
    host.client().deploy_registered("agent").await.unwrap();
    let session = host.session().await;
    for name in ["agent", "agent.operator"] {
        for error in tries(&session, name, &owner()).await {
            assert_eq!(rejection(&error).0, Rejection::NotOwner, "{error}");
        }
    }
    assert_eq!(host.get("agent", "/").await.status(), 200);
}

/// Sends a request about `agent` with this proof: its answer, and what it says once opened.
async fn ask(
    session: &RawSession,
    operation: Operation,
    proof: Option<OwnerProof>,
) -> (Answer, PendingRequest) {
    let (method, path) = match operation {
        Operation::Remove => (Method::DELETE, "/agents/agent"),
        Operation::Agent => (Method::POST, "/agents/agent"),
        Operation::Logs => (Method::POST, "/agent/logs"),
        _ => (Method::POST, "/agent/list"),
    };
    let (request, pending) = session.about(operation, "agent", None, proof);
    (session.send_to(method, path, &request).await, pending)
}

const ABOUT: [Operation; 4] = [
    Operation::Remove,
    Operation::Logs,
    Operation::List,
    Operation::Agent,
];

#[tokio::test]
async fn a_proof_that_does_not_hold_is_refused_whatever_is_asked() {
    let host = Host::start();
    let owner = owner();
    host.deploy(&owner, "hello", "agent", "").await;
    let session = RawSession::open(&host).await;
    let good = session.prove(&owner);
    let of_another_session = RawSession::open(&host).await.prove(&owner);
    let by_another_key = OwnerProof {
        signature: session.prove(&hypervisor_tests::agents::owner()).signature,
        ..good.clone()
    };
    let altered = |change: fn(&mut Vec<u8>)| {
        let mut signature = good.signature.0.clone();
        change(&mut signature);
        OwnerProof {
            signature: HexBytes(signature),
            ..good.clone()
        }
    };
    for proof in [
        of_another_session,
        by_another_key,
        altered(|bytes| bytes[40] ^= 1),
        altered(Vec::clear),
        altered(|bytes| bytes.push(0)),
        altered(|bytes| bytes.fill(0)),
    ] {
        for operation in ABOUT {
            let (answer, _) = ask(&session, operation, Some(proof.clone())).await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (400, "authentication-failed"),
                "{operation}"
            );
        }
        let (request, _) = deploy(&session, "other", proof);
        let answer = session
            .send_to(Method::POST, "/agent/deploy", &request)
            .await;
        assert_eq!(answer.problem(), "authentication-failed");
    }
    let agents = host.client().agents().await.unwrap().agents;
    assert_eq!(agents.len(), 1);
}

fn deploy(session: &RawSession, name: &str, proof: OwnerProof) -> (DeployRequest, PendingRequest) {
    let client = &session.session;
    let (component, manifest) = (guest("hello"), manifest(name, ""));
    let (sealed, pending) = client
        .seal_request::<&[u8]>(
            Operation::Deploy,
            &component,
            Some(manifest.as_bytes()),
            &[],
        )
        .unwrap();
    let request = DeployRequest::new(client.public_key(), *client.id(), proof, sealed);
    (request, pending)
}

#[tokio::test]
async fn a_public_key_that_is_none_is_no_owners() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let good = session.prove(&owner());
    let beyond_the_field = [vec![2], vec![0xff; 32]].concat();
    for key in [vec![], vec![2; 32], beyond_the_field, vec![0; 65]] {
        let proof = OwnerProof {
            public_key: HexBytes(key),
            ..good.clone()
        };
        let (answer, _) = ask(&session, Operation::List, Some(proof)).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "invalid-key")
        );
    }
}

#[tokio::test]
async fn what_needs_an_owner_is_refused_sealed_without_one() {
    let host = Host::start();
    host.deploy(&owner(), "hello", "agent", "").await;
    let session = RawSession::open(&host).await;
    for operation in [Operation::Remove, Operation::Logs, Operation::List] {
        let (answer, pending) = ask(&session, operation, None).await;
        let report = session
            .open_answer(ContentFormat::Cbor, &pending, &answer)
            .report;
        let (problem, detail) = rejection(&Error::Agent(Box::new(report.exit)));
        assert_eq!(problem, Rejection::NotOwner);
        assert!(detail.contains("`owner`"), "{detail}");
    }
    assert_eq!(host.get("agent", "/").await.status(), 200);
}

#[tokio::test]
async fn a_deployment_without_an_owner_is_malformed() {
    let host = Host::start();
    let session = RawSession::open(&host).await;
    let (request, _) = deploy(&session, "agent", session.prove(&owner()));
    let mut request = serde_json::to_value(&request).unwrap();
    request.as_object_mut().unwrap().remove("owner");
    let (http, url) = (
        reqwest::Client::new(),
        format!("{}/agent/deploy", host.url()),
    );
    let body = serde_json::to_vec(&request).unwrap();
    let answer = post(&http, &url, "application/json", body).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "malformed-request")
    );
    assert!(answer.detail().contains("owner"), "{}", answer.detail());
}

#[tokio::test]
async fn a_call_of_a_public_agent_needs_no_owner() {
    let host = Host::start();
    host.deploy(&owner(), "echo", "agent", "").await;
    let session = host.session().await;
    let agent = reference("agent");
    for owner in [None, Some(&owner())] {
        let inputs = Inputs::new().argument("hello");
        let execution = session.call_command(&agent, inputs, owner).await.unwrap();
        assert_eq!(execution.result, b"hello\n");
    }
}
