//! A disk that is full: nothing is sold while it is, and everything is again once it is not.

use hypervisor_tests::disk::Small;
use hypervisor_tests::eventually;
use hypervisor_tests::programs::guest;

use crate::payments::kit::{Purchase, Shop};

#[tokio::test]
async fn a_full_disk_stops_sales_until_it_has_room_again() {
    let mut shop = Shop::open();
    shop.host.kill();
    let disk = match Small::over(&shop.host.state()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("not tested, as nothing can be mounted: {why}");
            return;
        }
    };
    shop.host.kill_and_restart();
    let large = "x".repeat(100_000);
    let buy = async || Purchase::of(&shop.host, &guest("echo"), &[large.as_bytes()]).await;
    let first = buy().await;
    let payment = shop.payment(&first).await;

    disk.fill();
    let refused = first.pay(&payment).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (503, "payment-unverified")
    );
    assert!(refused.headers.contains_key("retry-after"));
    let ready = reqwest::get(format!("{}/readyz", shop.host.admin()));
    let ready = ready.await.unwrap();
    assert_eq!(ready.status(), 503);
    let why = ready.text().await.unwrap();
    assert!(why.contains("the payment store cannot be written"), "{why}");
    // Nothing runs for nothing meanwhile.
    assert_eq!(buy().await.pay(&payment).await.status, 503);
    assert_eq!(shop.chain.transfers().await.len(), 0);

    disk.empty();
    shop.host.ready().await;
    let answer = eventually("the same payment buys an answer", async || {
        let purchase = buy().await;
        let answer = purchase.pay(&payment).await;
        (answer.status == 200).then(|| purchase.opened(&answer))
    });
    assert_eq!(answer.await.result.len(), large.len() + 1);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}
