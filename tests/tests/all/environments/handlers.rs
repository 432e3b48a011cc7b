//! What a handler is called with, and what becomes of its answer.

use hypervisor_client::environments::{Bundle, CallLimits, ExecuteInput, Terms};
use hypervisor_client::protocol::{Exit, LimitKind, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::environments::{Tenant, bundle, rejected};
use serde_json::{Value, json};

const COUNTER: &str = "let calls = 0;
export function handler(event: { data: number }): { calls: number; doubled: number } {
  calls += 1;
  return { calls, doubled: event.data * 2 };
}";

async fn stderr_of(tenant: &Tenant, source: &str) -> (Exit, String) {
    let bundle = bundle("javascript", source);
    let done = tenant.try_set_up(&bundle, &Terms::default()).await;
    let report = done.execution.report;
    let stderr = String::from_utf8(report.stderr.0).unwrap();
    (report.exit, stderr)
}

#[tokio::test]
async fn each_call_starts_from_what_the_setup_left() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", COUNTER).await;
    for data in ["1", "20", "-3"] {
        let value: Value =
            serde_json::from_str(&tenant.value(&environment.id, data).await).unwrap();
        let doubled = data.parse::<i64>().unwrap() * 2;
        assert_eq!(value, json!({ "calls": 1, "doubled": doubled }));
    }
}

#[tokio::test]
async fn a_handler_in_python_is_set_up_and_called_likewise() {
    let host = Host::with_environments_in_python("");
    let tenant = host.tenant().await;
    let source = "import json\ntable = {n: n * n for n in range(1000)}\n\ndef handler(event, context):\n    print('asked')\n    return {'square': table[event['data']], 'env': event['env']}\n";
    let environment = tenant.set_up("python", source).await;
    let done = tenant.call(&environment.id, "12").await;
    let value: Value = serde_json::from_str(&done.answer.value.unwrap()).unwrap();
    assert_eq!(value, json!({ "square": 144, "env": {} }));
    assert_eq!(done.answer.stdout.0, b"asked\n");
}

#[tokio::test]
async fn event_and_context_have_what_the_call_says_and_what_names_it() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let source = "export async function handler(event, context) { return { event, context, left: context.deadline - Date.now() }; }";
    let environment = tenant.set_up("javascript", source).await;
    let input = ExecuteInput {
        data: r#"{"city": "Oslo"}"#.to_owned(),
        env: [("UNIT".to_owned(), "km".to_owned())].into(),
        ..ExecuteInput::default()
    };
    let done = tenant
        .session
        .execute(&environment.id, &input, &tenant.owner);
    let done = done.await.unwrap();
    let value: Value = serde_json::from_str(&done.answer.value.unwrap()).unwrap();
    assert_eq!(
        value["event"],
        json!({ "data": { "city": "Oslo" }, "env": { "UNIT": "km" } })
    );
    assert_eq!(value["context"]["environmentId"], environment.id);
    assert_eq!(value["context"]["executionId"], done.answer.execution);
    let commitment = done.execution.request_commitment.to_string();
    assert_eq!(value["context"]["requestId"], commitment);
    let left = value["left"].as_i64().unwrap();
    assert!((1..=10_000).contains(&left), "{left}");
}

#[tokio::test]
async fn modules_of_a_bundle_import_each_other_and_its_setup_runs_before_them() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let mut bundle = bundle(
        "javascript",
        "import { twice } from './lib/numbers.ts'; export const handler = (e) => twice(e.data) + base;",
    );
    let numbers = "export const twice = (n: number): number => n * 2;";
    let named = (
        "lib/numbers.ts".to_owned(),
        numbers.as_bytes().to_vec().into(),
    );
    bundle.modules.extend([named]);
    bundle.setup = Some("globalThis.base = 1000; console.log('ready');".to_owned());
    let done = tenant.try_set_up(&bundle, &Terms::default()).await;
    assert_eq!(done.answer.stdout.0, b"ready\n");
    let stderr = String::from_utf8_lossy(&done.execution.report.stderr.0);
    let environment = done
        .answer
        .environment
        .unwrap_or_else(|| panic!("{:?}: {stderr}", done.execution.report.exit));
    assert_eq!(environment.bundle, done.execution.report.program_digest);
    assert_eq!(tenant.value(&environment.id, "21").await, "1042");
}

#[tokio::test]
async fn what_is_wrong_with_a_bundle_is_told_and_nothing_is_kept() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let cases: [(&str, &str); 5] = [
        ("export const other = 1;", "handler"),
        ("export const handler = 1;", "handler"),
        ("throw new Error('no table');", "no table"),
        (
            "import { x } from './absent.js'; export function handler() { return x; }",
            "absent",
        ),
        ("export function handler( {", "SyntaxError"),
    ];
    for (source, word) in cases {
        let (exit, stderr) = stderr_of(&tenant, source).await;
        assert_ne!(exit, Exit::Ok, "{source}");
        assert!(stderr.contains(word), "{source}: {stderr}");
    }
    let malformed = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = bundle("javascript", "export function handler() {}");
        change(&mut bundle);
        bundle
    };
    for bundle in [
        malformed(&|bundle| bundle.language = "cobol".to_owned()),
        malformed(&|bundle| bundle.main = "other.ts".to_owned()),
        malformed(&|bundle| {
            let module = bundle.modules["main.ts"].clone();
            bundle.modules.insert("../escape.ts".to_owned(), module);
        }),
    ] {
        let done = tenant.try_set_up(&bundle, &Terms::default()).await;
        let (problem, detail) = rejected(&done.execution.report.exit);
        assert_eq!(problem, Rejection::InvalidEnvironment, "{detail}");
    }
    assert_eq!(tenant.total().await, 0);
}

