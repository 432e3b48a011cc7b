//! Where code in an environment may send requests, and what becomes of those that it may not.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::Redirect;
use axum::routing::{any, get};
use bytes::Bytes;
use hyper::body::Frame;
use hypervisor_client::Program;
use hypervisor_client::environments::{CallLimits, EnvironmentInfo, Terms};
use hypervisor_client::protocol::{Exit, LimitKind, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::environments::{Tenant, bundle, rejected};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::agents::kit::{Destination, Policy};

const FETCH: &str = "export async function handler({ data }) {
  try {
    const answer = await fetch(data.url, data.init);
    return { status: answer.status, url: answer.url, redirected: answer.redirected, text: await answer.text() };
  } catch (error) {
    return { error: error.message };
  }
}";

/// A body of what comes.
struct Pieces(Receiver<String>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|it| it.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// A host on which environments may reach `outgoing`, in the networks of this machine.
fn host(outgoing: &[&str], more: &str) -> Host {
    Host::with_environments(&format!(
        "[agents]\nprivate_networks = ['127.0.0.0/8']\n[environments]\nsetup = true\noutgoing = {outgoing:?}\n{more}"
    ))
}

fn reaching(origins: &[&str]) -> Terms {
    Terms {
        outgoing: Some(origins.iter().map(|&it| it.to_owned()).collect()),
        ..Terms::default()
    }
}

async fn set_up(tenant: &Tenant, source: &str, origins: &[&str]) -> EnvironmentInfo {
    tenant
        .set_up_for("javascript", source, &reaching(origins))
        .await
}

async fn fetched(tenant: &Tenant, id: &str, url: &str, init: Value) -> Value {
    let data = json!({ "url": url, "init": init }).to_string();
    serde_json::from_str(&tenant.value(id, &data).await).unwrap()
}

/// Requests of environments, by what became of them.
async fn counted(host: &Host, outcome: &str) -> u64 {
    let name = format!("hypervisor_environment_outgoing_requests_total{{outcome=\"{outcome}\"}}");
    host.counter(&name).await
}

#[tokio::test]
async fn a_handler_fetches_what_its_terms_list_and_the_operator_allows() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let environment = set_up(&tenant, FETCH, &[there.origin()]).await;
    assert_eq!(environment.outgoing, [there.origin()]);
    let init = json!({ "method": "POST", "body": "å body", "headers": { "X-Mine": "yes", "Host": "other.example" } });
    let url = format!("{}/echo", there.origin());
    let answer = fetched(&tenant, &environment.id, &url, init).await;
    assert_eq!(
        answer,
        json!({ "status": 200, "url": url, "redirected": false, "text": "å body" })
    );
    let seen = there.seen();
    let head = &seen.first().unwrap().headers;
    assert_eq!(head.get("x-mine").unwrap(), "yes");
    assert_eq!(head.get("content-length").unwrap(), "7");
    let own = there.origin().trim_start_matches("http://");
    assert_eq!(head.get("host").unwrap(), own);
    assert_eq!(counted(&host, "sent").await, 1);
}

#[tokio::test]
async fn what_the_setup_fetched_every_call_has() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let source = format!(
        "const text = await (await fetch('{0}/')).text();
         const unread = await fetch('{0}/');
         export const handler = async () => {{
           const left = await unread.text().catch((error) => error.name);
           return [text, left];
         }};",
        there.origin()
    );
    let environment = set_up(&tenant, &source, &[there.origin()]).await;
    for _ in 0..2 {
        let value = tenant.value(&environment.id, "null").await;
        assert_eq!(value, r#"["arrived","TypeError"]"#);
    }
    assert_eq!(there.seen().len(), 2);
    let turn = tenant
        .turn(
            &environment.id,
            &format!("await (await fetch('{}/')).text()", there.origin()),
        )
        .await;
    assert_eq!(turn.answer.value.as_deref(), Some("'arrived'"));
}

