//! Sessions: turns that go on from each other.

use crate::{Javascript, Python, bundle, evaluate, set_up, stderr};
use hypervisor_protocol::LimitKind;
use hypervisor_runtime::{CallInputs, CallLimits, Exit, Language, State};
use std::time::Duration;

/// Runs turns one after another; each must give the value beside it.
async fn turns(language: Language, mut state: Option<State>, turns: &[(&str, Option<&str>)]) {
    for (source, value) in turns {
        let turn = evaluate(language, state.as_ref(), source).await;
        let said = stderr(&turn.outcome);
        assert_eq!(turn.value.as_deref(), *value, "{source}: {said}");
        assert_eq!(turn.outcome.exit, Exit::Ok, "{source}: {said}");
        state = turn.state;
    }
}

#[tokio::test]
async fn a_turn_sees_what_the_turns_before_it_left() {
    let javascript = [
        ("let a = 1; const b: number = 2;", None),
        ("a + b", Some("3")),
        ("const a = 'again'; class C { x = a }", None),
        ("class C { y = a }; new C()", Some("C { y: 'again' }")),
        ("await Promise.resolve({ a })", Some("{ a: 'again' }")),
        ("{ a: 1 }", Some("{ a: 1 }")),
        ("import { digest as d } from 'hypervisor'", None),
        ("d('abc')[0]", Some("186")),
        ("enum E { A, B } z = 5", Some("5")),
        ("[z, E.B]", Some("[ 5, 1 ]")),
        ("", None),
    ];
    turns(Javascript, None, &javascript).await;
    let python = [
        ("import json\na = 1", None),
        ("a += 1\n[a, json.dumps({})]", Some("[2, '{}']")),
        (
            "import asyncio\nawait asyncio.sleep(0, 'slept')",
            Some("'slept'"),
        ),
        ("def f(): return a", None),
        ("f()", Some("2")),
        ("", None),
    ];
    turns(Python, None, &python).await;
}

#[tokio::test]
async fn a_session_goes_on_from_a_bundle() {
    let files = [(
        "main.ts",
        "export const n: number = 7; export default () => n",
    )];
    let state = set_up(Javascript, bundle(&files)).await;
    let javascript = [("(await import('./main.ts')).n", Some("7"))];
    turns(Javascript, Some(state), &javascript).await;
    let state = set_up(
        Python,
        bundle(&[("main.py", "n = 7\ndef handler(e, c): pass")]),
    )
    .await;
    turns(Python, Some(state), &[("import main; main.n", Some("7"))]).await;
}

#[tokio::test]
async fn an_error_ends_the_turn_and_not_the_session() {
    for (language, source, invalid) in [
        (Javascript, "var kept = 1; throw new Error('x')", "let = ="),
        (Python, "kept = 1\nraise ValueError('x')", "let = ="),
    ] {
        let turn = evaluate(language, None, source).await;
        assert_eq!(turn.outcome.exit, Exit::Code { code: 1 });
        assert!(
            stderr(&turn.outcome).contains("<turn 1>"),
            "{}",
            stderr(&turn.outcome)
        );
        let state = turn.state.unwrap();
        let turn = evaluate(language, Some(&state), invalid).await;
        assert!(turn.state.is_none() && turn.outcome.exit == Exit::Code { code: 1 });
        let turn = evaluate(language, Some(&state), "kept").await;
        assert_eq!(turn.value.as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn a_turn_that_meets_a_limit_leaves_the_session_where_it_was() {
    let inputs = || CallInputs {
        limits: CallLimits {
            cpu: Some(Duration::from_millis(200)),
            ..CallLimits::default()
        },
        ..CallInputs::default()
    };
    for (language, first, endless) in [
        (Javascript, "var a = 1", "a = 2; for (;;);"),
        (Python, "a = 1", "a = 2\nwhile True: pass"),
    ] {
        let state = evaluate(language, None, first).await.state.unwrap();
        let turn = crate::executor().evaluate(language, Some(&state), endless, inputs());
        let turn = turn.await.unwrap();
        let Exit::Limit { which, .. } = turn.outcome.exit else {
            panic!("{:?}", turn.outcome.exit);
        };
        assert_eq!(which, LimitKind::Cpu);
        assert!(turn.state.is_none());
        let turn = evaluate(language, Some(&state), "a").await;
        assert_eq!(turn.value.as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn two_sessions_fork_from_one_state() {
    let state = evaluate(Javascript, None, "var a = [1]")
        .await
        .state
        .unwrap();
    let one = evaluate(Javascript, Some(&state), "a.push(2); a.length").await;
    let other = evaluate(Javascript, Some(&state), "a.push(3); a.at(-1)").await;
    assert_eq!(one.value.as_deref(), Some("2"));
    assert_eq!(other.value.as_deref(), Some("3"));
}
