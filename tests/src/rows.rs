//! The rows of a host's store, under the hands of whoever has its disk.

use std::path::PathBuf;

use redb::{Database, ReadableTable, TableDefinition, TableHandle};

use crate::Host;

impl Host {
    /// The file of the store of this name.
    pub fn store(&self, name: &str) -> PathBuf {
        self.state().join("store").join(name).with_extension("redb")
    }

    /// Changes the rows of a table of the stores `agents` and `environments`, in the order of their keys, while the host is down: none deletes one.
    /// Gives their keys.
    pub fn alter(
        &mut self,
        table: &str,
        mut change: impl FnMut(&[u8], Vec<u8>) -> Option<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        self.kill();
        let store = match table.starts_with("environment") {
            true => "environments",
            false => "agents",
        };
        let database = Database::open(self.store(store)).unwrap();
        let write = database.begin_write().unwrap();
        let tables: Vec<String> = write
            .list_tables()
            .unwrap()
            .map(|found| found.name().to_owned())
            .filter(|name| name.split('@').next() == Some(table))
            .collect();
        let mut keys = Vec::new();
        for name in tables {
            let mut table = write
                .open_table(TableDefinition::<&[u8], &[u8]>::new(&name))
                .unwrap();
            let rows: Vec<(Vec<u8>, Vec<u8>)> = table
                .iter()
                .unwrap()
                .map(|row| row.unwrap())
                .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
                .collect();
            for (key, value) in rows {
                match change(&key, value) {
                    Some(value) => table.insert(key.as_slice(), value.as_slice()).unwrap(),
                    None => table.remove(key.as_slice()).unwrap(),
                };
                keys.push(key);
            }
        }
        write.commit().unwrap();
        keys
    }

    /// The keys of a table's rows, while the host is down.
    pub fn rows(&mut self, table: &str) -> Vec<Vec<u8>> {
        self.alter(table, |_, value| Some(value))
    }
}
