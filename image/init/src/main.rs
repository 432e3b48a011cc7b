//! The first process of the guest image. It mounts what the host needs, loads the kernel's modules that the image names, takes a
//! network address, makes the root read-only and starts the host, beside which nothing runs. When the host ends, the guest is
//! switched off. There is no shell, and nothing here reads anything from outside but the answers of a DHCP server.

mod lease;
mod link;
mod machine;

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, WaitOptions, getpid, wait};

const HOST: &str = "/usr/bin/hypervisor";
const CONFIGURATION: &str = "/etc/hypervisor/hypervisor.toml";

fn main() -> ExitCode {
    if !getpid().is_init() {
        say("this is the first process of the guest image, and nothing else");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(ended) => say(&ended),
        Err(error) => say(&format!("error: {error}")),
    }
    // The first process must not end: the kernel would panic. Where it cannot be switched off, it stands still.
    loop {
        machine::off();
        std::thread::park();
    }
}

/// Everything until the host has ended; gives how it ended.
fn run() -> io::Result<String> {
    machine::mount_all()?;
    machine::load_modules()?;
    machine::mount_configfs();
    machine::tell_registers();
    link::up_loopback()?;
    match link::first()? {
        Some(card) => lease::take(card)?,
        None => say("there is no network card: the host can be reached from nowhere"),
    }
    machine::seal_root()?;
    machine::raise_limits();
    say("starting the host");
    let host = Command::new(HOST)
        .args(["--config", CONFIGURATION])
        .env_clear()
        // What reads the console may be a file.
        .env("NO_COLOR", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| in_words(HOST, error))?;
    let host = i32::try_from(host.id()).ok().and_then(Pid::from_raw);
    // Whatever else ends was left behind by a process of the host's.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == host => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("the host ended with status {code}"),
                    (None, Some(signal)) => format!("the host was ended by signal {signal}"),
                    (None, None) => "the host ended".to_owned(),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(in_words("waiting for the host", error.into())),
        }
    }
}

/// A line on the console.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "init: {line}");
}

/// The error with what it is about.
fn in_words(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
