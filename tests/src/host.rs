//! A host process of its own for each test, on a free loopback port.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hypervisor_client::{Client, Execution, Program, Session};
use tempfile::TempDir;

use crate::{PATIENCE, copy_folder, eventually};

/// A running `hypervisor`; ended when dropped.
pub struct Host {
    child: Child,
    addresses: Addresses,
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// How often it was started again.
    again: u32,
}

/// Path of one of the workspace's binaries, built next to the tests; `HYPERVISOR_TEST_BIN` names another host.
pub fn binary(name: &str) -> PathBuf {
    if let Some(other) = std::env::var_os("HYPERVISOR_TEST_BIN").filter(|_| name == "hypervisor") {
        return std::path::absolute(other).unwrap();
    }
    let this = std::env::current_exe().unwrap();
    // Tests are a folder below, other programs beside it.
    let mut folders = this.ancestors().skip(1).take(2);
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
        .unwrap_or_else(|| panic!("{name} is not built; run `make test`"))
}

impl Host {
    /// Starts a host with the default limits.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a host with a configuration of its own; `config` is TOML without `executor_path`, `app_path` and `[admin]`,
    /// and without `listening` but in its first line. Where it does not say who may deploy agents, and where they may send requests, everybody may, to anywhere.
    pub fn with(config: &str) -> Self {
        Self::as_configured(&open_to_all(config))
    }

    /// As [`Self::with`], with a log of these levels.
    pub fn logging(directives: &str, config: &str) -> Self {
        Self::of(&open_to_all(config), Some(directives))
    }

    /// As [`Self::with`], with the host's own defaults for agents.
    pub fn as_configured(config: &str) -> Self {
        Self::of(config, None)
    }

    /// As [`Self::logging`], in an environment that has these variables too.
    pub fn surrounded(environment: Vec<(String, String)>, directives: &str, config: &str) -> Self {
        Self::within(environment, &open_to_all(config), Some(directives))
    }

    fn of(config: &str, directives: Option<&str>) -> Self {
        Self::within(Vec::new(), config, directives)
    }

    fn within(environment: Vec<(String, String)>, config: &str, directives: Option<&str>) -> Self {
        let folder = configured(config);
        if let Some(directives) = directives {
            fs::write(folder.path().join("levels"), directives).unwrap();
        }
        Self::begun(folder, environment)
    }

    /// Starts a host on a state that is there, which it gets a copy of, with a configuration read as [`Self::with`] reads it.
    pub fn on_state(state: &Path, config: &str) -> Self {
        let folder = configured(&open_to_all(config));
        copy_folder(state, &folder.path().join("state"));
        Self::begun(folder, Vec::new())
    }

    fn begun(folder: TempDir, environment: Vec<(String, String)>) -> Self {
        let (child, addresses) = spawn(folder.path(), &environment);
        Self {
            child,
            addresses,
            folder,
            environment,
            again: 0,
        }
    }

    /// What a host says that does not start with this configuration, read as [`Self::with`] reads it.
    pub fn refused(config: &str) -> String {
        refusal(configured(&open_to_all(config)).path())
    }

    /// What a host that was killed says when it does not start again.
    pub fn refused_again(&self) -> String {
        refusal(self.folder.path())
    }

    /// Kills the host without a warning and starts it again on the same state, at another address.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts a host that was killed again on the same state, at another address. `HYPERVISOR_TEST_OTHER` names the host of another version,
    /// which takes every second turn: what one has written the other is then tested with, there and back.
    pub fn start_again(&mut self) {
        self.again += 1;
        let other = std::env::var_os("HYPERVISOR_TEST_OTHER").filter(|_| self.again % 2 == 1);
        let program = match other {
            Some(other) => std::path::absolute(other).unwrap(),
            None => binary("hypervisor"),
        };
        let folder = self.folder.path();
        (self.child, self.addresses) = started(folder, run_as(&program, folder, &self.environment));
    }

    /// As [`Self::kill_and_restart`], with another configuration, read as [`Self::with`] reads it.
    pub fn restart_with(&mut self, config: &str) {
        self.restart_as_configured(&open_to_all(config));
    }

