//! The operator's policy on agents: asked before one is deployed, and before one is called.

use hyper::Request;
use hypervisor_client::protocol::{Exit, OwnerKey, Rejection};
use hypervisor_client::{Error, Inputs, Program};
use hypervisor_tests::Host;
use hypervisor_tests::agents::{manifest, owner, problem, reference, rejection};
use hypervisor_tests::programs::guest;

use crate::agents::kit::Policy;

/// The reason of a deployment's denial.
async fn denied(host: &Host, owner: &OwnerKey, guest_name: &str, name: &str) -> String {
    let (component, manifest) = (guest(guest_name), manifest(name, ""));
    let deployed = host.try_deploy(owner, &component, &manifest);
    match deployed.await.unwrap_err() {
        Error::Agent(exit) => match *exit {
            Exit::Denied { reason } => reason,
            other => panic!("{other:?}"),
        },
        other => panic!("{other}"),
    }
}

/// Calls a service sealed; how that ended.
async fn call(host: &Host, name: &str) -> Exit {
    let session = host.session().await;
    let request = Request::get("/log?bytes=5").body(Vec::new()).unwrap();
    let agent = reference(name);
    let answer = session.call_service(&agent, request, None).await.unwrap();
    answer.execution.report.exit
}

#[tokio::test]
async fn a_deployment_that_is_denied_changes_nothing_and_its_reason_is_sealed() {
    let policy = Policy::python(
        "def authorize(action):\n    if action.kind == 'deploy-agent' and any('wasi:http' in i for i in action.imports):\n        return Deny('no services here')\n    return True\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    let before = host.deploy(&owner, "hello", "agent", "").await;
    assert!(before.execution.report.policy.unwrap().allowed);
    for name in ["agent", "other"] {
        let reason = denied(&host, &owner, "http-hello", name).await;
        assert_eq!(reason, "no services here");
    }
    assert_eq!(host.client().agents().await.unwrap().agents, [before.info]);
    assert_eq!(
        host.get("agent", "/").await.text().await.unwrap(),
        "hello\n"
    );
    assert!(!host.log().contains("no services here"));
}

#[tokio::test]
async fn rules_see_the_owner_as_whom_a_client_speaks() {
    let policy = Policy::python(
        "def authorize(action):\n    return Deny(f'{action.caller_owner} {action.agent_name} {action.agent_owner}')\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    let id = owner.id();
    let reason = denied(&host, &owner, "hello", "agent").await;
    assert_eq!(reason, format!("{id} agent {id}"));
    let report = host.run(Program::new(&guest("hello"))).await.report;
    let Exit::Denied { reason } = report.exit else {
        panic!("{:?}", report.exit);
    };
    assert_eq!(reason, "None None None", "who proves nothing is nobody");
}

#[tokio::test]
async fn rules_see_what_is_deployed_by_whom() {
    let rules = r#"
def authorize(action):
    http = any('wasi:http/types' in i for i in action.imports)
    return Deny(f"{action.kind} {action.agent} {len(action.subject)} {len(action.caller)} {action.resource} {action.method} {action.sizes.program} {action.sizes.input} {http}")
"#;
    let policy = Policy::python(rules);
    let host = Host::with(&policy.section());
    let owner = owner();
    let (component, text) = (guest("http-hello"), manifest("agent", ""));
    let expected = format!(
        "deploy-agent agent.{} 64 66 /agent/deploy POST {} {} True",
        owner.id(),
        component.len(),
        text.len()
    );
    assert_eq!(denied(&host, &owner, "http-hello", "agent").await, expected);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_without_asking_the_policy() {
    let policy = Policy::python("def authorize(action):\n    return Deny('whatever it is')\n");
    let host = Host::with(&policy.section());
    let error = host
        .try_deploy(&owner(), b"text", &manifest("agent", ""))
        .await
        .unwrap_err();
    assert_eq!(rejection(&error).0, Rejection::NotWasm);
}

#[tokio::test]
async fn a_call_that_is_denied_does_not_run_plain_or_sealed() {
    let policy = Policy::python(
        "def authorize(action):\n    if action.kind == 'invoke-agent' and action.agent.startswith('closed.'):\n        return Deny('closed today')\n    return True\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    for name in ["open", "closed"] {
        host.deploy(&owner, "bad-agent", name, "").await;
    }
    let (status, problem) = problem(host.get("closed", "/log?bytes=5").await).await;
    assert_eq!(
        (status, problem.kind.as_str(), problem.detail.as_str()),
        (403, "urn:hypervisor:problem:agent-denied", "closed today")
    );
    let reason = "closed today".to_owned();
    assert_eq!(call(&host, "closed").await, Exit::Denied { reason });
    assert!(host.logs(&owner, "closed").await.lines.is_empty());

    assert_eq!(host.get("open", "/log?bytes=5").await.status(), 200);
    assert_eq!(call(&host, "open").await, Exit::Ok);
    assert_eq!(host.logs(&owner, "open").await.lines.len(), 2);
}

#[tokio::test]
async fn rules_see_what_is_called_and_how() {
    let rules = r#"
def authorize(action):
    if action.kind == 'deploy-agent':
        return True
    caller = len(action.caller) if action.caller else None
    return Deny(f"{action.kind} {action.agent} {action.subject} {caller} {action.resource} {action.method} {action.sizes.input}")
"#;
    let policy = Policy::python(rules);
    let host = Host::with(&policy.section());
    let info = host.deploy(&owner(), "http-echo", "agent", "").await.info;
    let (address, digest) = (&info.address, &info.digest);
    let plain = reqwest::Client::new()
        .put(host.agent("agent", "/a/b?secret=c"))
        .body("12345")
        .send()
        .await
        .unwrap();
    let said = problem(plain).await.1.detail;
    assert_eq!(
        said,
        format!("invoke-agent {address} {digest} None /agents/agent/a/b PUT 5")
    );

    let session = host.session().await;
    let request = Request::patch("/a/b").body(Vec::new()).unwrap();
    let agent = reference("agent");
    let answer = session.call_service(&agent, request, None).await.unwrap();
    let Exit::Denied { reason } = answer.execution.report.exit else {
        panic!("{:?}", answer.execution.report.exit);
    };
    let expected = format!("invoke-agent {address} {digest} 66 /agents/agent POST ");
    assert!(reason.starts_with(&expected), "{reason}");
}

#[tokio::test]
async fn an_owner_may_look_and_remove_whatever_the_policy_says() {
    let policy = Policy::python(
        "def authorize(action):\n    return action.kind == 'deploy-agent' or Deny('nothing else')\n",
    );
    let host = Host::with(&policy.section());
    let owner = owner();
    host.deploy(&owner, "echo", "agent", "").await;
    let session = host.session().await;
    let agent = reference("agent");
    let called = session
        .call_command(&agent, Inputs::new(), None)
        .await
        .unwrap();
    assert!(matches!(called.report.exit, Exit::Denied { .. }));
    session.agent_logs(&agent, &owner).await.unwrap();
    assert_eq!(session.own_agents(&owner).await.unwrap().agents.len(), 1);
    session.remove_agent(&agent, &owner).await.unwrap();
}
