//! What whoever reads the host's memory later, from a dump or by breaking out, finds of sessions and environments that are over.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use hkdf::Hkdf;
use hypervisor_client::protocol::{ContentFormat, Exit, PrivateKey};
use hypervisor_tests::programs::guest;
use hypervisor_tests::{Host, RawSession, eventually};
use sha2::Sha256;

/// The secrets of a session by name, as the client that made them can tell.
fn secrets(client: &[u8; 32], session: &RawSession) -> Vec<(&'static str, [u8; 32])> {
    let session = &session.session;
    let own = p256::SecretKey::from_slice(client).unwrap();
    let host = p256::PublicKey::from_sec1_bytes(session.host().as_bytes()).unwrap();
    let shared = own.diffie_hellman(&host);
    let (prk, hkdf) =
        Hkdf::<Sha256>::extract(Some(session.id().as_bytes()), shared.raw_secret_bytes());
    let expand = |label: &[u8]| {
        let mut key = [0; 32];
        let (client, host) = (session.public_key(), session.host());
        let info = [label, client.as_bytes(), host.as_bytes()];
        hkdf.expand_multi_info(&info, &mut key).unwrap();
        key
    };
    vec![
        (
            "shared point",
            shared.raw_secret_bytes()[..].try_into().unwrap(),
        ),
        ("prk", prk[..].try_into().unwrap()),
        ("request key", expand(b"hypervisor/v1 request")),
        ("response key", expand(b"hypervisor/v1 response")),
    ]
}

/// Which of `wanted` the process holds in memory that it can write.
fn found<'a>(pid: u32, wanted: &[(&'a str, &[u8])]) -> io::Result<Vec<&'a str>> {
    const PART: u64 = 1 << 20;
    const MOST: u64 = 1 << 30;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().unwrap().split_once('-').unwrap();
        let [from, to] = [range.0, range.1].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        if !fields.next().unwrap().starts_with("rw") || to - from > MOST {
            continue;
        }
        // Parts overlap, so that nothing hides between two.
        for start in (from..to).step_by(PART as usize) {
            let mut part = vec![0; (to - start).min(PART + 64) as usize];
            if memory.read_exact_at(&mut part, start).is_err() {
                continue;
            }
            for (name, bytes) in wanted {
                if memchr::memmem::find(&part, bytes).is_some() {
                    found.push(*name);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[tokio::test]
async fn of_a_session_that_is_over_no_key_is_left_in_the_hosts_memory() {
    let host = Host::with("[limits]\nsessions = 1\nexecutions = 4\n");
    let mut client = [0; 32];
    getrandom::fill(&mut client).unwrap();
    let key = PrivateKey::from_bytes(&client).unwrap();
    let session = RawSession::open_with(&host, key).await;
    let (request, pending) = session.request(&guest("echo"), Some(b"of no interest"), &[b"one"]);
    let answer = session.send(&request).await;
    let opened = session.open_answer(ContentFormat::Cbor, &pending, &answer);
    assert_eq!(opened.report.exit, Exit::Ok);

    let id = *session.session.id();
    match found(host.pid(), &[("session", id.as_bytes())]) {
        Ok(there) => assert_eq!(there, ["session"], "a live session was not found"),
        Err(error) => {
            eprintln!("SKIPPED: this test may not read the host's memory ({error})");
            return;
        }
    }
    // There is room for one: this ends the first.
    let _other = host.session().await;
    assert_eq!(session.send(&request).await.problem(), "unknown-session");

    let secrets = secrets(&client, &session);
    // Half a key is looked for: key schedules begin with it.
    let halves: Vec<_> = secrets
        .iter()
        .map(|(name, secret)| (*name, &secret[..16]))
        .collect();
    let left = || found(host.pid(), &halves).unwrap();
    let gone = eventually(
        "the last user of the session has let go of it",
        async || left().is_empty().then_some(()),
    );
    if tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .is_err()
    {
        panic!("left in the host's memory: {:?}", left());
    }
}

#[tokio::test]
async fn of_an_environment_that_was_removed_nothing_is_left_in_the_hosts_memory() {
    let host = Host::with_environments("");
    let tenant = host.tenant().await;
    // What is looked for was in no request.
    let words: String = (0..8).map(|n| format!("{n}{}", host.pid())).collect();
    let kept: String = words.chars().rev().collect();
    let source = format!(
        "const kept = [...'{words}'].reverse().join(''); export const handler = () => kept.length;"
    );
    let id = tenant.set_up("javascript", &source).await.id;
    assert_eq!(tenant.value(&id, "0").await, kept.len().to_string());
    let wanted = [("state", kept.as_bytes())];
    if let Err(error) = found(host.pid(), &wanted) {
        eprintln!("SKIPPED: this test may not read the host's memory ({error})");
        return;
    }
    // Mappings come and go while they are read.
    eventually("the state of a live environment is found", async || {
        let found = found(host.pid(), &wanted).unwrap();
        (found == ["state"]).then_some(())
    })
    .await;
    tenant.remove(&id).await;
    eventually("nothing holds the state any more", async || {
        let is_gone = || found(host.pid(), &wanted).unwrap().is_empty();
        (0..3).all(|_| is_gone()).then_some(())
    })
    .await;
}