    /// As [`Self::restart_with`], with the host's own defaults for agents.
    pub fn restart_as_configured(&mut self, config: &str) {
        write_config(self.folder.path(), config);
        self.kill_and_restart();
    }

    /// Kills the host without a warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a host that runs Python; `config` is more TOML, sections first.
    pub fn with_python(config: &str) -> Self {
        Self::with(&format!(
            "{config}\n[runtime.python]\n{}",
            crate::programs::python_plugin()
        ))
    }

    /// Starts a host that runs JavaScript; `config` is more TOML, sections first.
    pub fn with_javascript(config: &str) -> Self {
        Self::with(&format!(
            "{config}\n[runtime.javascript]\n{}",
            crate::programs::javascript_plugin()
        ))
    }

    /// Address of the admin port.
    pub fn admin(&self) -> String {
        self.addresses.admin.clone().unwrap()
    }

    /// The file with the admin port's token.
    pub fn admin_token(&self) -> PathBuf {
        self.state().join("admin.token")
    }

    /// A client that shows the admin port's token.
    pub fn operator(&self) -> reqwest::Client {
        let token = fs::read_to_string(self.admin_token()).unwrap();
        let mut shown: reqwest::header::HeaderValue =
            format!("Bearer {}", token.trim()).parse().unwrap();
        shown.set_sensitive(true);
        let headers = [(reqwest::header::AUTHORIZATION, shown)]
            .into_iter()
            .collect();
        reqwest::Client::builder()
            .default_headers(headers)
            .build()
            .unwrap()
    }

