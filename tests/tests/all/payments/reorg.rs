//! Blocks that a chain takes back.

use hypervisor_tests::eventually;

use crate::payments::kit::Purchase;
use crate::payments::kit::Shop;

#[tokio::test]
async fn a_settlement_that_the_chain_took_back_is_found_told_and_made_again() {
    let shop = Shop::with("recheck = '1s'");
    let purchase = Purchase::of_echo(&shop.host, "sold").await;
    let payment = shop.payment(&purchase).await;
    let before = shop.chain.mark().await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(answer.status, 200);
    assert_eq!(shop.chain.transfers().await.len(), 1);

    shop.chain.take_back(before).await;
    assert_eq!(shop.chain.transfers().await.len(), 0);
    eventually("the same authorization is settled again", async || {
        (shop.chain.transfers().await.len() == 1).then_some(())
    })
    .await;
    let counter = "hypervisor_payments_total{end=\"taken-back\"}";
    assert_eq!(shop.host.counter(counter).await, 1);
    assert!(shop.host.log().contains("took a settled payment back"));
    eventually("the answer can be fetched again", async || {
        let again = purchase.pay(&payment).await;
        (again.status == 200 && again.body == answer.body).then_some(())
    })
    .await;
}
