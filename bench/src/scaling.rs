//! How executions a second grow with cores: threads of one process share an address space, processes do not.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hypervisor_runtime::{Executor, Exit, Program};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Error, Result};
use crate::executor::{executor, prepare, run};
use crate::report::{Group, Section, Unit};
use crate::sealed::guest;
use crate::server::this_executable;

const MEASURE: Duration = Duration::from_millis(700);

/// A process that runs a `hello` when told to on standard input.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Worker {
    /// The file of the guest.
    #[arg(long)]
    program: String,
    /// Threads that run guests, one task each.
    #[arg(long)]
    threads: usize,
    /// The first core to use, by rank; each thread has one core.
    #[arg(long)]
    core: usize,
}

pub(crate) fn measure(rounds: u32) -> Result<Section> {
    let mut section = Section::new(
        "scaling",
        "executions of hello a second, in process, without HTTP and sealing",
    );
    for (program, title) in [
        ("hello.wasm", "linked with initial memory"),
        ("hello-grows.wasm", "in memory that it has to ask for"),
    ] {
        section.push(scale(rounds, program, title)?);
    }
    Ok(section)
}

fn scale(rounds: u32, program: &str, title: &str) -> Result<Group> {
    let worker = |threads, core| {
        Running::start(&Worker {
            program: program.to_owned(),
            threads,
            core,
        })
    };
    let cores = cores()?.len();
    let (mut one, mut threads, mut processes) = (vec![], vec![], vec![]);
    let (mut first, mut second, mut both) = (worker(1, 0)?, worker(1, 1)?, worker(2, 0)?);
    for _ in 0..rounds {
        first.begin()?;
        one.push(first.end()?);
        both.begin()?;
        threads.push(both.end()?);
        first.begin()?;
        second.begin()?;
        processes.push(first.end()? + second.end()?);
    }
    let times = |of: &[f64]| -> Vec<f64> { of.iter().zip(&one).map(|(a, b)| a / b).collect() };
    let (by_threads, by_processes) = (times(&threads), times(&processes));
    let mut group = Group::new(format!("{title}; pinned, on a machine of {cores} cores"));
    group.add("one core, one thread", Unit::PerSecond, one);
    group.add(
        "two cores, two threads of one process",
        Unit::PerSecond,
        threads,
    );
    group.add("two cores, two processes", Unit::PerSecond, processes);
    group.add("two threads / one", Unit::Ratio, by_threads);
    group.add("two processes / one thread", Unit::Ratio, by_processes);
    Ok(group)
}

/// A worker process, controlled through its standard streams.
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(worker: &Worker) -> Result<Self> {
        let mut child = Command::new(this_executable()?)
            .arg("scaling-worker")
            .args(["--program", &worker.program])
            .args(["--threads", &worker.threads.to_string()])
            .args(["--core", &worker.core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a worker")?;
        let stdin = child.stdin.take().context("a worker's input")?;
        let stdout = child.stdout.take().context("a worker's output")?;
        let mut running = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        running.line()?;
        Ok(running)
    }

    fn begin(&mut self) -> Result<()> {
        self.stdin.write_all(b"go\n").context("a worker's input")
    }

    /// Executions a second.
    fn end(&mut self) -> Result<f64> {
        let line = self.line()?;
        line.trim().parse().context("a worker's answer")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line).context("a worker")? {
            0 => Err(Error::new("a worker ended early")),
            _ => Ok(line),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker process: says `ready`, then answers each line with executions a second.
pub(crate) fn work(worker: &Worker) -> Result<()> {
    let cores = cores()?;
    let (next, first) = (Arc::new(AtomicUsize::new(0)), worker.core);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker.threads)
        .enable_all()
        .on_thread_start(move || {
            let rank = first.saturating_add(next.fetch_add(1, Ordering::Relaxed));
            if let Some(core) = cores.get(rank.checked_rem(cores.len()).unwrap_or(0)) {
                let mut set = CpuSet::new();
                set.set(*core);
                // Unpinned, the figures are noisier, not wrong.
                let _ = sched_setaffinity(None, &set);
            }
        })
        .build()
        .context("async runtime")?;
    let wasm = guest(&worker.program)?;
    let executor = Arc::new(executor()?);
    let program = runtime.block_on(prepare(&executor, &wasm))?;
    crate::say("ready\n")?;
    for line in std::io::stdin().lines() {
        line.context("standard input")?;
        let rate = runtime.block_on(rate(&executor, &program, worker.threads))?;
        crate::say(&format!("{rate}\n"))?;
    }
    Ok(())
}

async fn rate(executor: &Arc<Executor>, program: &Program, threads: usize) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let mut tasks = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (executor, program, stop) = (Arc::clone(executor), program.clone(), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                if run(&executor, &program).await.exit == Exit::Ok {
                    done = done.saturating_add(1);
                }
                // Two tasks on one thread would be measured as one core.
                tokio::task::yield_now().await;
            }
            done
        }));
    }
    // On the main thread, which runs no guests.
    std::thread::sleep(MEASURE);
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    for task in tasks {
        done += task.await.context("a task")?;
    }
    Ok(done as f64 / started.elapsed().as_secs_f64())
}

/// Cores that this process may use.
fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("the cores of this process")?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect())
}
