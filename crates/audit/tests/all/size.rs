//! What a large trail costs. The figures are printed: run it alone with `--nocapture`.

use std::time::Instant;

use hypervisor_audit::{Kind, Settings};
use tempfile::TempDir;

use crate::kit::{continues, digest, grown, head, open, proved};

const ENTRIES: u64 = 100_000;

/// Bytes that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Processor time that this process used, in the system's hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let used = fields.split_whitespace().skip(11).take(2);
    used.map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_hundred_thousand_entries_are_proved_by_a_few_reads_each() {
    let folder = TempDir::new().unwrap();
    let trail = open(folder.path(), 1, Settings::default());
    let (began, before, used) = (Instant::now(), resident(), ticks());
    let mut middle = None;
    for number in 0..ENTRIES {
        trail.append(Kind::Execution, digest(number));
        while trail.is_full() {
            std::thread::yield_now();
        }
        if number == ENTRIES / 2 {
            middle = Some(trail.published().head);
        }
    }
    let published = grown(&trail, ENTRIES + 1);
    let (written, used) = (began.elapsed(), ticks() - used);
    let held = resident().saturating_sub(before);
    assert_eq!(head(&published.text, 1), published.head);
    assert_eq!(published.head.size, ENTRIES + 1);
    let began = Instant::now();
    let asked = (0..ENTRIES).step_by(97);
    let proofs = asked.clone().count();
    for number in asked {
        assert_eq!(proved(&trail, &digest(number)).unwrap().0, number + 1);
    }
    let proving = began.elapsed() / u32::try_from(proofs).unwrap();
    let began = Instant::now();
    continues(&trail, &middle.unwrap());
    let continuing = began.elapsed();
    drop(trail);
    let bytes = std::fs::metadata(folder.path().join("audit.redb"))
        .unwrap()
        .len();
    println!(
        "{ENTRIES} entries: {:.0} a second, {} us of processor time each, {} bytes each on the disk, {} KiB more in memory (the store's cache of 16 MiB included); \
         a proof and its verification in {proving:?}, one of consistency in {continuing:?}",
        ENTRIES as f64 / written.as_secs_f64(),
        used * 10_000 / ENTRIES,
        bytes / ENTRIES,
        held >> 10,
    );
    // The cache and what waits are bounded; 100,000 entries with their places would be 20 MB more.
    assert!(held < 128 << 20, "{held}");
    // Taking it up again reads a few rows.
    let again = open(folder.path(), 2, Settings::default());
    assert_eq!(again.published().head.size, ENTRIES + 2);
    continues(&again, &published.head);
}

#[test]
fn entries_that_are_not_kept_cost_little_more_than_their_hashes() {
    let bytes = |kept| {
        let folder = TempDir::new().unwrap();
        let settings = Settings {
            kept,
            ..Settings::default()
        };
        let trail = open(folder.path(), 1, settings);
        for number in 0..ENTRIES / 2 {
            trail.append(Kind::Execution, digest(number));
            while trail.is_full() {
                std::thread::yield_now();
            }
        }
        grown(&trail, ENTRIES / 2 + 1);
        drop(trail);
        // A large file that is mostly free is made smaller when it is opened.
        drop(open(folder.path(), 2, settings));
        let file = folder.path().join("audit.redb");
        std::fs::metadata(file).unwrap().len() / (ENTRIES / 2)
    };
    let (all, few) = (bytes(ENTRIES), bytes(1));
    println!("{all} bytes of the file an entry where all are kept, {few} where none is");
    assert!(few < all);
}
