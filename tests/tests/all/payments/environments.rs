//! Environments that are paid for: setups, calls and turns, and what becomes of them where the money does not move.

use hypervisor_client::environments::{
    Bundle, EnvironmentInfo, EvaluateAnswer, EvaluateInput, ExecuteAnswer, ExecuteInput, LogKind,
    Page, SetupAnswer, Terms,
};
use hypervisor_client::protocol::environment::{decode, encode};
use hypervisor_client::protocol::{Exit, Operation, OwnerKey};
use hypervisor_tests::environments::{Tenant, bundle};
use hypervisor_tests::payments::faulty::{self, Fault, Reply};
use hypervisor_tests::payments::{Chain, Facilitator, Version};
use hypervisor_tests::programs::javascript_plugin;
use hypervisor_tests::{Answer, Host};
use serde_json::json;

use crate::payments::kit::Purchase;
use crate::payments::ledger::held_up_with;

struct Sold {
    chain: Chain,
    _facilitator: Facilitator,
    faulty: faulty::Facilitator,
    host: Host,
    tenant: Tenant,
}

impl Sold {
    async fn open() -> Self {
        let plugin = javascript_plugin();
        let more = format!("[environments]\nsetup = true\n[runtime.javascript]\n{plugin}");
        let (chain, facilitator, faulty, host) = held_up_with(&more).await;
        let tenant = host.tenant().await;
        Self {
            chain,
            _facilitator: facilitator,
            faulty,
            host,
            tenant,
        }
    }

    async fn asks(&self, operation: Operation, first: &[u8], input: &[u8]) -> Purchase {
        let owner: &OwnerKey = &self.tenant.owner;
        Purchase::of_environment(&self.host, owner, operation, (first, input)).await
    }

    async fn buys(&self, operation: Operation, first: &[u8], input: &[u8]) -> (Answer, Purchase) {
        let purchase = self.asks(operation, first, input).await;
        let payment = purchase.payment(&self.chain, Version::V2).await;
        (purchase.pay(&payment).await, purchase)
    }

    async fn set_up(&self) -> EnvironmentInfo {
        let (answer, purchase) = self.buys(Operation::Setup, &greeter(), &terms()).await;
        let answer: SetupAnswer = decode(&purchase.opened(&answer).result).unwrap();
        answer.environment.unwrap()
    }

    /// The next settlement is refused for certain.
    fn refuses_the_next_settlement(&self) {
        self.faulty.next_settle(Fault::instead(Reply::Json(
            200,
            json!({
                "success": false, "errorReason": "insufficient_funds", "transaction": "",
                "network": "eip155:84532", "payer": self.chain.payer(0).address().to_string(),
            }),
        )));
    }
}

fn greeter() -> Vec<u8> {
    let source = "globalThis.n = 1; export const handler = ({ data }) => data + globalThis.n;";
    encode::<Bundle>(&bundle("javascript", source)).unwrap()
}

fn terms() -> Vec<u8> {
    encode(&Terms::default()).unwrap()
}

