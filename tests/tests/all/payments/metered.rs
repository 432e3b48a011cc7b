//! Paid by use, and by Permit2: the most is signed for, what was used is taken, and the answer says how it adds up.

use std::process::Command;

use hypervisor_client::environments::{
    EnvironmentInfo, EvaluateAnswer, EvaluateInput, SetupAnswer, Terms,
};
use hypervisor_client::protocol::environment::{decode, encode};
use hypervisor_client::protocol::{
    ContentFormat, ExecuteResponse, Exit, LimitKind, OpenResponse, Operation,
};
use hypervisor_tests::agents::owner;
use hypervisor_tests::environments::bundle;
use hypervisor_tests::host::binary;
use hypervisor_tests::payments::faulty::{self, Fault, Reply};
use hypervisor_tests::payments::official::{self, Client};
use hypervisor_tests::payments::permit2::Permit;
use hypervisor_tests::payments::{Address, Chain, Facilitator, Version};
use hypervisor_tests::programs::{component_file, guest, javascript_plugin};
use hypervisor_tests::{Answer, Host};

use crate::payments::kit::{PRICE, Purchase, WASM, checked, config, confirmed, header, reason};

/// Sells by use, at most for one cent, what `facilitator` settles by its account.
fn metered(chain: &Chain, facilitator: &str, account: Address) -> String {
    let more = format!(
        "{}\n[payments.metered]\nroutes = ['{WASM}']\nbase = '0.0001 USDC'\nprocessor_hour = '0.5 USDC'\n\
         memory_hour = '0.05 USDC'\ntraffic = '1 USDC'\n[payments.settings]\nUPTO_FACILITATOR = '{account}'\n",
        confirmed(chain),
    );
    config(chain, facilitator, &more)
}

struct Shop {
    chain: Chain,
    facilitator: Facilitator,
    host: Host,
}

impl Shop {
    async fn open() -> Self {
        let chain = Chain::start();
        let facilitator = Facilitator::start(&chain);
        chain.approve_permit2(chain.payer(0)).await;
        let host = Host::with(&metered(&chain, facilitator.url(), facilitator.account()));
        Self {
            chain,
            facilitator,
            host,
        }
    }

    async fn permit(&self, purchase: &Purchase) -> Permit {
        Permit::for_offer(self.chain.payer(0), &purchase.offer(Version::V2).await)
    }
}

async fn pay(purchase: &Purchase, permit: &Permit) -> Answer {
    purchase
        .send(&[("PAYMENT-SIGNATURE", &permit.header())])
        .await
}

/// What was charged by an answer, which says the same everywhere.
fn charged(opened: &OpenResponse, answer: &Answer) -> u128 {
    let report = &opened.report;
    let bill = report.metered.as_ref().unwrap();
    assert!(bill.adds_up(report), "{bill:?}");
    let receipt = report.payment.as_ref().unwrap();
    assert_eq!(receipt.amount, bill.total);
    assert_eq!(
        header(answer, "payment-response")["amount"],
        bill.total.as_str()
    );
    assert_eq!(bill.maximum, PRICE.to_string());
    bill.total.parse().unwrap()
}

#[tokio::test]
async fn the_official_client_signs_a_maximum_and_pays_what_was_used() {
    let shop = Shop::open().await;
    let purchase = Purchase::of_echo(&shop.host, "by use").await;
    let payer = shop.chain.payer(0);
    let before = shop.chain.balance_of(payer.address()).await;
    let answer = purchase
        .bought(async |request| official::pay(Client::Current, payer, request).await)
        .await;
    let opened = purchase.opened(&answer);
    assert_eq!(opened.result, b"by use\n");
    let charged = charged(&opened, &answer);
    assert!((100..PRICE).contains(&charged), "{charged}");
    assert_eq!(
        shop.chain.balance_of(payer.address()).await,
        before - charged
    );
    assert_eq!(shop.chain.transfers().await.len(), 1);
    // How it adds up is sealed: whoever sees the receipt sees no use.
    let response: ExecuteResponse = ContentFormat::Cbor.decode(&answer.body).unwrap();
    let receipt = response
        .receipt
        .map(|receipt| receipt.0)
        .unwrap_or_default();
    let open = String::from_utf8_lossy(&receipt).into_owned();
    assert!(!open.contains("processor"), "{open}");
}