    /// The folder of this host's own state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Puts an agent into the host's registry.
    pub fn register(&self, name: &str, component: &[u8], manifest: &str) {
        let folder = self.folder.path().join("registry").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("agent.wasm"), component).unwrap();
        fs::write(folder.join("agent.toml"), manifest).unwrap();
    }

    /// Address of the public port.
    pub fn url(&self) -> &str {
        &self.addresses.public
    }

    /// A client of this host.
    pub fn client(&self) -> Client {
        Client::new(&self.addresses.public).unwrap()
    }

    /// A fresh session.
    pub async fn session(&self) -> Session {
        self.client().open_session().await.unwrap()
    }

    /// Runs a program in a fresh session.
    pub async fn run(&self, program: Program<'_>) -> Execution {
        self.session().await.run_wasm(program).await.unwrap()
    }

    /// Runs a Python script in a fresh session.
    pub async fn python(&self, script: &str) -> Execution {
        let session = self.session().await;
        session
            .run_python(Program::new(script.as_bytes()))
            .await
            .unwrap()
    }

    /// Runs a script in JavaScript or TypeScript in a fresh session.
    pub async fn javascript(&self, script: &str) -> Execution {
        let session = self.session().await;
        session
            .run_javascript(Program::new(script.as_bytes()))
            .await
            .unwrap()
    }

    /// Everything logged so far; by default at the most talkative level.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The last of its warnings and errors, for a test that fails.
    fn warnings(&self) -> String {
        const MOST: usize = 20;
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let told = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
        let mut lines: Vec<_> = log.lines().rev().filter(told).take(MOST).collect();
        lines.reverse();
        lines.join("\n")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file of `/proc` about the host.
    pub fn proc(&self, file: &str) -> String {
        fs::read_to_string(Path::new("/proc").join(self.pid().to_string()).join(file)).unwrap()
    }

    /// Bytes that the host has in memory.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most bytes that it ever had there.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|it| it.strip_prefix(field));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() << 10
    }

    /// Bytes that it has in memory beyond `before`, once that is less than `most`. What was freed is back with the kernel only a moment later, so
    /// that it is looked at again and again; what is held never comes down to it.
    pub async fn grown(&self, before: u64, most: u64) -> u64 {
        let what = format!("a host that has not grown by {most} bytes since it had {before}");
        eventually(&what, async || {
            let grown = self.resident().saturating_sub(before);
            (grown < most).then_some(grown)
        })
        .await
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Stops the process, and returns when all of its threads stand still: a signal that was sent has not yet come.
    pub fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let tasks = Path::new("/proc").join(self.pid().to_string()).join("task");
        let stands_still = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name of a thread is in brackets, and may hold anything.
            stat.rsplit(')')
                .next()
                .is_none_or(|rest| rest.trim_start().starts_with('T'))
        };
        let began = Instant::now();
        while !fs::read_dir(&tasks).unwrap().flatten().all(stands_still) {
            assert!(began.elapsed() < PATIENCE, "the host does not stand still");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has it go on.
    pub fn thaw(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the host does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the host says that it can do all of its work.
    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.admin());
        eventually("the host is ready", async || {
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until the log has this.
    pub async fn has_logged(&self, words: &str) {
        eventually(words, async || self.log().contains(words).then_some(())).await;
    }
}

/// The configuration, with every client allowed to deploy agents and these to send requests anywhere, where it says nothing
/// of it.
fn open_to_all(config: &str) -> String {
    let open = |section: &str| {
        let says = |key: &str| {
            section
                .lines()
                .any(|line| line.trim_start().starts_with(key))
        };
        let deploy = if says("deploy =") || says("owners =") {
            ""
        } else {
            "deploy = true\n"
        };
        let outgoing = if says("outgoing =") {
            ""
        } else {
            "outgoing = ['*']\n"
        };
        format!("[agents]\n{deploy}{outgoing}")
    };
    match config.split_once("[agents]") {
        Some((before, after)) => {
            let section = after.split("\n[").next().unwrap_or_default();
            format!("{before}{}{after}", open(section))
        }
        None => format!("{config}\n{}", open("")),
    }
}

/// A folder with this configuration in it.
fn configured(config: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    write_config(folder.path(), config);
    folder
}

/// Writes the configuration of a host whose state and registry are in `folder`.
fn write_config(folder: &Path, config: &str) {
    let (state, registry) = (folder.join("state"), folder.join("registry"));
    let admin = if config.contains("[admin]") {
        ""
    } else {
        "\n[admin]\nlistening = '127.0.0.1:0'\n"
    };
    // A host on a machine of its own says where it listens, first of all.
    let (listening, config) = match config.starts_with("listening =") {
        true => config.split_once('\n').unwrap_or((config, "")),
        false => ("listening = '127.0.0.1:0'", config),
    };
    let config =
        format!("{listening}\nexecutor_path = {state:?}\napp_path = {registry:?}\n{config}{admin}");
    fs::write(folder.join("hypervisor.toml"), config).unwrap();
}

/// Where a host answers, as it says itself.
struct Addresses {
    public: String,
    admin: Option<String>,
}

/// What a host says that does not start with the configuration in `folder`.
fn refusal(folder: &Path) -> String {
    let mut child = run(folder, &[]);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > 2 * PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let said = fs::read_to_string(folder.join("log")).unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{said}");
    said
}

/// A host with the configuration in `folder`.
fn run(folder: &Path, environment: &[(String, String)]) -> Child {
    run_as(&binary("hypervisor"), folder, environment)
}

fn run_as(program: &Path, folder: &Path, environment: &[(String, String)]) -> Child {
    crate::prepare_tls();
    // The most talkative level, where none is named.
    let levels = fs::read_to_string(folder.join("levels")).unwrap_or("trace".to_owned());
    Command::new(program)
        .arg("--config")
        .arg(folder.join("hypervisor.toml"))
        .env("RUST_LOG", levels)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // What the system writes there, a dump say, goes when the test does.
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(
            File::options()
                .create(true)
                .append(true)
                .open(folder.join("log"))
                .unwrap(),
        )
        .spawn()
        .unwrap()
}

/// The same, with its addresses.
fn spawn(folder: &Path, environment: &[(String, String)]) -> (Child, Addresses) {
    started(folder, run(folder, environment))
}

fn started(folder: &Path, mut child: Child) -> (Child, Addresses) {
    // Both lines come in one piece, so that what the first read brings is all there is.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let said = String::from_utf8(output.fill_buf().unwrap().to_vec()).unwrap();
    let address = |what: &str| {
        let mut lines = said.lines();
        lines.find_map(|line| line.strip_prefix(what).map(str::to_owned))
    };
    let public = address("listening on ").unwrap_or_else(|| {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("no address; log:\n{log}")
    });
    let admin = address("admin on ");
    (child, Addresses { public, admin })
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ended already where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("a host of this test warned of:\n{}", self.warnings());
        }
    }
}
