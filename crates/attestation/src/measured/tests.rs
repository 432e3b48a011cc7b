//! Shares of the log, and a register that does not follow.

use super::*;
use hypervisor_evidence::{Backend, Capabilities, Quote};

fn agent(log: &Measured, loader: Loader<'_>, n: usize) -> Result<(), MeasureError> {
    let imports = (0..300).map(|n| format!("wasi:clocks/monotonic-clock@0.2.{n}"));
    let mut digest = [0; 48];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    log.append(loader, "agent/hello", digest, imports.collect())
}

/// Deploys on these accounts until it is refused; how often it was not.
fn deployed(log: &Measured, accounts: &[&str]) -> usize {
    let before = log.length() as usize;
    let refused = loop {
        let n = log.length() as usize;
        if let Err(refused) = agent(log, Loader::Deployment(accounts), n) {
            break refused;
        }
    };
    assert!(matches!(refused, MeasureError::Quota(_)), "{refused}");
    log.length() as usize - before
}

#[test]
fn owners_that_cost_nothing_take_no_more_than_the_network_that_they_deploy_from() {
    let log = Measured::unattested();
    let mut taken = 0;
    for owner in 0..64 {
        taken += deployed(&log, &[&format!("owner {owner}"), "192.0.2.1"]);
    }
    assert_eq!(taken, OF_DEPLOYMENTS / PART);
    // What is there already needs no room.
    agent(&log, Loader::Deployment(&["owner 0", "192.0.2.1"]), 0).unwrap();
    assert_eq!(log.length() as usize, taken);
    assert!(deployed(&log, &["another", "192.0.2.2"]) > 200);
}

#[test]
fn few_accounts_do_not_use_up_the_log_and_all_of_them_leave_room_for_plugins() {
    let log = Measured::unattested();
    let accounts: Vec<String> = (0..100).map(|n| format!("account {n}")).collect();
    let taken: Vec<usize> = (accounts.iter())
        .map(|account| deployed(&log, &[account]))
        .collect();
    assert!(taken.iter().take(32).all(|taken| *taken > 3), "{taken:?}");
    assert_eq!(taken.iter().sum::<usize>(), OF_DEPLOYMENTS);
    // What was deployed before the start is loaded all the same.
    log.append(Loader::Agent, "agent/early", [1; 48], Vec::new())
        .unwrap();
    for _ in 0..512 {
        let imports = (0..40)
            .map(|n| format!("wasi:io/streams{n}@0.2.6"))
            .collect();
        log.append(Loader::Operator, "policy", [0; 48], imports)
            .unwrap();
    }
    assert!(log.snapshot().unwrap().encoded.len() < MAX_LENGTH / 2);
}

#[test]
fn the_log_head_covers_every_entry_and_their_order() {
    let heads = [["a", "b"], ["b", "a"]].map(|names| {
        let log = Measured::unattested();
        for name in names {
            let imports = vec!["wasi:io/poll@0.2.0".to_owned()];
            log.append(Loader::Operator, name, [7; 48], imports)
                .unwrap();
        }
        log.read(|log| (log.entries().len(), log.head().head))
    });
    assert_eq!(heads.map(|(entries, _)| entries), [2, 2]);
    assert_ne!(heads[0].1, heads[1].1);
}

/// A platform whose register takes no extension, though it says so.
struct Stuck;

impl Attester for Stuck {
    fn backend(&self) -> Backend {
        Backend::Tdx
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            runtime_register: true,
            certificates: false,
        }
    }

    fn quote(&self, _: &[u8; 64]) -> Result<Quote, AttesterError> {
        Err(AttesterError::RegisterMismatch)
    }

    fn extend(&self, _: &[u8; 48]) -> Result<(), AttesterError> {
        Ok(())
    }

    fn read_register(&self) -> Result<[u8; 48], AttesterError> {
        Ok([0; 48])
    }
}

#[test]
fn a_register_that_does_not_hold_the_log_refuses_the_component_and_poisons_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let attester: Arc<dyn Attester> = Arc::new(Stuck);
    let log = Measured::on(&attester, Some(folder.path())).unwrap();
    assert!(!log.is_poisoned());
    let refused = log.append(Loader::Operator, "policy", [1; 48], Vec::new());
    assert!(refused.is_err());
    assert!(log.is_poisoned());
    assert!(log.snapshot().is_err());
    let written = std::fs::read_to_string(folder.path().join("component-log.jsonl")).unwrap();
    // Where the register began, and the entry.
    assert_eq!(written.lines().count(), 2);
}

#[test]
fn nothing_is_measured_while_a_quote_holds_the_log() {
    let log = Measured::unattested();
    let (held, guard) = log.hold().unwrap();
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| log.append(Loader::Operator, "policy", [1; 48], Vec::new()));
        // It may not have come that far; it never gets further.
        std::thread::yield_now();
        assert_eq!(log.snapshot().unwrap().head, held.head);
        drop(guard);
        measuring.join().unwrap().unwrap();
    });
    assert_eq!(log.length(), 1);
}
