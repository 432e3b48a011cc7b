//! Programs in the engine alone, built for this machine: the program of `tests/native`, one process for each that run side by side.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::conformance::error::Error;
use crate::conformance::outcome::{Outcomes, first_line};
use crate::conformance::program::Program;

/// Runs programs in processes of `engine`, `at_once` side by side; `done` is told how many have ended.
///
/// # Errors
/// [`Error::Engine`] where it cannot be started. A process that a program brings down is started again.
pub fn native(
    engine: &Path,
    programs: &[Program],
    at_once: usize,
    done: impl Fn(usize) + Sync,
) -> Result<Outcomes, Error> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut process = Process::start(engine)?;
        let mut outcomes = Outcomes::new();
        while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = match process.run(program)? {
                Some(outcome) => outcome,
                None => {
                    process = Process::start(engine)?;
                    "ended: the engine's process".to_owned()
                }
            };
            outcomes.insert(program.name.clone(), outcome);
            done(next.load(Ordering::Relaxed).min(programs.len()));
        }
        Ok::<_, Error>(outcomes)
    };
    let mut all = Outcomes::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let ended = worker.join();
            all.extend(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// A process of the engine: a line of JSON in, a line of JSON out. Ended when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(engine: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Engine {
            path: engine.to_owned(),
            source,
        };
        let mut child = Command::new(engine)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| failed(std::io::Error::other("no pipes")))?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// None where the process ended instead.
    fn run(&mut self, program: &Program) -> Result<Option<String>, Error> {
        let mut line = serde_json::to_string(&program.files)?;
        line.push('\n');
        let mut answer = String::new();
        let asked = self.input.write_all(line.as_bytes());
        let read = asked.and_then(|()| self.output.read_line(&mut answer));
        match read {
            Ok(count) if count > 0 => {
                let said: String = serde_json::from_str(&answer)?;
                Ok(Some(
                    first_line(&said).unwrap_or_else(|| "ended: without a word".to_owned()),
                ))
            }
            _ => Ok(None),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already where a program brought it down.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
