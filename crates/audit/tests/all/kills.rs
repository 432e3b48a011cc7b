//! A process that is killed, at 200 points: the tree after it continues every head that it ever showed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use hypervisor_audit::{Kind, Settings};
use hypervisor_tlog::Head;
use tempfile::TempDir;

use crate::kit::{at_once, continues, digest, head, open};

const FOLDER: &str = "AUDIT_TEST_FOLDER";
const FIRST: &str = "AUDIT_TEST_FIRST";
const POINTS: u64 = 200;

/// Entries go while it is killed, too.
fn settings() -> Settings {
    Settings {
        kept: 1000,
        ..at_once()
    }
}

/// The process that is killed: adds entries, and prints each head that it has, one a line.
#[test]
#[ignore = "it is started by the other test, and does not end"]
fn victim() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let mut number: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let trail = open(folder.as_ref(), 1, settings());
    let mut out = std::io::stdout();
    let mut shown = 0;
    loop {
        for _ in 0..40 {
            trail.append(Kind::Execution, digest(number));
            number += 1;
        }
        let published = trail.published();
        if published.head.size > shown {
            shown = published.head.size;
            let text = published.text.replace('\n', "|");
            writeln!(out, "\nHEAD {text}").unwrap();
            out.flush().unwrap();
        }
        while trail.is_full() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn whenever_it_is_killed_the_tree_continues_every_head_that_was_shown() {
    let folder = TempDir::new().unwrap();
    let mut heads: Vec<Head> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for point in 0..POINTS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::victim", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FIRST, (point * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // After it showed some heads, and then at any moment of the next one.
        let (lines, moment) = (random % 8, Duration::from_micros((random >> 8) % 20_000));
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let read = |line: String| {
            let text = line.strip_prefix("HEAD ")?;
            text.ends_with('|').then(|| text.replace('|', "\n"))
        };
        let mut shown: Vec<String> = Vec::new();
        while (shown.len() as u64) < lines {
            shown.extend(output.next().unwrap().ok().and_then(read));
        }
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        shown.extend(output.map_while(Result::ok).filter_map(read));
        heads.extend(shown.iter().map(|text| head(text, 1)));

        let trail = open(folder.path(), 1, settings());
        let step = heads.len() / 20 + 1;
        heads
            .iter()
            .rev()
            .step_by(step)
            .for_each(|old| continues(&trail, old));
        heads
            .iter()
            .rev()
            .take(10)
            .for_each(|old| continues(&trail, old));
        heads.push(trail.published().head);
    }
    assert!(heads.len() as u64 >= 3 * POINTS, "{}", heads.len());
    let trail = open(folder.path(), 1, settings());
    heads.iter().for_each(|old| continues(&trail, old));
}
