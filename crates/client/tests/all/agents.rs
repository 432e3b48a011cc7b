//! Agents by way of the library, against a host that checks owners' proofs and seals its answers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use crate::support::{Challenge, Host, KEY, Reply, TRANSACTION, Trick, offer};
use http::Request;
use hypervisor_client::agents::{Reference, ServiceAnswer};
use hypervisor_client::payment::{Payer, Payment, PaymentPolicy, Wallet};
use hypervisor_client::protocol::{AgentWorld, Exit, OwnerKey, ProblemType, Rejection};
use hypervisor_client::{Client, Error, Inputs, Session};

const COMPONENT: &[u8] = b"\0asm";

fn owner() -> OwnerKey {
    OwnerKey::generate().unwrap().0
}

fn payer() -> Payer {
    let policy = PaymentPolicy::new("0.01".parse().unwrap());
    Payer::new(Wallet::from_hex(KEY).unwrap(), policy)
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn manifest(name: &str, more: &str) -> String {
    format!("name = '{name}'\ndescription = 'Tells the weather.'\nversion = '1.2.0'\n{more}")
}

async fn session(host: &Host) -> Session {
    let client = Client::new(&host.url).unwrap();
    client.open_session().await.unwrap()
}

async fn deploy(session: &Session, owner: &OwnerKey, name: &str, more: &str) -> Reference {
    let manifest = manifest(name, more);
    let deployed = session.deploy(COMPONENT, &manifest, owner).await.unwrap();
    reference(&deployed.info.address)
}

/// What a service answers to a request, or its lack of one.
async fn ask(request: Request<Vec<u8>>) -> Result<ServiceAnswer, Error> {
    let host = Host::start(Challenge::None, []).await;
    let session = session(&host).await;
    deploy(&session, &owner(), "weather", "").await;
    let weather = reference("weather");
    session.call_service(&weather, request, None).await
}

fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).unwrap()
}

/// The rejection of a request about agents.
fn rejection<T>(result: Result<T, Error>) -> (Rejection, String) {
    match result {
        Err(error @ Error::Agent(_)) => {
            assert!(!error.is_verification_failure());
            let text = error.to_string();
            match error {
                Error::Agent(exit) => match *exit {
                    Exit::Rejected { problem, detail } => {
                        assert!(text.contains(&detail), "{text}");
                        (problem, text)
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other}"),
            }
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was granted"),
    }
}

#[tokio::test]
async fn a_component_is_deployed_as_its_owners_agent() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner) = (session(&host).await, owner());
    let manifest = manifest("weather", "world = 'service'");
    let deployed = session.deploy(COMPONENT, &manifest, &owner).await.unwrap();
    let info = &deployed.info;
    assert_eq!(info.address, format!("weather.{}", owner.id()));
    assert_eq!(
        (info.path.as_str(), info.world),
        ("/agents/weather/", AgentWorld::Service)
    );
    assert_eq!(deployed.execution.report.exit, Exit::Ok);
    assert_eq!(deployed.execution.sequence, 0);
    assert_eq!(host.addresses(), std::slice::from_ref(&info.address));
}

#[tokio::test]
async fn a_refused_deployment_says_what_the_host_said() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner) = (session(&host).await, owner());
    let refused = session.deploy(COMPONENT, "version = '1'", &owner).await;
    let (problem, text) = rejection(refused);
    assert_eq!(problem, Rejection::InvalidManifest);
    assert_eq!(text, "the host refuses the manifest: it has no name");
    let refused = session.deploy(b"text", &manifest("a", ""), &owner).await;
    assert_eq!(rejection(refused).0, Rejection::MissingImport);
    assert_eq!(host.addresses(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_is_taken_is_the_first_owners_and_the_other_has_an_address() {
    let host = Host::start(Challenge::None, []).await;
    let session = session(&host).await;
    let (first, second) = (owner(), owner());
    deploy(&session, &first, "weather", "").await;
    let address = deploy(&session, &second, "weather", "").await;
    let client = Client::new(&host.url).unwrap();
    let by_name = client.agent(&reference("weather")).await.unwrap();
    assert!(by_name.address.ends_with(&first.id()));
    let by_address = client.agent(&address).await.unwrap();
    assert_eq!(by_address.path, format!("/agents/{address}/"));
    assert_eq!(client.agents().await.unwrap().agents.len(), 2);
}

#[tokio::test]
async fn an_owner_lists_reads_and_removes_its_own_agents() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner, other) = (session(&host).await, owner(), owner());
    deploy(&session, &owner, "weather", "private = true").await;
    deploy(&session, &other, "news", "").await;
    let own = session.own_agents(&owner).await.unwrap().agents;
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].name, "weather");
    let weather = reference("weather");
    let log = session.agent_logs(&weather, &owner).await.unwrap();
    assert_eq!(log.lines, ["one", "two"]);
    let removed = session.remove_agent(&weather, &owner).await.unwrap();
    assert_eq!(removed.name, "weather");
    assert_eq!(host.addresses(), [format!("news.{}", other.id())]);
}