fn turn(source: &str) -> Vec<u8> {
    let source = source.to_owned();
    encode(&EvaluateInput {
        source,
        ..EvaluateInput::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_setup_a_call_and_a_turn_are_bought_one_by_one() {
    let sold = Sold::open().await;
    let environment = sold.set_up().await;
    let input = ExecuteInput {
        data: "41".to_owned(),
        ..ExecuteInput::default()
    };
    let (id, input) = (environment.id.as_bytes(), encode(&input).unwrap());
    let (answer, purchase) = sold.buys(Operation::Execute, id, &input).await;
    let opened = purchase.opened(&answer);
    assert_eq!((opened.report.exit, answer.status), (Exit::Ok, 200));
    let answer: ExecuteAnswer = decode(&opened.result).unwrap();
    assert_eq!(answer.value.as_deref(), Some("42"));
    let (answer, purchase) = sold.buys(Operation::Evaluate, id, &turn("n += 1")).await;
    let answer: EvaluateAnswer = decode(&purchase.opened(&answer).result).unwrap();
    assert_eq!((answer.turns, answer.value.as_deref()), (1, Some("2")));
    assert_eq!(sold.chain.transfers().await.len(), 3);
}

#[tokio::test]
async fn a_setup_whose_settlement_fails_is_taken_back() {
    let sold = Sold::open().await;
    let purchase = sold.asks(Operation::Setup, &greeter(), &terms()).await;
    let payment = purchase.payment(&sold.chain, Version::V2).await;
    sold.refuses_the_next_settlement();
    assert_eq!(purchase.pay(&payment).await.status, 402);
    assert_eq!(sold.tenant.total().await, 0);
    assert_eq!(sold.chain.transfers().await.len(), 0);
    // The place is free again.
    sold.set_up().await;
    assert_eq!(sold.tenant.total().await, 1);
}

#[tokio::test]
async fn a_turn_whose_settlement_fails_leaves_the_environment_as_it_was() {
    let sold = Sold::open().await;
    let environment = sold.set_up().await;
    let purchase = sold
        .asks(
            Operation::Evaluate,
            environment.id.as_bytes(),
            &turn("n = 100"),
        )
        .await;
    let payment = purchase.payment(&sold.chain, Version::V2).await;
    sold.refuses_the_next_settlement();
    assert_eq!(purchase.pay(&payment).await.status, 402);
    assert_eq!(sold.tenant.value(&environment.id, "1").await, "2");
    let (_, rows) = sold.tenant.log(&environment.id).await;
    let kinds: Vec<LogKind> = rows.iter().map(|row| row.kind).collect();
    assert_eq!(
        kinds,
        [
            LogKind::Setup,
            LogKind::Evaluate,
            LogKind::Undo,
            LogKind::Execute
        ]
    );
    let turn = sold.tenant.turn(&environment.id, "n").await;
    assert_eq!(turn.answer.value.as_deref(), Some("1"));
    assert_eq!(turn.answer.turns, 1);
}

#[tokio::test]
async fn a_copy_and_an_extension_are_bought_and_taken_back_where_their_settlement_fails() {
    let sold = Sold::open().await;
    let environment = sold.set_up().await;
    let id = environment.id.as_bytes();
    let longer = encode(&Terms {
        name: Some("longer".to_owned()),
        ttl_seconds: Some(7 * 24 * 60 * 60 - 1),
        ..Terms::default()
    })
    .unwrap();
    for operation in [Operation::Fork, Operation::Extend] {
        let purchase = sold.asks(operation, id, &longer).await;
        let payment = purchase.payment(&sold.chain, Version::V2).await;
        sold.refuses_the_next_settlement();
        assert_eq!(purchase.pay(&payment).await.status, 402);
    }
    let page = Page::default();
    let list = (sold.tenant.session).environments(&page, &sold.tenant.owner);
    let list = list.await.unwrap();
    assert_eq!((list.total, list.environments[0].name.as_str()), (1, ""));
    assert_eq!(list.environments[0].ends_at, environment.ends_at);
    assert_eq!(sold.chain.transfers().await.len(), 1);

    let (answer, purchase) = sold.buys(Operation::Fork, id, &longer).await;
    let copy: EnvironmentInfo = decode(&purchase.opened(&answer).result).unwrap();
    assert_eq!(sold.tenant.value(&copy.id, "41").await, "42");
    let (answer, purchase) = sold.buys(Operation::Extend, id, &longer).await;
    let extended: EnvironmentInfo = decode(&purchase.opened(&answer).result).unwrap();
    assert_eq!(
        (extended.name.as_str(), &extended.id),
        ("longer", &environment.id)
    );
    assert_eq!(sold.chain.transfers().await.len(), 3);
    let (_, rows) = sold.tenant.log(&environment.id).await;
    let kinds: Vec<LogKind> = rows.iter().map(|row| row.kind).collect();
    let expected = [
        LogKind::Setup,
        LogKind::Fork,
        LogKind::Extend,
        LogKind::Undo,
        LogKind::Fork,
        LogKind::Extend,
    ];
    assert_eq!(kinds, expected);
}
