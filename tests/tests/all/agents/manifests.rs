//! Manifests: what is refused, and that the key is named.

use hypervisor_client::protocol::{ContentFormat, Exit, Operation, OwnerProof, Rejection};
use hypervisor_client::protocol::{DeployRequest, OwnerKey};
use hypervisor_client::{Error, Session};
use hypervisor_tests::agents::{manifest, owner, rejection};
use hypervisor_tests::programs::component;
use hypervisor_tests::{Host, RawSession};
use reqwest::Method;

/// A command that compiles at once.
fn small() -> Vec<u8> {
    component(r#"(func (export "run") (result i32) (i32.const 0))"#)
}

/// A session with an owner, to deploy in.
struct Deployer {
    host: Host,
    session: Session,
    owner: OwnerKey,
}

impl Deployer {
    async fn on(host: Host) -> Self {
        let session = host.session().await;
        Self {
            host,
            session,
            owner: owner(),
        }
    }

    async fn start() -> Self {
        Self::on(Host::start()).await
    }

    async fn accepted(&self, manifest: &str) {
        let deployed = self.session.deploy(&small(), manifest, &self.owner).await;
        deployed.unwrap_or_else(|error| panic!("{error}: {manifest}"));
    }

    /// The words of the refusal.
    async fn refused(&self, manifest: &str) -> String {
        match self.session.deploy(&small(), manifest, &self.owner).await {
            Ok(_) => panic!("accepted: {manifest}"),
            Err(error) => {
                let (problem, detail) = rejection(&error);
                assert_eq!(problem, Rejection::InvalidManifest, "{detail}");
                detail
            }
        }
    }

    /// Each manifest is refused in words that hold what stands beside it, and nothing is deployed.
    async fn all_refused<'a>(&self, cases: impl IntoIterator<Item = (String, &'a [&'a str])>) {
        for (manifest, words) in cases {
            let detail = self.refused(&manifest).await;
            for word in words {
                assert!(
                    detail.contains(word),
                    "no {word:?} in {detail:?}: {manifest}"
                );
            }
        }
        let agents = self.host.client().agents().await.unwrap().agents;
        assert!(agents.is_empty(), "{agents:?}");
    }
}

#[tokio::test]
async fn a_key_that_means_nothing_is_refused_with_the_nearest_name() {
    let deployer = Deployer::start().await;
    let cases: [(&str, &[&str]); 5] = [
        ("descripton = 'x'", &["`descripton`", "`description`"]),
        ("Private = true", &["`Private`", "`private`"]),
        ("payto = '0x1'", &["`payto`", "`pay_to`"]),
        (
            "[limits]\nmemroy = '1 MiB'",
            &["`limits.memroy`", "`limits.memory`"],
        ),
        ("zzzzzzzzzzzz = 1", &["`zzzzzzzzzzzz`"]),
    ];
    let cases = cases.map(|(more, words)| (manifest("agent", more), words));
    deployer.all_refused(cases).await;
}

#[tokio::test]
async fn a_name_is_a_label_of_the_dns_in_lower_case_and_nothing_else() {
    let deployer = Deployer::start().await;
    let long = "a".repeat(64);
    let names = [
        "",
        " ",
        ".",
        "..",
        "../agent",
        "../../etc/passwd",
        "/etc/passwd",
        "agent/..",
        "a/b",
        "a\\\\b",
        "a%2fb",
        "agent.operator",
        "agent.0123456789abcdef0123456789abcdef",
        "Agent",
        "AGENT",
        "1agent",
        "-agent",
        "agent-",
        "an agent",
        "agent\\n",
        "agent\\u0000",
        "a_b",
        "агент",
        "\u{430}gent",
        "agent\u{200b}",
        "ａｇｅｎｔ",
        "ſ",
        "café",
        &long,
    ];
    let cases = names.map(|name| {
        let text = format!("name = \"{name}\"\ndescription = 'd'\nversion = '1'");
        (text, ["name"].as_slice())
    });
    deployer.all_refused(cases).await;
    for name in ["a", "agent-2", "x1", &"a".repeat(63)] {
        deployer.accepted(&manifest(name, "")).await;
    }
}

#[tokio::test]
async fn what_every_agent_has_must_be_there() {
    let deployer = Deployer::start().await;
    let cases: [(&str, &[&str]); 4] = [
        ("", &["`name`"]),
        ("description = 'd'\nversion = '1'", &["`name`"]),
        ("name = 'agent'\nversion = '1'", &["`description`"]),
        ("name = 'agent'\ndescription = 'd'", &["`version`"]),
    ];
    let cases = cases.map(|(text, words)| (text.to_owned(), words));
    deployer.all_refused(cases).await;
}

#[tokio::test]
async fn a_value_outside_its_bounds_is_refused_with_its_key() {
    let deployer = Deployer::start().await;
    let long = |count: usize| "x".repeat(count);
    let skills = format!("skills = [{}]", "'s', ".repeat(33));
    let outgoing = format!("outgoing = [{}]", "'https://example.org', ".repeat(65));
    let variables: String = (0..65).map(|n| format!("V{n} = ''\n")).collect();
    let cases = [
        ("world = 'plugin'".to_owned(), "world"),
        ("private = 'yes'".to_owned(), "private"),
        (skills, "skills"),
        ("skills = ['']".to_owned(), "skills[0]"),
        (format!("skills = ['ok', '{}']", long(101)), "skills[1]"),
        ("reuse = 0".to_owned(), "reuse"),
        ("reuse = 1025".to_owned(), "reuse"),
        ("reuse = -1".to_owned(), "reuse"),
        ("reuse = 1.5".to_owned(), "reuse"),
        (outgoing, "outgoing"),
        (format!("[environment]\n{variables}"), "environment"),
        (
            format!("[environment]\nV = '{}'", long(32 << 10)),
            "environment",
        ),
        ("[environment]\n'A=B' = ''".to_owned(), "environment.A=B"),
        ("[environment]\nV = 1".to_owned(), "environment.V"),
        (
            "[environment]\nV = \"a\\u0000b\"".to_owned(),
            "environment.V",
        ),
        ("[limits]\nmemory = 'much'".to_owned(), "memory"),
        ("[limits]\ncpu = '0s'".to_owned(), "limits.cpu"),
        ("[limits]\nwall = '0s'".to_owned(), "limits.wall"),
        ("[limits]\nmemory = '0 B'".to_owned(), "limits.memory"),
        ("[limits]\noutput = '0 B'".to_owned(), "limits.output"),
    ];
    for (more, key) in cases {
        let detail = deployer.refused(&manifest("agent", &more)).await;
        assert!(detail.contains(key), "no {key} in {detail}");
    }
    for (description, version, key) in [
        (String::new(), "1".to_owned(), "description"),
        (long(2001), "1".to_owned(), "description"),
        ("tab\\t".to_owned(), "1".to_owned(), "description"),
        ("d".to_owned(), String::new(), "version"),
        ("d".to_owned(), long(65), "version"),
        ("d".to_owned(), "1 2".to_owned(), "version"),
        ("d".to_owned(), "1/../2".to_owned(), "version"),
    ] {
        let text =
            format!("name = 'agent'\ndescription = \"{description}\"\nversion = \"{version}\"");
        let detail = deployer.refused(&text).await;
        assert!(detail.contains(key), "no {key} in {detail}");
    }
}

#[tokio::test]
async fn limits_above_the_hosts_are_refused_with_the_hosts() {
    let host = Host::with("[limits]\ncpu = '2s'\nwall = '4s'\nmemory = '64 MiB'\noutput = '1 MiB'");
    let deployer = Deployer::on(host).await;
    let cases: [(&str, &[&str]); 4] = [
        ("cpu = '3s'", &["`limits.cpu`", "2s"]),
        ("wall = '1h'", &["`limits.wall`", "4s"]),
        ("memory = '65 MiB'", &["`limits.memory`", "64.0 MiB"]),
        ("output = '1 GiB'", &["`limits.output`", "1.0 MiB"]),
    ];
    let cases =
        cases.map(|(limit, words)| (manifest("agent", &format!("[limits]\n{limit}")), words));
    deployer.all_refused(cases).await;
    let equal = "[limits]\ncpu = '2s'\nwall = '4s'\nmemory = '64 MiB'\noutput = '1 MiB'";
    deployer.accepted(&manifest("agent", equal)).await;
}

#[tokio::test]
async fn what_is_no_origin_is_refused() {
    let deployer = Deployer::start().await;
    let origins = [
        "",
        "*",
        "example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "https://",
        "https://example.org/",
        "https://example.org/path",
        "https://example.org?query",
        "https://example.org#fragment",
        "https://user@example.org",
        "https://user:secret@example.org",
        "https://example.org:",
        "https://example.org:0",
        "https://example.org:65536",
        "https://example.org:http",
        "https://*",
        "https://*example.org",
        "https://api.*.org",
        "https://*.*.org",
        "https://.example.org",
        "https://example..org",
        "https://exa mple.org",
        "https://bücher.example",
        "https://[::1",
        "https://[::g]",
        "https://1.2.3.4.5",
        "https://999.1.1.1",
        "HTTPS//example.org",
    ];
    let cases = origins.map(|origin| {
        let more = format!("outgoing = ['https://example.org', '{origin}']");
        (manifest("agent", &more), ["outgoing"].as_slice())
    });
    deployer.all_refused(cases).await;
    let good = "outgoing = ['https://api.example.org', 'https://*.example.com', \
                'http://echo.agent.internal', 'http://127.0.0.1:8081', 'http://[::1]:8081']";
    deployer.accepted(&manifest("agent", good)).await;
}

#[tokio::test]
async fn a_price_needs_a_host_that_takes_payments_and_callers_who_can_pay() {
    let deployer = Deployer::start().await;
    let cases: [(&str, &[&str]); 10] = [
        ("price = '0.01 USDC'", &["`price`", "no payments"]),
        ("price = '0.01 USDC'\nprivate = true", &["price"]),
        ("price = 'free'", &["price"]),
        ("price = '0 USDC'", &["price"]),
        ("price = '-1 USDC'", &["price"]),
        ("price = '1e3 USDC'", &["price"]),
        ("price = 'USDC 1'", &["price"]),
        ("price = 1", &["price"]),
        ("price = ''", &["price", "0 characters"]),
        ("pay_to = ''", &["pay_to"]),
    ];
    let cases = cases.map(|(more, words)| (manifest("agent", more), words));
    deployer.all_refused(cases).await;
}

#[tokio::test]
async fn what_is_not_toml_is_refused_with_its_line_and_without_its_text() {
    let deployer = Deployer::start().await;
    for broken in [
        "[environment]\nKEY = 'secret-of-mine",
        "[environment]\nKEY = secret-of-mine",
        "[environment]\nsecret-of-mine",
        "[environment]\nKEY = 'secret-of-mine'\nKEY = 'secret-of-mine'",
        "environment = 'secret-of-mine'",
        "environment = ['secret-of-mine']",
        "[environment]\nKEY = ['secret-of-mine']",
        "[environment.KEY]\nVALUE = 'secret-of-mine'",
        "[environment]\nKEY = 'secret-of-mine'\n[limits]\ncpu = 'long'",
    ] {
        let detail = deployer.refused(&manifest("agent", broken)).await;
        assert!(!detail.contains("secret-of-mine"), "{detail}");
    }
    let detail = deployer.refused("name = 'agent'\n= 1").await;
    assert!(detail.contains("line 2"), "{detail}");
}

#[tokio::test]
async fn a_manifest_has_64_kib_at_most() {
    let deployer = Deployer::start().await;
    let padded = |length: usize| {
        let text = manifest("agent", "") + "# ";
        let padding = "x".repeat(length - text.len());
        text + &padding
    };
    assert_eq!(padded(65 << 10).len(), 65 << 10);
    let detail = deployer.refused(&padded(65 << 10)).await;
    assert!(
        detail.contains("66560") && detail.contains("65536"),
        "{detail}"
    );
    deployer.refused(&padded((64 << 10) + 1)).await;
    deployer.accepted(&padded(64 << 10)).await;
}

/// Deploys with a manifest of any bytes.
async fn deploy_bytes(host: &Host, manifest: &[u8]) -> Exit {
    let session = RawSession::open(host).await;
    let proof: OwnerProof = session.prove(&owner());
    let client = &session.session;
    let (sealed, pending) = client
        .seal_request::<&[u8]>(Operation::Deploy, &small(), Some(manifest), &[])
        .unwrap();
    let request = DeployRequest::new(client.public_key(), *client.id(), proof, sealed);
    let answer = session
        .send_to(Method::POST, "/agent/deploy", &request)
        .await;
    session
        .open_answer(ContentFormat::Cbor, &pending, &answer)
        .report
        .exit
}

#[tokio::test]
async fn a_manifest_is_utf_8() {
    let host = Host::start();
    let text = manifest("agent", "# x").into_bytes();
    let mut bytes = text.clone();
    *bytes.last_mut().unwrap() = 0xff;
    let (problem, detail) = rejection(&Error::Agent(Box::new(deploy_bytes(&host, &bytes).await)));
    assert_eq!(problem, Rejection::InvalidManifest);
    assert!(detail.contains("UTF-8"), "{detail}");
    // A mark of the byte order is no part of TOML's text, and is none of the name's either.
    let marked = [b"\xef\xbb\xbf".as_slice(), &text].concat();
    assert_eq!(deploy_bytes(&host, &marked).await, Exit::Ok);
}
