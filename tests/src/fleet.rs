//! Hosts that are one service: a database, the key that they share, and what is in the database under its operator's hands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::Host;
use crate::postgres::Postgres;

/// A database and a key; hosts are started with [`Fleet::host`].
pub struct Fleet {
    /// The database.
    pub database: Postgres,
    folder: TempDir,
}

impl Fleet {
    /// One whose database waits for no disk.
    pub fn start() -> Self {
        Self::over(Postgres::start())
    }

    /// One with this database.
    pub fn over(database: Postgres) -> Self {
        let folder = TempDir::new().unwrap();
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        let fleet = Self { database, folder };
        fs::write(fleet.key(), key).unwrap();
        fs::set_permissions(fleet.key(), fs::Permissions::from_mode(0o600)).unwrap();
        fleet
    }

    /// The file with the key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("fleet-key")
    }

    /// The section of a host's configuration.
    pub fn section(&self) -> String {
        self.section_at(&self.database.url())
    }

    /// The same with another URL of the database.
    pub fn section_at(&self, url: &str) -> String {
        format!("\n[fleet]\nstore = '{url}'\nkey = {:?}\n", self.key())
    }

    /// A host of this fleet; `config` as [`Host::with`] takes it.
    pub fn host(&self, config: &str) -> Host {
        Host::with(&format!("{config}{}", self.section()))
    }

    /// So many of them.
    pub fn hosts(&self, count: usize, config: &str) -> Vec<Host> {
        (0..count).map(|_| self.host(config)).collect()
    }

    /// The keys of a table's rows, in their order, in hexadecimal.
    pub fn rows(&self, table: &str) -> Vec<String> {
        let rows = self.database.query(&format!(
            "select encode(key, 'hex') from hypervisor_rows where {} order by key",
            of(table)
        ));
        rows.lines().map(str::to_owned).collect()
    }

    /// Flips a bit of every row of a table whose key, in hexadecimal, begins so.
    pub fn flip(&self, table: &str, key: &str) {
        let changed = self.database.query(&format!(
            "with flipped as (update hypervisor_rows \
             set sealed = set_byte(sealed, octet_length(sealed) - 1, get_byte(sealed, octet_length(sealed) - 1) # 1) \
             where {} and encode(key, 'hex') like '{key}%' returning 1) select count(*) from flipped",
            of(table)
        ));
        assert_ne!(changed, "0");
    }

    /// Has two rows of a table change places.
    pub fn swap(&self, table: &str, one: &str, other: &str) {
        let of = of(table);
        self.database.query(&format!(
            "update hypervisor_rows a set version = b.version, sealed = b.sealed from hypervisor_rows b \
             where a.tab = b.tab and a.{of} and encode(a.key, 'hex') in ('{one}', '{other}') \
             and encode(b.key, 'hex') in ('{one}', '{other}') and a.key <> b.key"
        ));
    }

    /// Has a bit of every row of a table whose key, in hexadecimal, begins so be another one whenever it is written, until
    /// [`Fleet::spare`].
    pub fn spoil(&self, table: &str, key: &str) {
        self.database.query(&format!(
            "create function spoil() returns trigger language plpgsql as $$ begin \
             if new.{} and encode(new.key, 'hex') like '{key}%' then \
             new.sealed := set_byte(new.sealed, octet_length(new.sealed) - 1, get_byte(new.sealed, octet_length(new.sealed) - 1) # 1); \
             end if; return new; end $$; \
             create trigger spoil before insert or update on hypervisor_rows for each row execute function spoil()",
            of(table)
        ));
    }

    /// Spoils nothing more.
    pub fn spare(&self) {
        let sql = "drop trigger spoil on hypervisor_rows; drop function spoil()";
        self.database.query(sql);
    }

    /// Keeps each row as it was before it was first changed, from now on, for [`Fleet::set_back`].
    pub fn remember(&self) {
        self.database.query(
            "create table kept (tab text, key bytea, version bigint, sealed bytea, primary key (tab, key)); \
             create function keep() returns trigger language plpgsql as \
             'begin insert into kept values (old.*) on conflict do nothing; return new; end'; \
             create trigger keep before update on hypervisor_rows for each row execute function keep()",
        );
    }

    /// Puts a table's rows back as they were before they were first changed.
    pub fn set_back(&self, table: &str) {
        let changed = self.database.query(&format!(
            "drop trigger keep on hypervisor_rows; \
             with put as (update hypervisor_rows r set version = k.version, sealed = k.sealed from kept k \
             where r.tab = k.tab and r.key = k.key and r.{} returning 1) select count(*) from put",
            of(table)
        ));
        assert_ne!(changed, "0");
    }
}

/// The rows of a table, whatever key they are sealed under.
fn of(table: &str) -> String {
    format!("tab similar to '{table}(@%)?'")
}
