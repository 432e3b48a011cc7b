//! Agents' pages in a browser: all agents share an origin with the API, and none may act for it.

use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;

#[tokio::test]
async fn an_agent_speaks_for_its_own_path_alone() {
    let host = Host::start();
    host.deploy(&owner(), "bad-agent", "page", "").await;
    let answer = host.get("page", "/origin").await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    for gone in [
        "service-worker-allowed",
        "clear-site-data",
        "strict-transport-security",
        "alt-svc",
        "nel",
        "report-to",
    ] {
        assert!(!headers.contains_key(gone), "{gone}: {headers:?}");
    }
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=b; HttpOnly; Path=/agents/page/"]);
    assert_eq!(headers["x-own"], "stays");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let sandbox = headers["content-security-policy"].to_str().unwrap();
    assert!(sandbox.starts_with("sandbox ") && !sandbox.contains("allow-same-origin"));
}
