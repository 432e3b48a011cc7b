//! Turns: what one leaves the next one finds; what goes wrong leaves no trace.

use hypervisor_client::environments::{Bundle, Terms};
use hypervisor_client::protocol::{Exit, LimitKind};
use hypervisor_tests::Host;
use hypervisor_tests::environments::Tenant;

async fn empty(tenant: &Tenant, language: &str) -> String {
    let bundle = Bundle {
        language: language.to_owned(),
        ..Bundle::default()
    };
    let done = tenant.try_set_up(&bundle, &Terms::default()).await;
    done.answer.environment.unwrap().id
}

#[tokio::test]
async fn what_a_turn_leaves_the_next_one_finds() {
    let host = Host::with_environments_in_python("");
    let tenant = host.tenant().await;
    for (language, first, second) in [
        (
            "javascript",
            "const xs = [1, 2]; function twice(n) { return n * 2 }",
            "xs.map(twice).join()",
        ),
        (
            "python",
            "xs = [1, 2]\ndef twice(n):\n    return n * 2\n",
            "','.join(str(twice(x)) for x in xs)",
        ),
    ] {
        let id = empty(&tenant, language).await;
        let turn = tenant.turn(&id, first).await;
        assert_eq!(turn.execution.report.exit, Exit::Ok);
        assert!(turn.answer.kept && turn.answer.turns == 1);
        let value = tenant.says(&id, second).await.unwrap();
        assert_eq!(value.trim_matches(['\'', '"']), "2,4");
    }
}

#[tokio::test]
async fn a_turn_that_meets_a_limit_or_ends_itself_leaves_the_environment_as_it_was() {
    let host = Host::with_environments("[limits]\ncpu = '300ms'\n");
    let tenant = host.tenant().await;
    let id = empty(&tenant, "javascript").await;
    tenant.turn(&id, "let n = 1").await;
    let turn = tenant.turn(&id, "n = 2; while (true);").await;
    assert!(
        matches!(
            turn.execution.report.exit,
            Exit::Limit {
                which: LimitKind::Cpu,
                ..
            }
        ),
        "{:?}",
        turn.execution.report.exit
    );
    assert!(!turn.answer.kept);
    assert_eq!(turn.answer.turns, 1);
    assert_eq!(tenant.says(&id, "n").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_error_that_nobody_caught_ends_the_turn_alone() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let id = empty(&tenant, "javascript").await;
    let turn = tenant.turn(&id, "let n = 1; throw new Error('oh')").await;
    assert_eq!(turn.execution.report.exit, Exit::Code { code: 1 });
    assert!(turn.answer.kept);
    let stderr = String::from_utf8(turn.execution.report.stderr.0).unwrap();
    assert!(stderr.contains("oh"), "{stderr}");
    assert_eq!(tenant.says(&id, "n").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_fork_goes_its_own_way() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let id = empty(&tenant, "javascript").await;
    tenant.turn(&id, "let n = 1").await;
    let terms = Terms {
        name: Some("other".to_owned()),
        ..Terms::default()
    };
    let other = tenant
        .session
        .fork(&id, &terms, &tenant.owner)
        .await
        .unwrap();
    assert_eq!(other.name, "other");
    tenant.turn(&other.id, "n = 10").await;
    tenant.turn(&id, "n += 1").await;
    assert_eq!(tenant.says(&id, "n").await.as_deref(), Some("2"));
    assert_eq!(tenant.says(&other.id, "n").await.as_deref(), Some("10"));
}

#[tokio::test]
async fn turns_move_on_what_a_handler_finds() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let source =
        "globalThis.rate = 2; export const handler = ({ data }) => data * globalThis.rate;";
    let environment = tenant.set_up("javascript", source).await;
    assert_eq!(tenant.value(&environment.id, "21").await, "42");
    tenant.turn(&environment.id, "globalThis.rate = 3").await;
    assert_eq!(tenant.value(&environment.id, "21").await, "63");
}

#[tokio::test]
async fn two_turns_at_once_are_one_after_the_other_or_one_is_refused() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let id = empty(&tenant, "javascript").await;
    tenant.turn(&id, "let n = 0").await;
    let slow = "n += 1; { const end = Date.now() + 100; while (Date.now() < end); } n";
    let turn = || tenant.turn(&id, slow);
    let turns = tokio::join!(turn(), turn(), turn());
    let mut kept = 0;
    for turn in [turns.0, turns.1, turns.2] {
        match turn.execution.report.exit {
            Exit::Ok => kept += 1,
            exit => {
                let (problem, _) = hypervisor_tests::environments::rejected(&exit);
                assert_eq!(
                    problem,
                    hypervisor_client::protocol::Rejection::EnvironmentBusy
                );
            }
        }
    }
    assert!(kept >= 1);
    assert_eq!(tenant.says(&id, "n").await, Some(kept.to_string()));
}

#[tokio::test]
async fn calls_beside_turns_start_from_the_memory_before_or_after_one() {
    // Without room in memory each reads its state from the store, where a turn puts another in its place.
    let host = Host::with_environments("[environments]\nsetup = true\ncached = 0\n");
    let tenant = host.tenant().await;
    let source = "globalThis.n = 0; export const handler = () => globalThis.n;";
    let id = tenant.set_up("javascript", source).await.id;
    let turns = async {
        for _ in 0..20 {
            assert!(tenant.turn(&id, "globalThis.n += 1").await.answer.kept);
        }
    };
    let calls = async || {
        for _ in 0..40 {
            let n: u32 = tenant.value(&id, "null").await.parse().unwrap();
            assert!(n <= 20);
        }
    };
    tokio::join!(turns, calls(), calls(), calls());
    assert_eq!(tenant.value(&id, "null").await, "20");
}
