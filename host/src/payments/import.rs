//! Payments that an earlier version of the host kept in the clear, in `executor_path/payments.redb`, moved into the store.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::store::{Answer, Key, Record, State, Store, StoreError, decode};
use crate::state::State as Folder;

pub(super) const RECORDS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("payments/1");
pub(super) const ANSWERS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("answers/1");

/// Moves them, if the file is there, and removes it once they have reached the disk.
pub(super) fn import(store: &Store, folder: &Folder) -> Result<(), StoreError> {
    let path = folder.folder().join("payments.redb");
    if !path.exists() {
        return Ok(());
    }
    let database = Database::open(&path).map_err(StoreError::new)?;
    let read = database.begin_read().map_err(StoreError::new)?;
    let records = match read.open_table(RECORDS) {
        Ok(records) => Some(records),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(StoreError::new(error)),
    };
    let answers = read.open_table(ANSWERS).ok();
    let mut moved = 0;
    if let Some(records) = records {
        for entry in records.iter().map_err(StoreError::new)? {
            let (key, bytes) = entry.map_err(StoreError::new)?;
            let record: Record = decode(bytes.value())?;
            if record.state == State::Reserved {
                continue;
            }
            let answer = match &answers {
                Some(answers) => answers.get(key.value()).map_err(StoreError::new)?,
                None => None,
            };
            let answer: Option<Answer> = answer.map(|it| decode(it.value())).transpose()?;
            store.update(key.value(), &record, answer.as_ref(), false)?;
            moved += 1;
        }
    }
    store.flush()?;
    drop((answers, read, database));
    std::fs::remove_file(&path).map_err(StoreError::new)?;
    tracing::info!(moved, "payments were moved into the sealed store");
    Ok(())
}