#[tokio::test]
async fn a_run_is_stopped_when_it_has_used_what_was_signed_and_its_report_says_so() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    chain.approve_permit2(chain.payer(0)).await;
    // A cent buys a few milliseconds of processor time here, or of the memory that an idle program has.
    for (dear, program) in [
        ("processor_hour = '0.5 USDC'", "spin"),
        ("memory_hour = '0.05 USDC'", "sleepy"),
    ] {
        let (key, _) = dear.split_once(' ').unwrap();
        let config = metered(&chain, facilitator.url(), facilitator.account());
        let host = Host::with(&config.replace(dear, &format!("{key} = '500000 USDC'")));
        let purchase = Purchase::of(&host, &guest(program), &[]).await;
        let offer = purchase.offer(Version::V2).await;
        let permit = Permit::for_offer(chain.payer(0), &offer);
        let answer = pay(&purchase, &permit).await;
        let opened = purchase.opened(&answer);
        let Exit::Limit {
            which: LimitKind::Price,
            used,
            allowed,
        } = opened.report.exit
        else {
            panic!("{:?}", opened.report)
        };
        assert!(used > allowed && u128::from(allowed) == PRICE, "{used}");
        assert_eq!(charged(&opened, &answer), PRICE);
    }
    let taken: u128 = chain.transfers().await.iter().map(|it| it.value).sum();
    assert_eq!(taken, 2 * PRICE);
}

/// Sells environments by what is kept of them: a cent is for some 800 KiB and a day.
fn stored(chain: &Chain, facilitator: &Facilitator) -> Host {
    let plugin = javascript_plugin();
    let config = metered(chain, facilitator.url(), facilitator.account());
    let paths =
        ["setup", "evaluate", "fork", "extend"].map(|it| format!("/x402_environments/{it}"));
    let routes = format!("routes = {paths:?}\nstored_day = '13 USDC'");
    let config = config.replace(&format!("routes = ['{WASM}']"), &routes);
    Host::with(&format!(
        "[environments]\nsetup = true\n[routes]\nfree = false\n[runtime.javascript]\n{plugin}{config}"
    ))
}

const HOUR: u64 = 60 * 60;