#[tokio::test]
async fn requests_of_one_call_are_under_way_at_the_same_time_as_its_timers() {
    let (open, opened) = tokio::sync::watch::channel(0);
    let open = std::sync::Arc::new(open);
    let all = Router::new().route(
        "/",
        get(async move || {
            // Nobody is answered before all are there.
            open.send_modify(|count| *count += 1);
            let mut opened = opened.clone();
            opened.wait_for(|count| *count == 8).await.unwrap();
            "together"
        }),
    );
    let there = Destination::with(all).await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let source = format!(
        "export async function handler() {{
           let ticks = 0;
           const ticking = setInterval(() => ticks += 1, 1);
           const all = Array.from({{ length: 8 }}, async () => (await fetch('{}')).text());
           const texts = await Promise.all(all);
           clearInterval(ticking);
           return [texts.every((it) => it === 'together'), ticks >= 0];
         }}",
        there.origin()
    );
    let environment = set_up(&tenant, &source, &["*"]).await;
    assert_eq!(tenant.value(&environment.id, "null").await, "[true,true]");
}

#[tokio::test]
async fn a_body_is_read_as_it_comes() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let (told, heard) = tokio::sync::mpsc::unbounded_channel::<String>();
    let routes = Router::new()
        .route(
            "/pieces",
            get(async move || {
                let receiver = receiver.lock().unwrap().take().unwrap();
                Body::new(Pieces(receiver))
            }),
        )
        .route(
            "/heard",
            any(async move |body: String| told.send(body).unwrap()),
        );
    let there = Destination::with(routes).await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let source = format!(
        "const read = new TextDecoder();
         export async function handler() {{
           let count = 0;
           for await (const piece of (await fetch('{0}/pieces')).body) {{
             count += 1;
             await fetch('{0}/heard', {{ method: 'POST', body: read.decode(piece) }});
           }}
           return count;
         }}",
        there.origin()
    );
    let environment = set_up(&tenant, &source, &["*"]).await;
    let pieces = async move {
        let mut heard = heard;
        // The next is sent when the one before has come back.
        for piece in ["one", "two", "three"] {
            sender.send(piece.to_owned()).await.unwrap();
            assert_eq!(heard.recv().await.unwrap(), piece);
        }
    };
    let (value, ()) = tokio::join!(tenant.value(&environment.id, "null"), pieces);
    assert_eq!(value, "3");
}

#[tokio::test]
async fn redirects_are_followed_to_where_requests_may_go_and_nowhere_else() {
    let other = Destination::start().await;
    let elsewhere = format!("{}/echo", other.origin());
    let target = elsewhere.clone();
    let routes = Router::new()
        .route("/", any(async || "arrived"))
        .route("/moved", any(async || Redirect::to("/#here")))
        .route("/away", any(async move || Redirect::temporary(&target)))
        .route("/again", any(async || Redirect::to("/again")));
    let there = Destination::with(routes).await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let (one, both) = (
        set_up(&tenant, FETCH, &[there.origin()]).await,
        set_up(&tenant, FETCH, &[there.origin(), other.origin()]).await,
    );
    let url = |path: &str| format!("{}{path}", there.origin());
    let post =
        json!({ "method": "POST", "body": "b", "headers": { "authorization": "Bearer secret" } });

    let answer = fetched(&tenant, &one.id, &url("/moved"), post.clone()).await;
    assert_eq!(answer["text"], "arrived");
    assert_eq!(
        (&answer["redirected"], &answer["url"]),
        (&json!(true), &json!(url("/")))
    );
    let last = there.seen().pop().unwrap();
    assert_eq!(
        (last.method.as_str(), last.headers.get(CONTENT_TYPE)),
        ("GET", None)
    );

    let refused = fetched(&tenant, &one.id, &url("/away"), post.clone()).await;
    let words = refused["error"].as_str().unwrap();
    assert!(words.contains(other.origin()), "{words}");
    assert!(other.seen().is_empty());

    let answer = fetched(&tenant, &both.id, &url("/away"), post).await;
    assert_eq!(
        (&answer["text"], &answer["url"]),
        (&json!("b"), &json!(elsewhere))
    );
    let last = other.seen().pop().unwrap();
    assert_eq!(
        (last.method.as_str(), last.headers.get(AUTHORIZATION)),
        ("POST", None)
    );

    let endless = fetched(&tenant, &one.id, &url("/again"), json!({})).await;
    let words = endless["error"].as_str().unwrap();
    assert!(words.contains("redirect"), "{words}");
    let manual = json!({ "redirect": "manual" });
    let answer = fetched(&tenant, &one.id, &url("/away"), manual).await;
    assert_eq!(answer["status"], 307);
}

