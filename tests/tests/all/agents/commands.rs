//! Plain calls of commands: arguments in the query, standard input in the body, standard output in the answer.

use hypervisor_client::protocol::OwnerKey;
use hypervisor_tests::Host;
use hypervisor_tests::agents::{owner, problem};
use reqwest::{Client, Response};

/// A host with one of the guests under its own name, and its owner.
async fn with(config: &str, guest: &str) -> (Host, OwnerKey) {
    let (host, owner) = (Host::with(config), owner());
    host.deploy(&owner, guest, guest, "").await;
    (host, owner)
}

async fn run(host: &Host, command: &str, query: &str, stdin: &[u8]) -> Response {
    let request = Client::new().post(host.agent(command, &format!("/{query}")));
    request.body(stdin.to_vec()).send().await.unwrap()
}

/// Exit code and standard output.
async fn ended(answer: Response) -> (String, String) {
    let code = answer.headers()["x-exit-code"].to_str().unwrap().to_owned();
    (code, answer.text().await.unwrap())
}

#[tokio::test]
async fn arguments_standard_input_and_output_are_query_body_and_answer() {
    let (host, _) = with("", "echo").await;
    let query = "?arg=a&arg=b+c%26&other=no&arg=&arg=%C3%A4";
    let answer = run(&host, "echo", query, b"in\0put").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let expected = ("0".to_owned(), "a\nb c&\n\nä\nin\0put".to_owned());
    assert_eq!(ended(answer).await, expected);
}

#[tokio::test]
async fn a_get_has_empty_standard_input() {
    let (host, _) = with("", "echo").await;
    let answer = host.get("echo", "/?arg=a").await;
    assert_eq!(ended(answer).await, ("0".to_owned(), "a\n".to_owned()));
}

#[tokio::test]
async fn an_exit_code_above_0_is_an_error_with_the_output_so_far() {
    let (host, _) = with("", "exit-code").await;
    for (query, code) in [("?arg=1", "1"), ("?arg=255", "255"), ("", "7")] {
        let answer = run(&host, "exit-code", query, b"").await;
        assert_eq!(answer.status(), 500);
        assert_eq!(ended(answer).await.0, code);
    }
    let answer = run(&host, "exit-code", "?arg=0", b"").await;
    assert_eq!(
        (answer.status().as_u16(), ended(answer).await.0),
        (200, "0".to_owned())
    );
}

#[tokio::test]
async fn a_trap_is_a_failure_and_its_reason_is_in_the_owners_log() {
    let (host, owner) = with("", "trap").await;
    let (status, problem) = problem(run(&host, "trap", "", b"").await).await;
    assert_eq!(status, 502);
    assert!(problem.kind.ends_with(":agent-failed"), "{problem:?}");
    let log = host.logs(&owner, "trap").await;
    let said = |text: &str| log.lines.iter().any(|line| line.contains(text));
    assert!(said(" stderr ") && said(" host trap: "), "{log:?}");
}

#[tokio::test]
async fn an_exit_code_above_0_is_in_the_owners_log_and_0_is_not() {
    let (host, owner) = with("", "exit-code").await;
    for query in ["?arg=0", "?arg=3"] {
        run(&host, "exit-code", query, b"").await;
    }
    let log = host.logs(&owner, "exit-code").await;
    assert_eq!(log.lines.len(), 1, "{log:?}");
    assert!(log.lines[0].ends_with(" host exit code 3"), "{log:?}");
}

#[tokio::test]
async fn a_limit_is_named() {
    for (limits, guest, query, name) in [
        ("output = '1 MiB'", "flood", "", "output"),
        ("cpu = '200ms'", "spin", "", "cpu"),
        ("wall = '1s'", "sleepy", "?arg=60000", "wall"),
        ("memory = '32 MiB'", "oom", "", "memory"),
    ] {
        let (host, _) = with(&format!("[limits]\n{limits}"), guest).await;
        let (status, problem) = problem(run(&host, guest, query, b"").await).await;
        assert_eq!(status, 504);
        let problem = serde_json::to_value(problem).unwrap();
        assert_eq!(problem["limit"], name, "{problem}");
    }
}

#[tokio::test]
async fn the_manifests_output_limit_holds() {
    let host = Host::start();
    host.deploy(&owner(), "flood", "flood", "[limits]\noutput = '64 KiB'")
        .await;
    let (_, problem) = problem(host.get("flood", "/").await).await;
    let problem = serde_json::to_value(problem).unwrap();
    assert_eq!(
        (&problem["limit"], &problem["allowed"]),
        (&"output".into(), &65_536.into())
    );
}

#[tokio::test]
async fn standard_input_has_the_hosts_limit_for_bodies() {
    let (host, _) = with("[limits]\nbody = '2 MiB'\nbodies = '2 MiB'", "echo").await;
    let fits = vec![b'x'; 1 << 20];
    let answer = run(&host, "echo", "", &fits).await;
    assert!(answer.bytes().await.unwrap() == fits);
    let (status, problem) = problem(run(&host, "echo", "", &[b'x'; 3 << 20]).await).await;
    assert_eq!(status, 413);
    assert!(problem.kind.ends_with(":body-too-large"), "{problem:?}");
}

#[tokio::test]
async fn too_many_arguments_are_refused() {
    let (host, _) = with("[limits]\narguments = 3", "many-args").await;
    let answer = run(&host, "many-args", "?arg=a&arg=b&arg=c", b"").await;
    assert_eq!(ended(answer).await.1, "3 arguments, 3 bytes\n");
    let (status, problem) =
        problem(run(&host, "many-args", "?arg=a&arg=b&arg=c&arg=d", b"").await).await;
    assert_eq!(status, 400);
    assert!(problem.kind.ends_with(":too-many-arguments"), "{problem:?}");
}

#[tokio::test]
async fn an_argument_with_a_zero_in_it_is_refused_or_arrives_whole() {
    let (host, _) = with("", "many-args").await;
    let answer = run(&host, "many-args", "?arg=a%00b", b"").await;
    match answer.status().as_u16() {
        200 => assert_eq!(ended(answer).await.1, "1 arguments, 3 bytes\n"),
        status => assert_eq!(status, 400),
    }
}

#[tokio::test]
async fn the_environment_is_the_manifests() {
    let host = Host::start();
    let environment = "[environment]\nNAME = 'value'";
    host.deploy(&owner(), "jq", "jq", environment).await;
    let answer = run(&host, "jq", "?arg=-n&arg=-c&arg=env", b"").await;
    assert_eq!(ended(answer).await.1, "{\"NAME\":\"value\"}\n");
}

#[tokio::test]
async fn calls_are_counted_by_how_they_ended() {
    let (host, _) = with("", "exit-code").await;
    for query in ["?arg=0", "?arg=3", "?arg=4"] {
        run(&host, "exit-code", query, b"").await;
    }
    let count = async |exit: &str| {
        let name = format!("hypervisor_agent_calls_total{{exit=\"{exit}\"}}");
        host.counter(&name).await
    };
    assert_eq!((count("ok").await, count("code").await), (1, 2));
}