#[tokio::test]
async fn what_is_kept_of_an_environment_is_paid_to_its_end_and_what_was_paid_for_is_not_paid_again()
{
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    chain.approve_permit2(chain.payer(0)).await;
    let host = stored(&chain, &facilitator);
    let owner = owner();
    let buys = async |operation, first: &[u8], input: Vec<u8>| {
        let asked = (first, input.as_slice());
        let purchase = Purchase::of_environment(&host, &owner, operation, asked).await;
        let offer = purchase.offer(Version::V2).await;
        let answer = pay(&purchase, &Permit::for_offer(chain.payer(0), &offer)).await;
        (purchase.opened(&answer), answer)
    };
    let kept = |opened: &OpenResponse| {
        let bill = opened.report.metered.as_ref().unwrap();
        assert!(bill.adds_up(&opened.report), "{bill:?}");
        bill.stored_byte_seconds
    };
    let terms = |seconds| {
        encode(&Terms {
            ttl_seconds: Some(seconds),
            idle_seconds: Some(HOUR),
            ..Terms::default()
        })
        .unwrap()
    };
    let source = "globalThis.kept = ''; export const handler = () => kept.length;";
    let code = encode(&bundle("javascript", source)).unwrap();

    let (opened, answer) = buys(Operation::Setup, &code, terms(HOUR)).await;
    let set_up: SetupAnswer = decode(&opened.result).unwrap();
    let one = set_up.environment.unwrap();
    assert_eq!(kept(&opened), one.state_bytes * HOUR);
    assert!(charged(&opened, &answer) < PRICE);

    // Twice the time: what was paid for is not paid again.
    let (opened, _) = buys(Operation::Extend, one.id.as_bytes(), terms(2 * HOUR)).await;
    let longer: EnvironmentInfo = decode(&opened.result).unwrap();
    assert_eq!(
        kept(&opened),
        one.state_bytes * (longer.ends_at - one.ends_at)
    );
    let (opened, _) = buys(Operation::Extend, one.id.as_bytes(), terms(HOUR)).await;
    assert_eq!(kept(&opened), 0);

    let (opened, _) = buys(Operation::Fork, one.id.as_bytes(), terms(HOUR)).await;
    let copy: EnvironmentInfo = decode(&opened.result).unwrap();
    assert_eq!(kept(&opened), copy.state_bytes * HOUR);

    // A turn pays for what it adds.
    let turn = |source: &str| {
        let source = source.to_owned();
        encode(&EvaluateInput {
            source,
            ..EvaluateInput::default()
        })
        .unwrap()
    };
    let (opened, _) = buys(
        Operation::Evaluate,
        copy.id.as_bytes(),
        turn("kept = 'x'.repeat(1e6); 1"),
    )
    .await;
    let added = kept(&opened);
    assert!(
        (900_000 * (HOUR - 60)..1_200_000 * HOUR).contains(&added),
        "{added}"
    );

    // What would come to more than was signed is not kept, and leaves what was there.
    let refused = buys(
        Operation::Evaluate,
        copy.id.as_bytes(),
        turn("kept = 'y'.repeat(3e7); 1"),
    )
    .await;
    let (opened, answer) = refused;
    assert!(
        matches!(
            opened.report.exit,
            Exit::Limit {
                which: LimitKind::Price,
                ..
            }
        ),
        "{:?}",
        opened.report.exit
    );
    assert_eq!(kept(&opened), 0);
    charged(&opened, &answer);
    let (opened, _) = buys(Operation::Evaluate, copy.id.as_bytes(), turn("kept[0]")).await;
    let after: EvaluateAnswer = decode(&opened.result).unwrap();
    assert_eq!(after.value.as_deref(), Some("'x'"));
    let week = buys(Operation::Fork, copy.id.as_bytes(), terms(7 * 24 * HOUR))
        .await
        .0;
    assert!(
        matches!(
            week.report.exit,
            Exit::Limit {
                which: LimitKind::Price,
                ..
            }
        ),
        "{:?}",
        week.report.exit
    );
}

#[tokio::test]
async fn a_host_that_gives_nothing_away_copies_and_extends_nothing_for_free() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let host = stored(&chain, &facilitator);
    let tenant = host.tenant().await;
    let id = "0".repeat(32);
    let terms = Terms::default();
    for refused in [
        tenant.session.fork(&id, &terms, &tenant.owner).await,
        tenant.session.extend(&id, &terms, &tenant.owner).await,
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("runs nothing for free"), "{refused}");
    }
}

#[tokio::test]
async fn a_payment_by_use_pays_for_one_request_and_its_answer_is_given_again() {
    let shop = Shop::open().await;
    let purchase = Purchase::of_echo(&shop.host, "once").await;
    let permit = shop.permit(&purchase).await;
    let first = pay(&purchase, &permit).await;
    let amount = charged(&purchase.opened(&first), &first);
    let again = pay(&purchase, &permit).await;
    assert_eq!(again.body, first.body);
    let other = Purchase::of_echo(&shop.host, "twice").await;
    assert_eq!(pay(&other, &permit).await.status, 409);
    let transfers = shop.chain.transfers().await;
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0].value, amount);
    assert_eq!(transfers[0].to, shop.chain.pay_to());
}