#[tokio::test]
async fn what_the_terms_do_not_list_is_not_reached_nor_what_the_operator_does_not_allow() {
    let (there, other) = (Destination::start().await, Destination::start().await);
    let host = host(&[there.origin()], "");
    let tenant = host.tenant().await;
    for (terms, detail) in [
        (reaching(&[other.origin()]), "operator of this host"),
        (
            reaching(&[there.origin(), "https://example.com"]),
            "https://example.com",
        ),
        (reaching(&["example.com"]), "example.com"),
    ] {
        let done = tenant
            .try_set_up(&bundle("javascript", FETCH), &terms)
            .await;
        let (problem, words) = rejected(&done.execution.report.exit);
        assert_eq!(problem, Rejection::InvalidEnvironment);
        assert!(words.contains(detail), "{words}");
    }
    let nowhere = tenant.set_up("javascript", FETCH).await;
    let anywhere = set_up(&tenant, FETCH, &["*"]).await;
    for (id, url) in [
        (&nowhere.id, there.origin()),
        (&anywhere.id, other.origin()),
    ] {
        let refused = fetched(&tenant, id, url, json!({})).await;
        let words = refused["error"].as_str().unwrap();
        assert!(words.contains("may not reach"), "{words}");
    }
    assert_eq!((there.seen().len(), other.seen().len()), (0, 0));
    let answer = fetched(&tenant, &anywhere.id, there.origin(), json!({})).await;
    assert_eq!(answer["text"], "arrived");
    assert_eq!(counted(&host, "not_listed").await, 1);
}

#[tokio::test]
async fn a_script_that_is_sent_for_one_run_reaches_nothing() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let script = format!(
        "console.log(await fetch('{}').catch((e) => e.message))",
        there.origin()
    );
    let ran = tenant
        .session
        .run_javascript(Program::new(script.as_bytes()))
        .await
        .unwrap();
    let printed = String::from_utf8(ran.result).unwrap();
    assert!(printed.contains("may not reach"), "{printed}");
    assert!(there.seen().is_empty());
}

#[tokio::test]
async fn other_terms_and_copies_reach_what_they_list() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let nowhere = tenant.set_up("javascript", FETCH).await;
    let terms = reaching(&[there.origin()]);
    let copy = tenant
        .session
        .fork(&nowhere.id, &terms, &tenant.owner)
        .await
        .unwrap();
    let copy_of_copy = tenant.fork(&copy.id).await.unwrap();
    let answer = fetched(&tenant, &copy_of_copy.id, there.origin(), json!({})).await;
    assert_eq!(answer["text"], "arrived");
    let refused = fetched(&tenant, &nowhere.id, there.origin(), json!({})).await;
    assert!(refused["error"].is_string());
    let extended = tenant
        .session
        .extend(&nowhere.id, &terms, &tenant.owner)
        .await;
    assert_eq!(extended.unwrap().outgoing, [there.origin()]);
    let answer = fetched(&tenant, &nowhere.id, there.origin(), json!({})).await;
    assert_eq!(answer["text"], "arrived");
    let none = reaching(&[]);
    let extended = tenant
        .session
        .extend(&nowhere.id, &none, &tenant.owner)
        .await;
    assert!(extended.unwrap().outgoing.is_empty());
    let refused = fetched(&tenant, &nowhere.id, there.origin(), json!({})).await;
    assert!(refused["error"].is_string());
}

#[tokio::test]
async fn the_policy_sees_the_origin_and_the_owner_and_nothing_of_the_path() {
    let there = Destination::start().await;
    let port = there.origin().rsplit(':').next().unwrap();
    let policy = Policy::python(&format!(
        "def authorize(action):
    if action.kind != 'outgoing-request':
        return True
    seen = (action.resource, action.method, action.agent, len(action.caller_owner), len(action.subject))
    if seen != ('http://127.0.0.1:{port}', 'GET', None, 32, 64):
        return Deny(f'unlike {{seen}}')
    return True
"
    ));
    let host = host(&["*"], &policy.section());
    let tenant = host.tenant().await;
    let environment = set_up(&tenant, FETCH, &["*"]).await;
    let url = format!("{}/?token=secret", there.origin());
    let answer = fetched(&tenant, &environment.id, &url, json!({})).await;
    assert_eq!(answer["text"], "arrived");
    let denied = fetched(&tenant, &environment.id, &url, json!({ "method": "PUT" })).await;
    assert!(denied["error"].as_str().unwrap().contains("may not reach"));
    assert_eq!((there.seen().len(), counted(&host, "policy").await), (1, 1));
    assert!(!host.log().contains("token=secret"));
}