#[tokio::test]
async fn a_handler_that_has_no_answer_says_why() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let source = "export function handler({ data }) {
      if (data === 'nothing') return;
      if (data === 'function') return () => 1;
      if (data === 'circle') { const a = {}; a.a = a; return a; }
      if (data === 'never') return new Promise(() => {});
      if (data === 'text') throw 'only text';
      throw new Error('broken');
    }";
    let environment = tenant.set_up("javascript", source).await;
    assert_eq!(tenant.value(&environment.id, "\"nothing\"").await, "null");
    for data in ["function", "circle", "never", "text", "broken"] {
        let done = tenant.call(&environment.id, &format!("\"{data}\"")).await;
        assert_eq!(done.answer.value, None, "{data}");
        let report = done.execution.report;
        assert_eq!(report.exit, Exit::Code { code: 1 }, "{data}");
        assert!(!report.stderr.0.is_empty(), "{data}");
    }
}

#[tokio::test]
async fn data_that_is_not_json_is_refused_before_anything_runs() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", COUNTER).await;
    for data in ["{", "1 2", "1}, \"env\": {\"x\": 1", "undefined"] {
        let done = tenant.call(&environment.id, data).await;
        let (problem, _) = rejected(&done.execution.report.exit);
        assert_eq!(problem, Rejection::InvalidEnvironment, "{data}");
    }
}

#[tokio::test]
async fn limits_of_a_call_are_within_the_environments_and_those_within_the_hosts() {
    let host = Host::with_environments("[limits]\ncpu = '400ms'\n");
    let tenant = host.tenant().await;
    let source = "export function handler({ data }) { const end = Date.now() + data; while (Date.now() < end); return 1; }";
    let mine = Terms {
        limits: CallLimits {
            cpu_ms: Some(200),
            ..CallLimits::default()
        },
        ..Terms::default()
    };
    let environment = tenant.set_up_for("javascript", source, &mine).await;
    let allowed = async |limits: CallLimits| {
        let input = ExecuteInput {
            data: "60000".to_owned(),
            limits,
            ..ExecuteInput::default()
        };
        let done = tenant
            .session
            .execute(&environment.id, &input, &tenant.owner);
        match done.await.unwrap().execution.report.exit {
            Exit::Limit {
                which: LimitKind::Cpu,
                allowed,
                ..
            } => allowed,
            other => panic!("{other:?}"),
        }
    };
    let of = |ms| CallLimits {
        cpu_ms: Some(ms),
        ..CallLimits::default()
    };
    assert_eq!(allowed(CallLimits::default()).await, 200_000);
    assert_eq!(allowed(of(50)).await, 50_000);
    assert_eq!(allowed(of(60_000)).await, 200_000);
    let theirs = Terms {
        limits: of(60_000),
        ..Terms::default()
    };
    let environment = tenant.set_up_for("javascript", source, &theirs).await;
    assert_eq!(environment.limits.cpu_ms, Some(400));
}

#[tokio::test]
async fn an_answer_beyond_the_hosts_limit_of_output_is_a_limit() {
    let host = Host::with_environments("[limits]\noutput = '64KiB'\n");
    let tenant = host.tenant().await;
    let source = "export function handler({ data }) { return 'x'.repeat(data); }";
    let environment = tenant.set_up("javascript", source).await;
    assert_eq!(tenant.value(&environment.id, "1000").await.len(), 1002);
    let done = tenant.call(&environment.id, "100000").await;
    assert_eq!(done.answer.value, None);
    let exit = done.execution.report.exit;
    assert!(
        matches!(
            exit,
            Exit::Limit {
                which: LimitKind::Output,
                allowed: 65536,
                ..
            }
        ),
        "{exit:?}"
    );
}

#[tokio::test]
async fn no_two_calls_draw_the_same_chance() {
    let host = Host::with_environments_in_python("");
    let tenant = host.tenant().await;
    let javascript = "export function handler() { const bytes = new Uint8Array(8); crypto.getRandomValues(bytes); return [Math.random(), [...bytes].join()]; }";
    let python = "import random, secrets, uuid\n\ndef handler(event, context):\n    return [random.random(), secrets.token_hex(8), str(uuid.uuid4())]\n";
    for (language, source) in [("javascript", javascript), ("python", python)] {
        let environment = tenant.set_up(language, source).await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let drawn: Vec<Value> =
                serde_json::from_str(&tenant.value(&environment.id, "null").await).unwrap();
            for value in drawn {
                assert!(
                    seen.insert(value.to_string()),
                    "{language}: {value} came twice"
                );
            }
        }
    }
}

#[tokio::test]
async fn both_engines_are_made_ready_by_writing_their_memory() {
    let host = Host::with_environments_in_python("");
    let tenant = host.tenant().await;
    for (language, source) in [
        ("javascript", "export const handler = () => 1;"),
        ("python", "def handler(event, context):\n    return 1\n"),
    ] {
        let environment = tenant.set_up(language, source).await;
        assert_eq!(tenant.value(&environment.id, "null").await, "1");
    }
    // Where that gives another instance than running does, the host says so and runs each.
    assert!(!host.log().contains("differs from one that ran"));
}
