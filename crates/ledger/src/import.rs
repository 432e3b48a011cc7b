//! Payments that an earlier version of the host kept in the clear, in `executor_path/payments.redb`, moved into the store.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use crate::error::Error;
use crate::record::{Answer, Key, Record, State};
use crate::store::{Store, decode};

/// Where the records were.
pub const RECORDS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("payments/1");
/// Where the answers were.
pub const ANSWERS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("answers/1");

/// Moves them, if the file is there, and removes it once they have reached the disk.
pub(crate) fn import(store: &Store, path: &Path) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let database = Database::open(path).map_err(Error::earlier)?;
    let read = database.begin_read().map_err(Error::earlier)?;
    let records = match read.open_table(RECORDS) {
        Ok(records) => Some(records),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(Error::earlier(error)),
    };
    let answers = read.open_table(ANSWERS).ok();
    let mut moved = 0;
    if let Some(records) = records {
        for entry in records.iter().map_err(Error::earlier)? {
            let (key, bytes) = entry.map_err(Error::earlier)?;
            let record: Record = decode(bytes.value())?;
            if record.state == State::Reserved {
                continue;
            }
            let answer = match &answers {
                Some(answers) => answers.get(key.value()).map_err(Error::earlier)?,
                None => None,
            };
            let answer: Option<Answer> = answer.map(|it| decode(it.value())).transpose()?;
            store.update(key.value(), &record, answer.as_ref())?;
            moved += 1;
        }
    }
    store.flush()?;
    drop((answers, read, database));
    std::fs::remove_file(path).map_err(Error::earlier)?;
    tracing::info!(moved, "payments were moved into the sealed store");
    Ok(())
}