#[tokio::test]
async fn a_payment_that_could_not_be_taken_as_offered_runs_nothing() {
    type Change = fn(&mut Permit);
    let shop = Shop::open().await;
    let purchase = Purchase::of_echo(&shop.host, "never").await;
    let good = shop.permit(&purchase).await;
    let other: Address = "0x1000000000000000000000000000000000000009"
        .parse()
        .unwrap();
    let cases: [(Change, &str); 5] = [
        (|permit| permit.amount += 1, "permit2_amount_mismatch"),
        (|permit| permit.amount -= 1, "permit2_amount_mismatch"),
        (
            |permit| permit.facilitator = Some(permit.to),
            "upto_facilitator_mismatch",
        ),
        (
            |permit| permit.spender = permit.to,
            "invalid_permit2_spender",
        ),
        (
            |permit| permit.to = permit.signer.address(),
            "invalid_permit2_recipient_mismatch",
        ),
    ];
    for (change, code) in cases {
        let mut permit = good.clone();
        change(&mut permit);
        let answer = pay(&purchase, &permit).await;
        assert_eq!((answer.status, reason(&answer).as_str()), (402, code));
    }
    // Nobody but the facilitator is asked whether the one that is offered may settle.
    let mut elsewhere = good.clone();
    elsewhere.accepted["extra"]["facilitatorAddress"] = other.to_string().into();
    elsewhere.facilitator = Some(other);
    let answer = pay(&purchase, &elsewhere).await;
    assert_eq!(reason(&answer), "invalid_payment_requirements");
    // Who never let Permit2 transfer is told so with the status that x402 has for it.
    let mut poor = good.clone();
    poor.signer = shop.chain.payer(1).clone();
    let answer = pay(&purchase, &poor).await;
    assert_eq!(
        (answer.status, reason(&answer).as_str()),
        (412, "permit2_allowance_required")
    );
    assert_eq!(shop.facilitator.calls().await.settle, 0);
    assert_eq!(shop.chain.transfers().await.len(), 0);
}

