//! Logs: what was done, in order, for the owner alone, and no plaintext anywhere else.

use hypervisor_client::environments::{LogKind, Page, Terms};
use hypervisor_client::protocol::Exit;
use hypervisor_tests::Host;
use hypervisor_tests::environments::Tenant;

use crate::agents::persistence::{files, simulated};

const FAIL: &str =
    "export function handler({ data }) { if (data) throw new Error('no'); return 1; }";

async fn kinds(tenant: &Tenant, id: &str) -> Vec<(LogKind, Option<Exit>)> {
    let (log, rows) = tenant.log(id).await;
    assert_eq!(log.total, u64::try_from(rows.len()).unwrap());
    rows.into_iter().map(|row| (row.kind, row.exit)).collect()
}

#[tokio::test]
async fn a_log_has_a_row_of_everything_that_was_done_and_stays_after_the_end() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", FAIL).await;
    let called = tenant.call(&environment.id, "false").await;
    tenant.call(&environment.id, "true").await;
    tenant.turn(&environment.id, "1").await;
    let (terms, session) = (Terms::default(), &tenant.session);
    let extended = session.extend(&environment.id, &terms, &tenant.owner);
    extended.await.unwrap();
    tenant.remove(&environment.id).await;
    let ok = Some(Exit::Ok);
    assert_eq!(
        kinds(&tenant, &environment.id).await,
        [
            (LogKind::Setup, ok.clone()),
            (LogKind::Execute, ok.clone()),
            (LogKind::Execute, Some(Exit::Code { code: 1 })),
            (LogKind::Evaluate, ok.clone()),
            (LogKind::Extend, ok.clone()),
            (LogKind::Remove, ok),
        ]
    );
    let page = Page {
        from: 1,
        limit: Some(1),
    };
    let log = tenant
        .session
        .environment_log(&environment.id, &page, &tenant.owner);
    let (_, rows) = log.await.unwrap();
    assert_eq!(rows[0].execution, called.answer.execution);
    assert_eq!(rows[0].request, Some(called.execution.request_commitment));
}

#[tokio::test]
async fn a_log_goes_on_in_one_chain_after_a_crash() {
    let mut host = Host::with_environments(&simulated("environments"));
    let mut tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", FAIL).await;
    for _ in 0..3 {
        tenant.value(&environment.id, "false").await;
        // What is read is on the disk.
        let before = kinds(&tenant, &environment.id).await;
        host.kill_and_restart();
        tenant = tenant.again(&host).await;
        assert_eq!(kinds(&tenant, &environment.id).await, before);
    }
    assert_eq!(kinds(&tenant, &environment.id).await.len(), 4);
}

#[tokio::test]
async fn a_log_that_is_full_loses_its_first_rows_and_still_holds() {
    let mut host = Host::with_environments("[environments]\nsetup = true\nlog = 5\n");
    let tenant = host.tenant().await;
    let environment = tenant.set_up("javascript", FAIL).await;
    for _ in 0..9 {
        tenant.value(&environment.id, "false").await;
    }
    let (log, rows) = tenant.log(&environment.id).await;
    assert_eq!((log.first, log.total, rows.len()), (5, 10, 5));
    assert_eq!(host.rows("environment-logs").len(), 5);
}

#[tokio::test]
async fn nothing_of_an_environment_is_readable_on_the_disk_or_in_the_hosts_log() {
    let host = Host::with_environments(&simulated("environments"));
    let tenant = host.tenant().await;
    let marks = [
        "MARK-source",
        "MARK-data",
        "MARK-printed",
        "MARK-error",
        "MARK-name",
        "MARK-turn",
        "MARK-env",
    ];
    let source = "const kept = 'MARK-source'; export function handler({ data, env }) { console.log('MARK-printed', data, env.A); throw new Error('MARK-error' + kept); }";
    let terms = Terms {
        name: Some("MARK-name".to_owned()),
        ..Terms::default()
    };
    let environment = tenant.set_up_for("javascript", source, &terms).await;
    let input = hypervisor_client::environments::ExecuteInput {
        data: "\"MARK-data\"".to_owned(),
        env: [("A".to_owned(), "MARK-env".to_owned())].into(),
        ..Default::default()
    };
    let done = tenant
        .session
        .execute(&environment.id, &input, &tenant.owner);
    let done = done.await.unwrap();
    assert!(String::from_utf8_lossy(&done.answer.stdout.0).contains("MARK-env"));
    tenant
        .turn(&environment.id, "'MARK-turn'; globalThis.x = 'MARK-turn'")
        .await;
    kinds(&tenant, &environment.id).await;
    let mut places = files(&host.state());
    places.insert("log".into(), host.log().into_bytes());
    for (path, bytes) in places {
        let text = String::from_utf8_lossy(&bytes);
        for mark in marks {
            assert!(!text.contains(mark), "{mark} is in {}", path.display());
        }
        assert!(
            !text.contains(&tenant.owner.id()),
            "the owner is in {}",
            path.display()
        );
    }
}
