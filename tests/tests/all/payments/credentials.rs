//! What facilitators want to see of the operator.

use hypervisor_tests::host::binary;
use hypervisor_tests::payments::{Chain, faulty};
use hypervisor_tests::{Host, payments::Version};

use crate::payments::kit::{Purchase, config};

const TOKEN: &str = "Bearer b6f1c0d2-of-the-operator";

#[tokio::test]
async fn a_credential_reaches_its_facilitator_alone_and_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let chain = Chain::start();
    let other = faulty::Facilitator::down(None).await;
    let wants_it = faulty::Facilitator::start(None).await;
    let more = format!(
        "[payments.facilitator_headers.'{}']\nauthorization = '{}'",
        wants_it.url(),
        file.display()
    );
    let both = format!("{}', '{}", other.url(), wants_it.url());
    let config = config(&chain, &both, &more);
    let host = Host::with(&config);
    let purchase = Purchase::of_echo(&host, "paid").await;
    let payment = purchase.payment(&chain, Version::V2).await;
    assert_eq!(
        purchase.opened(&purchase.pay(&payment).await).result,
        b"paid\n"
    );
    let seen = wants_it.authorizations();
    assert_eq!(seen, vec![Some(TOKEN.to_owned()); 2]);
    assert_eq!(other.authorizations(), []);
    assert!(!host.log().contains("b6f1c0d2"), "{}", host.log());

    let written = folder.path().join("hypervisor.toml");
    std::fs::write(&written, config).unwrap();
    let check = |expected: bool| {
        let output = std::process::Command::new(binary("hypervisor-ctl"))
            .args(["check", "--config"])
            .arg(&written)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.success(), expected, "{said}");
        assert!(!said.contains("b6f1c0d2"), "{said}");
        said
    };
    check(true);
    std::fs::remove_file(&file).unwrap();
    assert!(check(false).contains("payments.facilitator_headers"));
}