#[tokio::test]
async fn private_addresses_and_the_host_itself_are_not_reached() {
    let there = Destination::start().await;
    let closed = Host::with_environments("[environments]\nsetup = true\noutgoing = ['*']\n");
    let tenant = closed.tenant().await;
    let environment = set_up(&tenant, FETCH, &["*"]).await;
    for url in [
        there.origin(),
        "http://169.254.169.254/latest",
        "http://[::1]:1/",
    ] {
        let refused = fetched(&tenant, &environment.id, url, json!({})).await;
        assert!(refused["error"].is_string(), "{refused}");
    }
    assert_eq!(counted(&closed, "private_address").await, 3);
    let open = host(&["*"], "");
    let tenant = open.tenant().await;
    let environment = set_up(&tenant, FETCH, &["*"]).await;
    for url in [
        format!("{}/ping", open.url()),
        format!("{}/metrics", open.admin()),
    ] {
        let refused = fetched(&tenant, &environment.id, &url, json!({})).await;
        assert!(refused["error"].is_string(), "{refused}");
    }
    assert!(there.seen().is_empty());
}

#[tokio::test]
async fn one_call_has_so_many_requests_under_way_and_leaves_none_behind() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let source = format!(
        "export async function handler() {{
           const all = Array.from({{ length: 20 }}, () => fetch('{0}/never').catch((error) => error.message));
           const refused = await Promise.race(all);
           return refused;
         }}",
        there.origin()
    );
    let environment = set_up(&tenant, &source, &["*"]).await;
    for _ in 0..6 {
        // 16 of each call hang until it ends; were they left, the environment's 64 would be gone.
        let value = tenant.value(&environment.id, "null").await;
        assert!(value.contains("fetch failed"), "{value}");
    }
    let source = FETCH;
    let other = set_up(&tenant, source, &["*"]).await;
    let answer = fetched(&tenant, &other.id, there.origin(), json!({})).await;
    assert_eq!(answer["text"], "arrived");
}

#[tokio::test]
async fn a_server_that_never_ends_meets_the_limits_of_the_call() {
    let endless = Router::new()
        .route("/never", any(std::future::pending::<String>))
        .route(
            "/endless",
            any(async || {
                let (sender, receiver) = tokio::sync::mpsc::channel(1);
                tokio::spawn(
                    async move { while sender.send("x".repeat(1 << 16)).await.is_ok() {} },
                );
                Body::new(Pieces(receiver))
            }),
        );
    let there = Destination::with(endless).await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let terms = Terms {
        limits: CallLimits {
            wall_ms: Some(1500),
            ..CallLimits::default()
        },
        ..reaching(&["*"])
    };
    let environment = tenant.set_up_for("javascript", FETCH, &terms).await;
    let called = async |path: &str| {
        let data = json!({ "url": format!("{}{path}", there.origin()) }).to_string();
        tenant
            .call(&environment.id, &data)
            .await
            .execution
            .report
            .exit
    };
    let waited = called("/never").await;
    assert!(
        matches!(
            waited,
            Exit::Limit {
                which: LimitKind::Wall,
                ..
            }
        ),
        "{waited:?}"
    );
    let filled = called("/endless").await;
    assert!(
        matches!(
            filled,
            Exit::Limit { .. } | Exit::Code { code: 1 } | Exit::Ok
        ),
        "{filled:?}"
    );
    let answer = tenant
        .session
        .environments(&Default::default(), &tenant.owner)
        .await;
    assert_eq!(answer.unwrap().total, 1);
}

#[tokio::test]
async fn a_request_can_be_given_up() {
    let there = Destination::start().await;
    let host = host(&["*"], "");
    let tenant = host.tenant().await;
    let source = format!(
        "export async function handler() {{
           const control = new AbortController();
           const asked = fetch('{0}/never', {{ signal: control.signal }});
           setTimeout(() => control.abort(), 1);
           const given = await asked.catch((error) => error.name);
           const late = await fetch('{0}/never', {{ signal: AbortSignal.timeout(1) }}).catch((error) => error.name);
           const never = await fetch('{0}/', {{ signal: AbortSignal.abort() }}).catch((error) => error.name);
           return [given, late, never];
         }}",
        there.origin()
    );
    let environment = set_up(&tenant, &source, &["*"]).await;
    let value = tenant.value(&environment.id, "null").await;
    assert_eq!(value, r#"["AbortError","TimeoutError","AbortError"]"#);
}
