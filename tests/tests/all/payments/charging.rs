//! What is asked for, what is charged for, and what is not.

use hypervisor_client::protocol::{ContentFormat, ExecuteResponse, Exit, PaymentReceipt};
use hypervisor_evidence::{Binding, Evidence, Receipt};
use hypervisor_tests::payments::Version;
use hypervisor_tests::programs::guest;

use crate::payments::kit::{PRICE, Purchase, Shop, asked, header};

#[tokio::test]
async fn a_request_without_payment_is_asked_for_one_in_both_versions() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let answer = purchase.send(&[("origin", "https://app.example")]).await;
    assert_eq!(answer.status, 402);
    let v2 = asked(&answer, Version::V2);
    assert_eq!(v2["x402Version"], 2);
    assert_eq!(v2["resource"]["url"], purchase.url);
    let offer = &v2["accepts"][0];
    assert_eq!(
        (&offer["network"], &offer["amount"]),
        (&"eip155:84532".into(), &PRICE.to_string().into())
    );
    let v1 = asked(&answer, Version::V1);
    assert_eq!(v1["x402Version"], 1);
    let offer = &v1["accepts"][0];
    assert_eq!(
        (&offer["network"], &offer["maxAmountRequired"]),
        (&"base-sepolia".into(), &PRICE.to_string().into())
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    let exposed = answer.headers["access-control-expose-headers"]
        .to_str()
        .unwrap();
    for name in ["payment-required", "payment-response", "x-payment-response"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[tokio::test]
async fn a_browser_may_send_the_headers_of_x402() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let preflight = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, &purchase.url)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,payment-signature",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn whoever_looks_at_a_paid_route_is_told_what_it_costs_and_sold_nothing() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let payment = shop.payment(&purchase).await;
    let (name, value) = payment.header();
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let looked = reqwest::Client::new().request(method, &purchase.url);
        let response = looked.header(name, &value).send().await.unwrap();
        assert_eq!(response.status(), 402);
        let answer = hypervisor_tests::Answer {
            status: 402,
            headers: response.headers().clone(),
            body: Vec::new(),
        };
        let offer = &asked(&answer, Version::V2)["accepts"][0];
        assert_eq!(offer["amount"], PRICE.to_string());
    }
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn routes_that_cost_nothing_can_be_switched_off() {
    let host = hypervisor_tests::Host::with("[routes]\nfree = false");
    let refused = host
        .session()
        .await
        .run_wasm(hypervisor_client::Program::new(&guest("echo")))
        .await;
    let problem = refused.err().unwrap().to_string();
    assert!(problem.contains("nothing for free"), "{problem}");
}

async fn a_paid_program_runs(version: Version) {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let payment = purchase.payment(&shop.chain, version).await;
    let payer = shop.chain.payer(0).address();
    let before = (
        shop.chain.balance_of(payer).await,
        shop.chain.balance_of(shop.chain.pay_to()).await,
    );
    let answer = purchase.pay(&payment).await;
    let opened = purchase.opened(&answer);
    assert_eq!(opened.result, b"hello\n");
    assert_eq!(answer.headers["cache-control"], "no-store");

    let after = (
        shop.chain.balance_of(payer).await,
        shop.chain.balance_of(shop.chain.pay_to()).await,
    );
    assert_eq!(after, (before.0 - PRICE, before.1 + PRICE));
    let settled = header(&answer, version.settlement_header());
    let transfer = &shop.chain.transfers().await[0];
    assert_eq!(settled["success"], true);
    assert_eq!(settled["transaction"], transfer.transaction);
    let receipt = opened.report.payment.unwrap();
    // Sealed before it was settled; the header and the signed receipt name the transaction.
    assert_eq!(receipt.transaction, None);
    assert_eq!(receipt.amount, PRICE.to_string());
    assert_eq!(receipt.payer, payer.to_string().to_lowercase());
}

#[tokio::test]
async fn a_payment_of_version_2_moves_the_price_and_is_answered_in_version_2() {
    a_paid_program_runs(Version::V2).await;
}

#[tokio::test]
async fn a_payment_of_version_1_moves_the_price_and_is_answered_in_version_1() {
    a_paid_program_runs(Version::V1).await;
}