#[tokio::test]
async fn what_is_another_owners_is_not_touched() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner, other) = (session(&host).await, owner(), owner());
    deploy(&session, &owner, "weather", "").await;
    deploy(&session, &owner, "diary", "private = true").await;
    let (weather, diary) = (reference("weather"), reference("diary"));
    let removed = session.remove_agent(&weather, &other).await;
    assert_eq!(rejection(removed).0, Rejection::NotOwner);
    let log = session.agent_logs(&diary, &other).await;
    assert_eq!(rejection(log).0, Rejection::UnknownAgent);
    assert_eq!(host.addresses().len(), 2);
}

#[tokio::test]
async fn a_service_gets_a_request_and_gives_a_response() {
    let request = Request::post("/forecast?city=Oslo")
        .header("accept", "text/plain")
        .body(b"body".to_vec())
        .unwrap();
    let answer = ask(request).await.unwrap();
    assert_eq!(answer.trailers["seen-length"], "4");
    assert_eq!(answer.execution.report.exit, Exit::Ok);
    let response = answer.into_response().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["seen-accept"], "text/plain");
    assert_eq!(
        response.body(),
        b"POST weather.agent.internal /forecast?city=Oslo\nbody"
    );
}

#[tokio::test]
async fn a_status_of_the_agents_own_is_no_error() {
    let answer = ask(get("/missing")).await.unwrap();
    let response = answer.into_response().unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn a_service_that_trapped_gave_no_response() {
    let answer = ask(get("/trap")).await.unwrap();
    assert!(matches!(answer.execution.report.exit, Exit::Trap { .. }));
    assert!(answer.response.is_none());
    let error = answer.into_response().unwrap_err();
    assert_eq!(error.to_string(), "the program trapped: unreachable");
}

#[tokio::test]
async fn a_result_that_is_no_response_is_refused() {
    match ask(get("/garbage")).await.unwrap_err() {
        error @ Error::Answer { .. } => {
            assert!(error.to_string().contains("Binary HTTP"), "{error}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_command_gets_arguments_and_input_and_its_end_is_reported() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner) = (session(&host).await, owner());
    let shout = deploy(&session, &owner, "shout", "world = 'command'").await;
    let inputs = Inputs::new().argument("a").argument("b").stdin(b"in");
    let execution = session.call_command(&shout, inputs, None).await.unwrap();
    assert_eq!(execution.result, b"[\"a\", \"b\"] in");
    let inputs = Inputs::new().arguments(["exit", "3"]);
    let execution = session.call_command(&shout, inputs, None).await.unwrap();
    assert_eq!(execution.report.exit, Exit::Code { code: 3 });
}

#[tokio::test]
async fn a_private_agent_exists_for_its_owner_only() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner, other) = (session(&host).await, owner(), owner());
    let diary = deploy(
        &session,
        &owner,
        "diary",
        "private = true\nworld = 'command'",
    )
    .await;
    for caller in [None, Some(&other)] {
        let call = session.call_command(&diary, Inputs::new(), caller).await;
        let exit = call.unwrap().report.exit;
        assert!(matches!(
            exit,
            Exit::Rejected {
                problem: Rejection::UnknownAgent,
                ..
            }
        ));
    }
    let call = session.call_command(&diary, Inputs::new(), Some(&owner));
    assert_eq!(call.await.unwrap().report.exit, Exit::Ok);
    let client = Client::new(&host.url).unwrap();
    assert!(client.agents().await.unwrap().agents.is_empty());
    match client.agent(&diary).await.unwrap_err() {
        Error::Refused(problem) => {
            assert_eq!(problem.problem_type(), Some(ProblemType::AgentNotFound));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn altered_answers_are_refused() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner) = (session(&host).await, owner());
    let shout = deploy(&session, &owner, "shout", "world = 'command'").await;
    let weather = deploy(&session, &owner, "weather", "").await;
    host.trick(Trick::Alter);
    let again = manifest("weather", "");
    for error in [
        session.deploy(COMPONENT, &again, &owner).await.unwrap_err(),
        session.own_agents(&owner).await.unwrap_err(),
        session.agent_logs(&weather, &owner).await.unwrap_err(),
        session.remove_agent(&weather, &owner).await.unwrap_err(),
        session
            .call_command(&shout, Inputs::new(), None)
            .await
            .unwrap_err(),
        session
            .call_service(&weather, get("/"), None)
            .await
            .unwrap_err(),
    ] {
        assert!(error.is_verification_failure(), "{error}");
    }
}

#[tokio::test]
async fn an_agent_of_another_component_than_was_sent_is_refused() {
    let host = Host::start(Challenge::None, []).await;
    host.trick(Trick::OtherComponent);
    let (session, owner) = (session(&host).await, owner());
    let manifest = manifest("weather", "");
    let deployed = session.deploy(COMPONENT, &manifest, &owner).await;
    let text = deployed.unwrap_err().to_string();
    assert!(text.contains("SHA-256 digest 0707"), "{text}");
}

#[tokio::test]
async fn a_result_that_is_not_what_was_asked_for_is_refused() {
    let host = Host::start(Challenge::None, []).await;
    host.trick(Trick::Empty);
    let error = session(&host).await.own_agents(&owner()).await.unwrap_err();
    assert!(
        error.to_string().contains("missing field `agents`"),
        "{error}"
    );
}

#[tokio::test]
async fn search_finds_public_agents() {
    let host = Host::start(Challenge::None, []).await;
    let (session, owner) = (session(&host).await, owner());
    deploy(&session, &owner, "weather", "").await;
    deploy(&session, &owner, "diary", "private = true").await;
    let client = Client::new(&host.url).unwrap();
    let answer = client.search("the weather", None).await.unwrap();
    assert_eq!(
        (answer.message.as_str(), answer.agents.len()),
        ("weather", 1)
    );
    let answer = client.search("elephants", Some(1)).await.unwrap();
    assert_eq!(answer.message, "no agent found");
}

#[tokio::test]
async fn an_agent_of_the_registry_is_deployed_by_its_name() {
    let host = Host::start(Challenge::None, []).await;
    let client = Client::new(&host.url).unwrap();
    let answer = client.deploy_registered("registered").await.unwrap();
    assert_eq!(answer.agent.address, "registered.operator");
    let error = client.deploy_registered("unheard-of").await.unwrap_err();
    assert!(
        error.to_string().contains("There is no such agent"),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_of_an_agent_with_a_price_is_paid_for() {
    let host = Host::paid([Reply::Settle, Reply::Settle, Reply::Trap]).await;
    let (session, owner) = (session(&host).await, owner());
    let weather = deploy(&session, &owner, "weather", "price = '0.01 USDC'").await;
    let priced = "price = '0.01 USDC'\nworld = 'command'";
    let shout = deploy(&session, &owner, "shout", priced).await;
    let payer = payer();

    let free = session.call_service(&weather, get("/"), None).await;
    assert!(matches!(free.unwrap_err(), Error::PaymentDemanded(_)));

    let paid = session.call_service_paid(&weather, get("/"), None, &payer);
    let paid = paid.await.unwrap();
    assert_eq!(paid.receipt().unwrap().transaction, TRANSACTION);
    assert_eq!(paid.answer.into_response().unwrap().status(), 200);

    let paid = session.call_command_paid(&shout, Inputs::new(), None, &payer);
    let paid = paid.await.unwrap();
    assert_eq!(paid.execution.result, b"[] no input");
    assert!(paid.receipt().is_some());

    let failed = session.call_service_paid(&weather, get("/"), None, &payer);
    let failed = failed.await.unwrap();
    assert!(matches!(failed.payment, Payment::NotCharged(_)));
    assert!(failed.answer.response.is_none());
}

#[tokio::test]
async fn a_response_that_was_paid_for_and_can_not_be_read_may_have_been_charged() {
    let host = Host::start(Challenge::Offers(vec![offer()]), [Reply::Settle]).await;
    let (session, owner) = (session(&host).await, owner());
    let weather = deploy(&session, &owner, "weather", "price = '0.01 USDC'").await;
    let payer = payer();
    let paid = session.call_service_paid(&weather, get("/garbage"), None, &payer);
    let error = paid.await.unwrap_err();
    assert!(matches!(error, Error::PaymentUncertain { .. }), "{error}");
}
