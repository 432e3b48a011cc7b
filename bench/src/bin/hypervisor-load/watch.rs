//! What a process takes, looked at again and again: memory, descriptors, threads, and the folder of its state.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hypervisor_bench::error::{Context, Error, Result};
use hypervisor_bench::stats::slope;
use hypervisor_tests::Host;

/// One look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Since the first, minutes.
    pub(crate) at: f64,
    /// Resident memory, MiB.
    pub(crate) resident: f64,
    /// What of it is no file's, MiB: without machine code.
    pub(crate) own: f64,
    /// That of its children, compilers, MiB.
    pub(crate) children: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
    /// Files of the state.
    pub(crate) files: f64,
    /// Their bytes, MiB.
    pub(crate) stored: f64,
}

/// Looks until it is ended.
pub(crate) struct Watch {
    over: mpsc::Sender<()>,
    looking: JoinHandle<Vec<Sample>>,
}

impl Watch {
    pub(crate) fn start(host: &Host, every: Duration) -> Self {
        let (pid, state) = (host.pid(), host.state());
        let (over, ended) = mpsc::channel();
        let looking = std::thread::spawn(move || {
            let started = Instant::now();
            let mut samples = Vec::new();
            loop {
                samples.push(look(pid, &state, started));
                // Whoever watches ends it, or is gone.
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return samples;
                }
            }
        });
        Self { over, looking }
    }

    pub(crate) fn end(self) -> Result<Samples> {
        let _ = self.over.send(());
        let samples = self.looking.join();
        let samples = samples.map_err(|_| Error::new("nobody watched the host"))?;
        Ok(Samples(samples))
    }
}

/// All looks, in order.
#[derive(Debug)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    pub(crate) fn all(&self, of: fn(&Sample) -> f64) -> Vec<f64> {
        self.0.iter().map(of).collect()
    }

    pub(crate) fn most(&self, of: fn(&Sample) -> f64) -> f64 {
        self.0.iter().map(of).fold(0.0, f64::max)
    }

    /// Growth in a minute over the second half, when caches and pools are filled.
    pub(crate) fn slope(&self, of: fn(&Sample) -> f64) -> f64 {
        let half = self.0.iter().skip(self.0.len() / 2);
        let points: Vec<(f64, f64)> = half.map(|sample| (sample.at, of(sample))).collect();
        slope(&points)
    }
}

/// The host as it is now.
pub(crate) fn now(host: &Host) -> Sample {
    look(host.pid(), &host.state(), Instant::now())
}

fn look(pid: u32, state: &Path, started: Instant) -> Sample {
    let (files, bytes) = stored(state);
    // What is gone meanwhile takes nothing.
    Sample {
        at: started.elapsed().as_secs_f64() / 60.0,
        resident: resident(pid).unwrap_or_default(),
        own: field(pid, "RssAnon:").unwrap_or_default() / 1024.0,
        children: children(pid)
            .into_iter()
            .filter_map(|it| resident(it).ok())
            .sum(),
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as f64,
        threads: field(pid, "Threads:").unwrap_or_default(),
        files: files as f64,
        stored: bytes as f64 / f64::from(1 << 20),
    }
}

fn resident(pid: u32) -> Result<f64> {
    Ok(field(pid, "VmRSS:")? / 1024.0)
}

fn field(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    value.context(name)
}

/// How a compiler is called.
const COMPILER: &[u8] = b"compile-worker";

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let listed = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let listed: Vec<String> = listed.collect();
    let pids = listed.iter().flat_map(|list| list.split_whitespace());
    // One that has just been forked has the host's own memory, until it is another program.
    let is_compiler = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline"));
        line.is_ok_and(|line| line.windows(COMPILER.len()).any(|part| part == COMPILER))
    };
    pids.filter_map(|pid| pid.parse().ok())
        .filter(is_compiler)
        .collect()
}

/// Files below a folder, and their bytes on the disk.
fn stored(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let (mut files, mut bytes) = (0, 0);
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => {
                    files += 1;
                    bytes += about.blocks() * 512;
                }
                Err(_) => {}
            }
        }
    }
    (files, bytes)
}