#[tokio::test]
async fn an_exit_code_is_charged_since_the_program_ran_to_its_end() {
    let shop = Shop::open();
    let purchase = Purchase::of(&shop.host, &guest("exit-code"), &[b"3"]).await;
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    assert_eq!(purchase.opened(&answer).report.exit, Exit::Code { code: 3 });
    assert_eq!(header(&answer, "payment-response")["success"], true);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

/// Nothing was charged, and the payment is still good for something else.
async fn is_not_charged(shop: &Shop, purchase: Purchase, is_right: fn(&Exit) -> bool) {
    let payment = shop.payment(&purchase).await;
    let answer = purchase.pay(&payment).await;
    let report = purchase.opened(&answer).report;
    assert!(is_right(&report.exit), "{:?}", report.exit);
    assert_eq!(report.payment, None);
    assert!(!answer.headers.contains_key("payment-response"));
    assert_eq!(shop.chain.transfers().await.len(), 0);

    let other = Purchase::of_echo(&shop.host, "with the same payment").await;
    let answer = other.pay(&payment).await;
    assert_eq!(other.opened(&answer).result, b"with the same payment\n");
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn a_program_of_the_payers_own_is_charged_however_it_ends() {
    let shop = Shop::with("[limits]\ncpu = '50ms'");
    let trap = Purchase::of(&shop.host, &guest("trap"), &[b"a reason"]).await;
    let spin = Purchase::of(&shop.host, &guest("spin"), &[]).await;
    for (paid, purchase) in [trap, spin].into_iter().enumerate() {
        let answer = purchase.pay(&shop.payment(&purchase).await).await;
        let opened = purchase.opened(&answer);
        assert!(
            matches!(opened.report.exit, Exit::Trap { .. } | Exit::Limit { .. }),
            "{:?}",
            opened.report.exit
        );
        // What was paid for is told in full.
        if paid == 0 {
            assert_eq!(opened.result, b"about to panic\n");
            let stderr = String::from_utf8(opened.report.stderr.0).unwrap();
            assert!(stderr.contains("a reason"), "{stderr}");
        }
        assert!(opened.report.payment.is_some());
        assert_eq!(header(&answer, "payment-response")["success"], true);
        assert_eq!(shop.chain.transfers().await.len(), paid + 1);
    }
}

#[tokio::test]
async fn a_trap_that_is_not_charged_gives_nothing_away() {
    let shop = Shop::with("charge = 'completed'");
    let purchase = Purchase::of(&shop.host, &guest("trap"), &[b"the answer"]).await;
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    let opened = purchase.opened(&answer);
    let Exit::Trap { reason } = &opened.report.exit else {
        panic!("{:?}", opened.report.exit)
    };
    assert!(!reason.contains("wasm"), "{reason}");
    assert_eq!(opened.result, b"");
    assert_eq!(opened.report.stderr.0, b"");
    for used in [
        opened.report.cpu_microseconds,
        opened.report.wall_microseconds,
        opened.report.peak_memory_bytes,
    ] {
        assert!(used.is_power_of_two(), "{used}");
    }
    let purchase = Purchase::of(&shop.host, &guest("trap"), &[]).await;
    is_not_charged(&shop, purchase, |exit| matches!(exit, Exit::Trap { .. })).await;
}

#[tokio::test]
async fn a_limit_that_is_not_charged_is_told_by_name_alone() {
    let shop = Shop::with("charge = 'completed'\n[limits]\ncpu = '50ms'");
    let purchase = Purchase::of(&shop.host, &guest("spin"), &[]).await;
    is_not_charged(
        &shop,
        purchase,
        |exit| matches!(exit, Exit::Limit { used, allowed, .. } if used == allowed),
    )
    .await;
}

#[tokio::test]
async fn a_program_that_cannot_run_is_not_charged() {
    let shop = Shop::open();
    let purchase = Purchase::of(&shop.host, b"no WebAssembly", &[]).await;
    is_not_charged(&shop, purchase, |exit| {
        matches!(exit, Exit::Rejected { .. })
    })
    .await;
}

#[tokio::test]
async fn a_denial_is_not_charged_and_the_policy_sees_what_would_be_paid() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.py");
    std::fs::write(
        &rules,
        "def authorize(action):\n    charge = action.charge\n    return Deny(f'{charge.amount} {charge.chain}')\n",
    )
    .unwrap();
    let policy = format!(
        "[policy]\nrules = {rules:?}\n{}",
        hypervisor_tests::programs::python_plugin()
    );
    let shop = Shop::with(&policy);
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    let reason = "10000 eip155:84532".to_owned();
    assert_eq!(
        purchase.opened(&answer).report.exit,
        Exit::Denied { reason }
    );
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn a_request_that_does_not_authenticate_is_not_charged() {
    let shop = Shop::open();
    let mut purchase = Purchase::of_echo(&shop.host, "hello").await;
    let payment = shop.payment(&purchase).await;
    // Another sequence than it was sealed for.
    let (mut request, _) = purchase.session.request(&guest("echo"), None, &[]);
    request.sequence += 1;
    purchase.body = hypervisor_client::protocol::ContentFormat::Cbor
        .encode(&request)
        .unwrap();
    let answer = purchase.pay(&payment).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "authentication-failed")
    );
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let other = Purchase::of_echo(&shop.host, "fine").await;
    assert_eq!(other.opened(&other.pay(&payment).await).result, b"fine\n");
}

