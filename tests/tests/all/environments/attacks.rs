//! What a stranger, and an owner, can try with environments.

use hypervisor_client::environments::{Bundle, CallLimits, Page, Terms};
use hypervisor_client::protocol::{Exit, LimitKind, Rejection};
use hypervisor_tests::Host;
use hypervisor_tests::agents::owner;
use hypervisor_tests::environments::{bundle, refused, rejected};

const NOTHING: &str = "export function handler() {}";

#[tokio::test]
async fn nobody_sets_anything_up_until_the_operator_says_who_may() {
    let host = Host::with_javascript("");
    let tenant = host.tenant().await;
    let done = tenant
        .try_set_up(&bundle("javascript", NOTHING), &Terms::default())
        .await;
    let (problem, detail) = rejected(&done.execution.report.exit);
    assert_eq!(problem, Rejection::NotOwner);
    assert!(detail.contains(&tenant.owner.id()), "{detail}");

    let owner = owner();
    let listed = format!("[environments]\nowners = ['{}']\n", owner.id());
    let host = Host::with_environments(&listed);
    let (mut named, stranger) = (host.tenant().await, host.tenant().await);
    named.owner = owner;
    named.set_up("javascript", NOTHING).await;
    let done = stranger
        .try_set_up(&bundle("javascript", NOTHING), &Terms::default())
        .await;
    assert_eq!(rejected(&done.execution.report.exit).0, Rejection::NotOwner);
}

#[tokio::test]
async fn an_owner_has_as_many_environments_and_bytes_as_the_operator_lets_them_have() {
    let owners = [owner(), owner()];
    let ids = owners
        .each_ref()
        .map(|owner| format!("'{}'", owner.id()))
        .join(", ");
    let host = Host::with_environments(&format!(
        "[environments]\nowners = [{ids}]\nper_owner = 3\nenvironments = 4\nstored_per_owner = '4MiB'\n"
    ));
    let [one, two] = owners;
    let (mut tenant, mut other) = (host.tenant().await, host.tenant().await);
    (tenant.owner, other.owner) = (one, two);
    let full = async |tenant: &hypervisor_tests::environments::Tenant, bundle: &Bundle| {
        let done = tenant.try_set_up(bundle, &Terms::default()).await;
        assert!(done.answer.environment.is_none());
        rejected(&done.execution.report.exit)
    };
    let small = bundle("javascript", NOTHING);
    let large = bundle(
        "javascript",
        "const kept = new Uint8Array(8 << 20).map((_, i) => i); export const handler = () => kept.length;",
    );
    let (problem, detail) = full(&tenant, &large).await;
    assert_eq!(problem, Rejection::TooManyEnvironments);
    assert!(detail.contains("bytes"), "{detail}");
    // A setup that failed holds no place.
    for _ in 0..5 {
        let broken = bundle("javascript", "throw 1");
        tenant.try_set_up(&broken, &Terms::default()).await;
    }
    let first = tenant.set_up("javascript", NOTHING).await;
    tenant.set_up("javascript", NOTHING).await;
    let copied = tenant.fork(&first.id).await;
    copied.unwrap();
    assert_eq!(
        full(&tenant, &small).await.0,
        Rejection::TooManyEnvironments
    );
    let copied = tenant.fork(&first.id).await;
    assert_eq!(
        refused(&copied.unwrap_err()).0,
        Rejection::TooManyEnvironments
    );
    other.set_up("javascript", NOTHING).await;
    assert_eq!(full(&other, &small).await.0, Rejection::TooManyEnvironments);
    tenant.remove(&first.id).await;
    other.set_up("javascript", NOTHING).await;
}

#[tokio::test]
async fn where_everybody_may_a_network_has_what_an_owner_may_have() {
    let host = Host::with_environments("[environments]\nsetup = true\nper_owner = 2\n");
    let mut first = None;
    for _ in 0..2 {
        let tenant = host.tenant().await;
        let environment = tenant.set_up("javascript", NOTHING).await;
        first.get_or_insert((tenant, environment.id));
    }
    let another = host.tenant().await;
    let bundle = bundle("javascript", NOTHING);
    let done = another.try_set_up(&bundle, &Terms::default()).await;
    let (problem, detail) = rejected(&done.execution.report.exit);
    assert_eq!(problem, Rejection::TooManyEnvironments);
    assert!(detail.contains("network"), "{detail}");
    let (tenant, id) = first.unwrap();
    tenant.remove(&id).await;
    another.set_up("javascript", NOTHING).await;
}