#[tokio::test]
async fn a_host_killed_while_it_settles_takes_what_its_answer_says_once() {
    let chain = Chain::start();
    let real = Facilitator::start(&chain);
    chain.approve_permit2(chain.payer(0)).await;
    for is_made in [true, false] {
        let facilitator = faulty::Facilitator::start(Some(real.url())).await;
        let mut host = Host::with(&metered(&chain, &facilitator.url(), real.account()));
        let purchase = Purchase::of_echo(&host, "killed").await;
        let offer = purchase.offer(Version::V2).await;
        let permit = Permit::for_offer(chain.payer(0), &offer);
        let before = chain.transfers().await.len();
        facilitator.next_settle(match is_made {
            true => Fault::none().held(),
            false => Fault::instead(Reply::Dropped).held(),
        });
        let value = permit.header();
        let headers = [("PAYMENT-SIGNATURE", value.as_str())];
        tokio::select! {
            answer = purchase.try_send(&headers) => panic!("{answer:?}"),
            () = facilitator.held(1) => {}
        }
        host.kill_and_restart();
        let purchase = purchase.moved(&host);
        let answer = purchase.send(&headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let amount = charged(&purchase.opened(&answer), &answer);
        let transfers = chain.transfers().await;
        assert_eq!(transfers.len(), before + 1, "settled before: {is_made}");
        assert_eq!(transfers[before].value, amount);
        facilitator.release();
    }
}

#[tokio::test]
async fn the_official_client_pays_an_exact_price_in_a_token_by_permit2() {
    let chain = Chain::start();
    let facilitator = Facilitator::start(&chain);
    let payer = chain.payer(0);
    chain.approve_permit2(payer).await;
    let more = format!(
        "assets = [{{ symbol = 'COIN', network = 'base-sepolia', address = '{}', decimals = 6, transfer = 'permit2' }}]\n{}",
        chain.usdc(),
        confirmed(&chain),
    );
    let settings = config(&chain, facilitator.url(), &more).replace("0.01 USDC", "0.01 COIN");
    let host = Host::with(&settings);
    let purchase = Purchase::of_echo(&host, "any token").await;
    let before = chain.balance_of(payer.address()).await;
    let answer = purchase
        .bought(async |request| official::pay(Client::Current, payer, request).await)
        .await;
    assert_eq!(purchase.opened(&answer).result, b"any token\n");
    assert_eq!(chain.balance_of(payer.address()).await, before - PRICE);
    // Its nonce, which the chain has in a bitmap, is good for one request.
    let other = Purchase::of_echo(&host, "once more").await;
    let permit = Permit::for_offer(payer, &other.offer(Version::V2).await);
    let paid = pay(&other, &permit).await;
    assert_eq!(other.opened(&paid).result, b"once more\n");
    let third = Purchase::of_echo(&host, "not a third time").await;
    assert_eq!(pay(&third, &permit).await.status, 409);
    assert_eq!(chain.transfers().await.len(), 2);
}

#[tokio::test]
async fn hv_signs_a_maximum_and_says_how_the_price_adds_up() {
    let shop = Shop::open().await;
    let folder = tempfile::tempdir().unwrap();
    let hv = |payer: usize, most: &str| {
        let key = folder.path().join(format!("key-{payer}"));
        std::fs::write(&key, shop.chain.payer(payer).private_key()).unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests/echo.wasm");
        let output = Command::new(binary("hv"))
            .args([
                "run",
                "--server",
                shop.host.url(),
                "--max-price",
                most,
                "--pay",
            ])
            .arg(&key)
            .args([program, "--", "by hv"])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (status, _, said) = hv(0, "0.009");
    assert!(status == 1 && said.contains("0.009"), "{said}");
    let (status, _, said) = hv(1, "0.05");
    assert!(status == 1 && said.contains("approve("), "{said}");
    assert_eq!(shop.chain.transfers().await.len(), 0);
    let (status, out, said) = hv(0, "0.05");
    assert_eq!((status, out.as_str()), (0, "by hv\n"), "{said}");
    let transfers = shop.chain.transfers().await;
    let [taken] = transfers.as_slice() else {
        panic!("{transfers:?}")
    };
    let price = format!("paid 0.{:06}", taken.value);
    assert!(said.contains(price.trim_end_matches('0')), "{said}");
    let before = "paid by use, at most 0.01 USDC on base-sepolia: 0.0001 USDC for the run, 0.5 USDC for an hour of processor time, \
                  0.05 USDC for a GiB of memory for an hour, 1 USDC for a GiB in and out; that buys at most 71.3s of processor time, \
                  or a GiB of memory for 712.8s, or 10.14 MiB in and out\n";
    let after = "by use, of at most 0.01 USDC: 0.0001 USDC for the run";
    assert!(said.contains(before) && said.contains(after), "{said}");
}

#[test]
fn a_component_that_takes_all_or_nothing_sells_nothing_by_use() {
    let output = checked(&format!(
        "[payments]\ncomponent = {:?}\npay_to = 'acme'\nprice = '3 CREDIT'\n\
         [payments.metered]\nroutes = ['{WASM}']\nscheme = 'voucher'\nbase = '1 CREDIT'\n\
         [payments.settings]\nVOUCHER_ISSUER = '{}'\n",
        component_file("payments-voucher"),
        "04".repeat(65),
    ));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        !output.status.success() && said.contains("payment-metered"),
        "{said}"
    );
}

#[test]
fn a_price_of_which_the_base_leaves_nothing_for_use_is_refused() {
    let chain = Chain::start();
    let most = metered(&chain, "http://127.0.0.1:9", chain.payer(0).address());
    let takes_all = most.replace("base = '0.0001 USDC'", "base = '0.01 USDC'");
    for (config, is_refused) in [(most, false), (takes_all, true)] {
        let output = checked(&config);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.success(), !is_refused, "{said}");
        assert_eq!(
            said.contains("leaves nothing for use"),
            is_refused,
            "{said}"
        );
    }
}