#[tokio::test]
async fn settling_first_charges_for_a_trap_too() {
    let shop = Shop::with("settle_first = true");
    let purchase = Purchase::of(&shop.host, &guest("trap"), &[]).await;
    let offer = purchase.offer(Version::V2).await;
    assert_eq!(offer["extra"]["paymentFlow"], "upfront");
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    let report = purchase.opened(&answer).report;
    assert!(
        matches!(report.exit, Exit::Trap { .. }),
        "{:?}",
        report.exit
    );
    assert!(report.payment.is_some());
    assert_eq!(header(&answer, "payment-response")["success"], true);
    assert_eq!(shop.chain.transfers().await.len(), 1);
}

#[tokio::test]
async fn settling_first_does_not_charge_for_what_is_refused_before_it_runs() {
    let shop = Shop::with("settle_first = true");
    let purchase = Purchase::of(&shop.host, b"no WebAssembly", &[]).await;
    is_not_charged(&shop, purchase, |exit| {
        matches!(exit, Exit::Rejected { .. })
    })
    .await;
}

#[tokio::test]
async fn scripts_have_a_price_of_their_own() {
    let script = hypervisor_tests::programs::python_plugin();
    let shop = Shop::with(&format!(
        "[payments.prices]\n'/x402_policy/unsafe/python' = '0.02 USDC'\n[runtime.python]\n{script}"
    ));
    let purchase = Purchase::of_script(&shop.host, "print('paid')").await;
    let payment = shop.payment(&purchase).await;
    let answer = purchase.pay(&payment).await;
    assert_eq!(purchase.opened(&answer).result, b"paid\n");
    assert_eq!(shop.chain.transfers().await[0].value, 2 * PRICE);
}

#[tokio::test]
async fn a_route_that_promises_evidence_is_refused_before_any_payment_where_there_is_no_attester() {
    let shop = Shop::open();
    let mut purchase = Purchase::of_echo(&shop.host, "hello").await;
    let payment = shop.payment(&purchase).await;
    purchase.url = purchase.url.replace("/test/wasm", "/verifiable/wasm");
    let answer = purchase.pay(&payment).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "attestation-unavailable")
    );
    assert_eq!(shop.facilitator.calls().await.verify, 0);
}

#[tokio::test]
async fn a_host_without_a_payment_component_says_so() {
    let host = hypervisor_tests::Host::start();
    let purchase = Purchase::of_echo(&host, "hello").await;
    let answer = purchase.send(&[]).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "payments-unavailable")
    );
}

#[tokio::test]
async fn payer_payment_and_signature_are_in_no_log() {
    let shop = Shop::open();
    let purchase = Purchase::of_echo(&shop.host, "hello").await;
    let payment = shop.payment(&purchase).await;
    purchase.opened(&purchase.pay(&payment).await);
    // Once more, to have the refusals logged too.
    let other = Purchase::of_echo(&shop.host, "hello").await;
    other.pay(&payment).await;
    let log = shop.host.log().to_lowercase();
    let marks = [
        payment.authorization.from.to_string().to_lowercase()[2..].to_owned(),
        const_hex::encode(payment.authorization.nonce),
        const_hex::encode(payment.signature()),
        payment.header().1[..40].to_lowercase(),
    ];
    for mark in marks {
        assert!(!log.contains(&mark), "{mark} is in the log");
    }
}

#[tokio::test]
async fn a_paid_result_comes_with_evidence_and_a_receipt_that_holds_the_payment() {
    let shop = Shop::with("[attestation]\nbackend = 'simulated'\nsimulated_seed = 'shop'");
    let mut purchase = Purchase::of_echo(&shop.host, "proved").await;
    purchase.url = purchase.url.replace("/test/wasm", "/verifiable/wasm");
    let answer = purchase.pay(&shop.payment(&purchase).await).await;
    assert_eq!(purchase.opened(&answer).result, b"proved\n");
    let response: ExecuteResponse = ContentFormat::Cbor.decode(&answer.body).unwrap();
    let evidence =
        Evidence::decode(ContentFormat::Cbor, &response.result_evidence.unwrap().0).unwrap();
    let identity = Binding::decode(&evidence.binding)
        .unwrap()
        .identity_public_key;
    let receipt = Receipt::verify(&response.receipt.unwrap().0, &identity).unwrap();
    assert_eq!(receipt.result_commitment, response.result_commitment);
    let payment: PaymentReceipt = ContentFormat::Cbor
        .decode(&receipt.payment.unwrap().0)
        .unwrap();
    assert_eq!(
        payment.transaction.unwrap(),
        shop.chain.transfers().await[0].transaction
    );
}