#[tokio::test]
async fn a_turn_that_keeps_too_much_is_not_kept() {
    let host = Host::with_environments("[environments]\nsetup = true\nstored_per_owner = '4MiB'\n");
    let tenant = host.tenant().await;
    let id = tenant.set_up("javascript", NOTHING).await.id;
    tenant.turn(&id, "globalThis.n = 1").await;
    let turn = tenant
        .turn(
            &id,
            "globalThis.n = 2; globalThis.kept = new Uint8Array(8 << 20).map((_, i) => i); 1",
        )
        .await;
    assert!(!turn.answer.kept);
    assert_eq!(
        rejected(&turn.execution.report.exit).0,
        Rejection::TooManyEnvironments
    );
    assert_eq!(tenant.says(&id, "globalThis.n").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_setup_that_loops_fills_memory_or_prints_without_end_meets_its_limit() {
    let host = Host::with_environments("[limits]\ncpu = '500ms'\noutput = '64KiB'\n");
    let tenant = host.tenant().await;
    let small = Terms {
        limits: CallLimits {
            memory_bytes: Some(32 << 20),
            ..CallLimits::default()
        },
        ..Terms::default()
    };
    for (source, limit) in [
        ("while (true);", LimitKind::Cpu),
        (
            "const kept = []; while (true) kept.push(new Uint8Array(1 << 20).fill(1));",
            LimitKind::Memory,
        ),
        (
            "while (true) console.log('x'.repeat(1000));",
            LimitKind::Output,
        ),
    ] {
        let done = tenant
            .try_set_up(&bundle("javascript", source), &small)
            .await;
        assert!(done.answer.environment.is_none());
        let exit = &done.execution.report.exit;
        let is_it = match exit {
            Exit::Limit { which, .. } => *which == limit,
            // QuickJS says itself that there is no more memory.
            Exit::Code { .. } => limit == LimitKind::Memory,
            _ => false,
        };
        assert!(is_it, "{source}: {exit:?}");
    }
    tenant.set_up("javascript", NOTHING).await;
}

#[tokio::test]
async fn tenants_memory_is_never_found_by_the_next_one() {
    let host = Host::with_environments("");
    let (tenant, other) = (host.tenant().await, host.tenant().await);
    let canary = "const kept = Array.from({ length: 2000 }, (_, i) => 'canary-' + 'of-the-tenant-' + i); export const handler = ({ data }) => kept[data];";
    let theirs = tenant.set_up("javascript", canary).await;
    let look = "export function handler() { return Object.getOwnPropertyNames(globalThis).filter((name) => name.includes('kept')).length; }";
    let mine = other.set_up("javascript", look).await;
    for at in 0..50 {
        let data = at.to_string();
        let (one, two) = tokio::join!(
            tenant.value(&theirs.id, &data),
            other.value(&mine.id, "null")
        );
        assert_eq!(one, format!("\"canary-of-the-tenant-{at}\""));
        assert_eq!(two, "0");
    }
    assert_ne!(theirs.state, mine.state);
}

#[tokio::test]
async fn names_and_ids_with_tricks_are_refused() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let id = tenant.set_up("javascript", NOTHING).await.id;
    let zeros = "0".repeat(32);
    for tricky in [
        "",
        "x",
        "../..",
        &id.to_uppercase(),
        &format!("{id}\n"),
        &zeros,
        "' OR 1=1",
    ] {
        if tricky == id {
            continue;
        }
        let done = tenant.call(tricky, "1").await;
        assert_eq!(
            rejected(&done.execution.report.exit).0,
            Rejection::UnknownEnvironment,
            "{tricky:?}"
        );
    }
    let long = Terms {
        name: Some("n".repeat(201)),
        ..Terms::default()
    };
    let done = tenant
        .try_set_up(&bundle("javascript", NOTHING), &long)
        .await;
    assert_eq!(
        rejected(&done.execution.report.exit).0,
        Rejection::InvalidEnvironment
    );
    let page = Page {
        from: u64::MAX,
        limit: Some(u64::MAX),
    };
    let list = tenant
        .session
        .environments(&page, &tenant.owner)
        .await
        .unwrap();
    assert_eq!((list.total, list.environments.len()), (1, 0));
}
