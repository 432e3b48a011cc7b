//! Server processes: the host as it is shipped, and the echo that is the floor of HTTP.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path as UrlPath, Request};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::BodyExt;
use hypervisor::config::Limits;
use hypervisor_server::{Server, Shutdown};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::error::{Context, Error, Result};

/// A server in a process of its own on a free port of the loopback interface; ended when dropped.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
    executable: PathBuf,
}

impl Process {
    /// The host with its default configuration.
    pub(crate) fn host() -> Result<Self> {
        Self::configured("")
    }

    /// The host with `config`, TOML; everybody may deploy agents.
    pub(crate) fn configured(config: &str) -> Result<Self> {
        Self::host_of(&host_executable()?, config)
    }

    /// The same on some of the machine's cores, as `taskset` names them.
    pub(crate) fn on_cores(config: &str, cores: &str) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(host_executable()?);
        Self::started(command, config)
    }

    /// The same with another build of the host.
    pub(crate) fn host_of(executable: &Path, config: &str) -> Result<Self> {
        Self::started(Command::new(executable), config)
    }

    fn started(mut command: Command, config: &str) -> Result<Self> {
        let folder = folder()?;
        let path = folder.path().join("hypervisor.toml");
        let open = "[agents]\ndeploy = true\n";
        let config = match config.split_once("[agents]\n") {
            Some((before, after)) => format!("{before}{open}{after}"),
            None => format!("{config}\n{open}"),
        };
        fs::write(&path, config).context("writing a configuration")?;
        command.args(["--listening", "127.0.0.1:0", "--config"]);
        command.arg(path);
        Self::start(command, folder)
    }

    /// Ends the host without a warning and starts it again on the same state; gives the time until it serves.
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        self.child.kill().context("ending the host")?;
        self.child.wait().context("ending the host")?;
        let mut command = Command::new(&self.executable);
        command.args(["--listening", "127.0.0.1:0", "--config"]);
        command.arg(self.folder.path().join("hypervisor.toml"));
        let started = Instant::now();
        (self.child, self.address) = spawn(command, self.folder.path())?;
        Ok(started.elapsed())
    }

    /// `wasmtime serve` with a component and options.
    pub(crate) fn wasmtime_serve(component: &Path, options: &[&str]) -> Result<Self> {
        let folder = folder()?;
        let address = free_address()?;
        let mut command = Command::new(wasmtime()?);
        let child = command
            .arg("serve")
            .args(options)
            .args(["-S", "cli", "--addr"])
            .arg(address.to_string())
            .arg(component)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("wasmtime (scripts/setup-bench.sh installs it)")?;
        let mut process = Self {
            child,
            address,
            folder,
            executable: wasmtime()?,
        };
        // It compiles the component before it listens.
        for _ in 0..600 {
            if std::net::TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(Error::new(format!("wasmtime serve ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(Error::new("wasmtime serve does not listen"))
    }

    /// [`serve_echo`], by this program.
    pub(crate) fn echo() -> Result<Self> {
        let mut command = Command::new(this_executable()?);
        command.arg("echo-server");
        Self::start(command, folder()?)
    }

    fn start(command: Command, folder: TempDir) -> Result<Self> {
        let executable = PathBuf::from(command.get_program());
        let (child, address) = spawn(command, folder.path())?;
        Ok(Self {
            child,
            address,
            folder,
            executable,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file of the folder that the server runs in.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Processor time of all live threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut nanos = 0_u64;
        for task in fs::read_dir(tasks).context("the server's threads")? {
            let path = task.context("the server's threads")?.path();
            // A thread may end in between.
            if let Ok(text) = fs::read_to_string(path.join("schedstat")) {
                let own = text.split_whitespace().next().and_then(|n| n.parse().ok());
                nanos = nanos.saturating_add(own.unwrap_or(0));
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// A line of `/proc/PID/status`, MiB: `VmRSS` (resident now) or `VmHWM` (peak).
    pub(crate) fn memory(&self, line: &str) -> Result<f64> {
        self.mebibytes("status", line)
    }

    /// Memory that the server alone holds and wrote to, MiB: `Private_Dirty` of `/proc/PID/smaps_rollup`.
    pub(crate) fn private_dirty(&self) -> Result<f64> {
        self.mebibytes("smaps_rollup", "Private_Dirty")
    }

    fn mebibytes(&self, file: &str, line: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
            .context(format_args!("the server's {file}"))?;
        text.lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(name, _)| *name == line)
            .and_then(|(_, value)| value.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok())
            .map(|kibibytes| kibibytes / 1024.0)
            .ok_or_else(|| Error::new(format!("no {line} in the server's {file}")))
    }
}

/// Starts a server that says on its standard output where it listens.
fn spawn(mut command: Command, folder: &Path) -> Result<(Child, SocketAddr)> {
    let mut child = command
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env_remove("HYPERVISOR_CONFIG")
        .env_remove("HYPERVISOR_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting a server")?;
    let address = child
        .stdout
        .take()
        .context("the server's standard output")
        .and_then(|out| {
            let mut line = String::new();
            BufReader::new(out)
                .read_line(&mut line)
                .context("reading the server's address")?;
            let address = line.trim().strip_prefix("listening on http://");
            address
                .and_then(|address| address.parse().ok())
                .context("the server did not say where it listens")
        });
    match address {
        Ok(address) => Ok((child, address)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// The peer: set up beside the project's other tools, or on the path.
fn wasmtime() -> Result<PathBuf> {
    let own = this_executable()?
        .ancestors()
        .map(|folder| folder.join(".tools/bin/wasmtime"))
        .find(|path| path.exists());
    Ok(own.unwrap_or_else(|| PathBuf::from("wasmtime")))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> Result<TempDir> {
    TempDir::new().context("temporary folder")
}

pub(crate) fn this_executable() -> Result<PathBuf> {
    std::env::current_exe().context("finding this program's own file")
}

/// An address that was free a moment ago: the host's admin port is named in its log only.
pub(crate) fn free_address() -> Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .context("a free port")
}

/// The `hypervisor` binary of the same build.
pub(crate) fn host_executable() -> Result<PathBuf> {
    let path = this_executable()?.with_file_name("hypervisor");
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::new(format!(
            "{} is missing: cargo build --release --locked -p hypervisor",
            path.display()
        )))
    }
}

/// Serves `POST /echo/{bytes}` through the host's own connection handling: receives the body and answers with its first
/// so many bytes, so that requests and answers are as large as the host's.
pub(crate) fn serve_echo() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("async runtime")?;
    runtime.block_on(async {
        let shutdown = Shutdown::listen().context("signals")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(address, None, Limits::default().server(usize::MAX))
            .await
            .context("binding")?;
        crate::say(&format!("listening on http://{}\n", server.address()))?;
        let router = Router::new()
            .route("/echo/{bytes}", post(echo))
            .route("/hello", get(async || "Hello from a component: GET /\n"));
        let answer = move |_, request| {
            let answered = router.clone().oneshot(request);
            async { answered.await.unwrap_or_else(|never| match never {}) }
        };
        server
            .serve(answer, shutdown, async {}, async {})
            .await
            .context("serving")
    })
}

async fn echo(UrlPath(bytes): UrlPath<usize>, request: Request) -> Bytes {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    body.slice(..bytes.min(body.len()))
}
