//! A PostgreSQL server of a test's own, on a free loopback port.
//!
//! The tests of `crates/store` read this file too, so it uses nothing else of the kit.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Who owns the database.
const USER: &str = "hypervisor";
/// Their password, which no log, error or message may show.
pub const PASSWORD: &str = "a-password-to-look-for";
/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; ended when dropped.
pub struct Postgres {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Starts a server that waits for no disk.
    pub fn start() -> Self {
        Self::with("fsync = off\nfull_page_writes = off\n")
    }

    /// Starts a server whose commits wait for the disk.
    pub fn durable() -> Self {
        Self::with("")
    }

    /// Starts a server that speaks TLS, with a certificate for its address that is signed by nobody else.
    pub fn with_tls() -> Self {
        Self::of("ssl = on\nfsync = off\n", certify)
    }

    /// Starts a server with more lines in its configuration.
    pub fn with(settings: &str) -> Self {
        Self::of(settings, |_| {})
    }

    /// Starts a server that is reached from other machines.
    pub fn reachable() -> Self {
        Self::of("listen_addresses = '*'\nfsync = off\n", |data| {
            let path = data.join("pg_hba.conf");
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            writeln!(file, "host all all 0.0.0.0/0 scram-sha-256").unwrap();
        })
    }

    fn of(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = shared_folder();
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(template()).arg(&data));
        prepare(&data);
        let mut server = Self {
            folder,
            port: free_port(),
            child: None,
        };
        server.configure(&format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 32MB\n\
             max_connections = 60\nlog_min_messages = log\n{settings}"
        ));
        give_away(&data);
        server.run();
        server
    }

    /// Adds lines to the configuration of a server that is not running, or is told to read it again.
    pub fn configure(&self, settings: &str) {
        let path = self.data().join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "port = {}\n{settings}", self.port).unwrap();
    }

    /// Where it is, for a host.
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// The certificate of a server that speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts it where it was ended, at the same port.
    pub fn run(&mut self) {
        let began = Instant::now();
        while self.child.is_none() {
            let log = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.folder.path().join("log"))
                .unwrap();
            let mut child = (as_its_user("postgres").arg("-D").arg(self.data()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            loop {
                if answers(self.port) {
                    self.child = Some(child);
                    break;
                }
                // What a killed one left has to be gone first.
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                assert!(
                    began.elapsed() < PATIENCE,
                    "no PostgreSQL; log:\n{}",
                    self.log()
                );
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(
                began.elapsed() < PATIENCE,
                "no PostgreSQL; log:\n{}",
                self.log()
            );
        }
    }

    /// Ends it as a crash of its machine would look to others: nothing is finished.
    pub fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        self.reap();
    }

    /// Ends it at once, without finishing what runs (`pg_ctl stop -m immediate`).
    pub fn stop_immediately(&mut self) {
        self.signal(Signal::QUIT);
        self.reap();
    }

    /// All of its processes stand still: connections stay, and nothing answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// They go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// What a statement gives, as `psql` prints it: rows as lines, columns between bars.
    pub fn query(&self, sql: &str) -> String {
        let output = self
            .client("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Everything in the database, as its operator saves it.
    pub fn dump(&self) -> Vec<u8> {
        let output = self.client("pg_dump").output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// Starts a standby, which has everything that is durable here before it is acknowledged.
    pub fn standby(&self) -> Self {
        let folder = shared_folder();
        let data = folder.path().join("data");
        let mut copy = self.client("pg_basebackup");
        copy.args([
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
            "-D",
        ]);
        run(copy.arg(&data));
        let mut standby = Self {
            folder,
            port: free_port(),
            child: None,
        };
        fs::write(data.join("standby.signal"), "").unwrap();
        standby.configure(&format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user={USER} password={PASSWORD} application_name=standby'\n\
             synchronous_standby_names = ''",
            self.port
        ));
        give_away(&data);
        standby.run();
        self.configure("synchronous_standby_names = 'standby'");
        self.query("select pg_reload_conf()");
        let began = Instant::now();
        let state = "select sync_state from pg_stat_replication where application_name = 'standby'";
        while self.query(state) != "sync" {
            assert!(began.elapsed() < PATIENCE, "the standby does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Makes a standby take writes.
    pub fn promote(&self) {
        self.query("select pg_promote()");
    }

    /// Its folder of data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", USER)
            .env("PGPASSWORD", PASSWORD)
            .env("PGDATABASE", "postgres");
        command
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Signals the server and the processes of its connections, which are in sessions of their own.
    fn signal_all(&self, signal: Signal) {
        let server = self.pid();
        // It makes no more of them.
        kill_process(server, Signal::STOP).unwrap();
        for child in children(server) {
            // It may have ended meanwhile.
            let _ = kill_process(child, signal);
        }
        kill_process(server, signal).unwrap();
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// The processes that one started.
fn children(parent: Pid) -> Vec<Pid> {
    let of = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may have spaces.
        let (_, after) = status.rsplit_once(") ")?;
        let is_its = after.split(' ').nth(1)?.parse() == Ok(parent.as_raw_nonzero().get());
        let pid = entry.file_name().to_str()?.parse().ok()?;
        is_its.then(|| Pid::from_raw(pid))?
    };
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| of(entry.ok()?)).collect()
}

/// A folder that the server's user can enter.
pub(crate) fn shared_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Whether a server takes connections there.
fn answers(port: u16) -> bool {
    let mut ask = Command::new(program("pg_isready"));
    let asked = ask
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status();
    asked.unwrap().success()
}

/// Makes the certificate and the key of a server where it looks for them.
fn certify(data: &Path) {
    let mut made = Command::new("openssl");
    made.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ])
    .args(["-nodes", "-days", "30", "-subj", "/CN=database"])
    .args(["-addext", "subjectAltName=IP:127.0.0.1"])
    .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
    .arg(data.join("server.key"))
    .arg("-out");
    run(made.arg(data.join("server.crt")));
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A fresh cluster that others are copies of: making one takes longer than copying it. It stays beside the tests' programs.
fn template() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let this = std::env::current_exe().unwrap();
    let path = this.with_file_name("postgres-template");
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if path.is_dir() {
        return path;
    }
    let folder = shared_folder();
    let (data, word) = (folder.path().join("data"), folder.path().join("word"));
    fs::create_dir(&data).unwrap();
    fs::write(&word, PASSWORD).unwrap();
    give_away(&data);
    let mut made = as_its_user("initdb");
    made.args([
        "--no-sync",
        "--no-locale",
        "--encoding=UTF8",
        "--wal-segsize=1",
    ])
    .args(["--auth=scram-sha-256", "--username", USER, "--pwfile"])
    .arg(&word)
    .arg("-D");
    run(made.arg(&data));
    let own = path.with_extension(std::process::id().to_string());
    run(Command::new("cp").arg("-a").arg(&data).arg(&own));
    if fs::rename(&own, &path).is_err() {
        // Another process was faster.
        fs::remove_dir_all(&own).unwrap();
    }
    path
}

/// Gives a folder to the user that servers run as; they refuse to be root.
fn give_away(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").args(["-R", "postgres:"]).arg(folder));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

fn as_its_user(name: &str) -> Command {
    as_user_of_servers(&program(name))
}

/// A program that refuses to be root's, as the user whose servers are.
pub(crate) fn as_user_of_servers(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command
}

/// One of the server's programs, which Debian keeps in no path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let of = |entry: fs::DirEntry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path().join("bin").join(name);
        path.is_file().then_some((version, path))
    };
    let found = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| of(entry.ok()?));
    found.max().map_or(name.into(), |(_, path)| path)
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run `make fleet`"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
