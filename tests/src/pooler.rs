//! PgBouncer in front of a test's PostgreSQL, with what docs/FLEET.md says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::postgres::{PASSWORD, Postgres, as_user_of_servers, free_port, shared_folder};

/// Connections that it has to the database, however many come to it.
pub const CONNECTIONS: u64 = 4;

/// A running PgBouncer in transaction mode; ended when dropped.
pub struct Pooler {
    folder: TempDir,
    port: u16,
    url: String,
    child: Option<Child>,
}

impl Pooler {
    /// Starts one.
    pub fn before(database: &Postgres) -> Self {
        let (folder, port) = (shared_folder(), free_port());
        let users = folder.path().join("users");
        fs::write(&users, format!("\"hypervisor\" \"{PASSWORD}\"\n")).unwrap();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = transaction\nmax_prepared_statements = 100\nignore_startup_parameters = options\n\
             default_pool_size = {CONNECTIONS}\n",
            database.port(),
            users.display()
        );
        fs::write(folder.path().join("pgbouncer.ini"), config).unwrap();
        // What the server is not told by each connection is set for the user.
        database.query("alter role hypervisor set statement_timeout = '10s'");
        let own = format!(":{}/", database.port());
        let mut pooler = Self {
            url: database.url().replace(&own, &format!(":{port}/")),
            folder,
            port,
            child: None,
        };
        pooler.run();
        pooler
    }

    /// Where it is, for a host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it again where it was killed, at the same port.
    pub fn run(&mut self) {
        let mut child = as_user_of_servers(&program())
            .arg(self.folder.path().join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("pgbouncer: {error}; run `make fleet`"));
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "pgbouncer: {ended:?}; run `make fleet`");
            assert!(began.elapsed() < PATIENCE, "pgbouncer does not listen");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.child = Some(child);
    }

    /// Kills it: all connections through it are gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one that `scripts/setup.sh fleet` built where Debian's is too old, or the system's.
fn program() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin/pgbouncer");
    match Path::new(built).is_file() {
        true => built.into(),
        false => "pgbouncer".into(),
    }
}
