//! The audit trail: guessed at, flooded, and asked for what there is not.

use hypervisor_client::Program;
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, within};

use crate::audit::{get, proof, size};

/// The attacker wants the trail to be read for it until nobody else gets an answer.
#[tokio::test]
async fn a_flood_of_proofs_for_what_is_not_there_keeps_nobody_from_their_own() {
    let host = Host::start();
    let run = host.run(Program::new(&guest("hello"))).await;
    let flood = (0..400).map(|number: u32| {
        let commitment = const_hex::encode([number.to_be_bytes(); 8].concat());
        let url = format!("{}/audit/proof/{commitment}", host.url());
        tokio::spawn(async move { Some(reqwest::get(url).await.ok()?.status().as_u16()) })
    });
    let flood: Vec<_> = flood.collect();
    let own = run.result_commitment.to_string();
    within("its own proof", proof(&host, &own)).await;
    within("another run", host.run(Program::new(&guest("hello")))).await;
    for asked in flood {
        let status = asked.await.unwrap();
        assert!(matches!(status, None | Some(404 | 503)), "{status:?}");
    }
}

/// The attacker wants sizes to overflow, or a proof about a tree that there never was.
#[tokio::test]
async fn sizes_that_no_tree_has_are_refused() {
    let host = Host::start();
    host.run(Program::new(&guest("hello"))).await;
    let (_, head) = get(&host, "head").await;
    let beyond = size(&head) + 1000;
    let largest = u64::MAX;
    let half = 1_u64 << 63;
    let mut queries: Vec<String> = [
        "",
        "?",
        "?from=",
        "?from=x",
        "?from=-1",
        "?from=1&from=1",
        "?to=1",
    ]
    .map(|query| format!("consistency{query}"))
    .to_vec();
    for number in [0, beyond, half, largest] {
        queries.push(format!("consistency?from={number}"));
        queries.push(format!("consistency?from=1&to={number}"));
        queries.push(format!("proof/{}?size={number}", "00".repeat(32)));
    }
    queries.push("consistency?from=18446744073709551616".to_owned());
    queries.push(format!("consistency?from={}", "9".repeat(2000)));
    for query in queries {
        let (status, text) = get(&host, &query).await;
        assert_eq!(status, 400, "{query}: {text}");
        assert!(
            text.contains("urn:hypervisor:problem:malformed-request"),
            "{query}: {text}"
        );
    }
}

/// The attacker wants to learn of answers that it was not given.
#[tokio::test]
async fn commitments_cannot_be_listed_or_found_by_their_beginning() {
    let host = Host::start();
    let run = host.run(Program::new(&guest("hello"))).await;
    let whole = run.result_commitment.to_string();
    proof(&host, &whole).await;
    for path in ["", "proof", "proof/", "head/", "entries", "tile/0/000"] {
        assert_eq!(get(&host, path).await.0, 404, "{path}");
    }
    for part in ["00", &whole[..62], &format!("{whole}00"), "..%00", "*"] {
        assert_eq!(get(&host, &format!("proof/{part}")).await.0, 400, "{part}");
    }
    let near = format!(
        "{}{}",
        &whole[..62],
        if whole.ends_with("00") { "01" } else { "00" }
    );
    assert_eq!(get(&host, &format!("proof/{near}")).await.0, 404);
    // Nor does the proof of one answer tell another one: it has hashes alone.
    let other = host
        .run(Program::new(&guest("hello")))
        .await
        .result_commitment
        .to_string();
    proof(&host, &other).await;
    assert!(!proof(&host, &whole).await.contains(&other));
}
