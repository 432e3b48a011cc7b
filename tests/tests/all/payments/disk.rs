//! A disk that is full: nothing is sold while it is, and everything is again once it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hypervisor_tests::eventually;
use hypervisor_tests::programs::guest;

use crate::payments::kit::{Purchase, Shop};

/// A small file system over a folder; gone when dropped.
pub(crate) struct Small(PathBuf);

impl Small {
    /// An error where this user may not mount.
    pub(crate) fn over(folder: &Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"]);
        let output = mount.arg(folder).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Self(folder.to_owned()))
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        fs::write(self.0.join("filler"), vec![0; 8 << 20]).unwrap_err();
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Its users are ended after it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

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
