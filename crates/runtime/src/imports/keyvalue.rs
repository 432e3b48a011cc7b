//! `wasi:keyvalue`: rows of a component's own, kept by whoever embeds the runtime.
//!
//! Nothing leaves the thread but a wait for the disk.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};

use super::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::outgoing::Chain;
use crate::rows::{Rows, RowsError, Value};

/// Longest name of a bucket, bytes.
const MAX_IDENTIFIER: usize = 256;

/// A bucket that a component opened: its name.
pub struct Bucket(Arc<str>);

/// The parts of a store's data that the import works on.
pub(crate) struct KeyValueView<'a> {
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) rows: Option<&'a Arc<dyn Rows>>,
    pub(crate) chain: &'a Chain,
}

/// Ties [`KeyValueView`] to the generated bindings.
struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = KeyValueView<'a>;
}

/// Adds `wasi:keyvalue/{store,atomics,batch}@0.2.0-draft` to `linker`. `get` projects a store's data to the view.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> KeyValueView<'_>,
) -> wasmtime::Result<()> {
    store::add_to_linker::<T, KeyValue>(linker, get)?;
    atomics::add_to_linker::<T, KeyValue>(linker, get)?;
    batch::add_to_linker::<T, KeyValue>(linker, get)
}

impl From<RowsError> for store::Error {
    fn from(error: RowsError) -> Self {
        Self::Other(error.0)
    }
}

impl From<ResourceTableError> for store::Error {
    fn from(error: ResourceTableError) -> Self {
        Self::Other(error.to_string())
    }
}

type Result<T> = std::result::Result<T, store::Error>;

/// The rows of a component, one bucket of them, and the call that it works for.
struct Opened {
    rows: Arc<dyn Rows>,
    bucket: Arc<str>,
    chain: Chain,
}

impl Opened {
    fn get(&self, keys: &[String]) -> Result<Vec<Value>> {
        Ok(self.rows.get(&self.bucket, keys)?)
    }

    async fn write(&self, rows: Vec<(String, Value)>) -> Result<()> {
        self.catch_up().await?;
        Ok(self.rows.write(&self.chain, &self.bucket, rows)?)
    }

    /// Waits for the disk where too much has not reached it: until there is room, for others waited, too.
    async fn catch_up(&self) -> Result<()> {
        while self.rows.is_behind() {
            self.sync().await?;
        }
        Ok(())
    }

    /// Waits for the disk, away from the threads that calls run on.
    async fn sync(&self) -> Result<()> {
        let rows = Arc::clone(&self.rows);
        let done = tokio::task::spawn_blocking(move || rows.sync()).await;
        let done = done.map_err(|_| store::Error::Other("the write was lost".to_owned()))?;
        Ok(done?)
    }
}

impl KeyValueView<'_> {
    fn opened(&self, bucket: &Resource<Bucket>) -> Result<Opened> {
        let rows = self.rows.ok_or(store::Error::AccessDenied)?;
        Ok(Opened {
            rows: Arc::clone(rows),
            bucket: rows.bucket(self.chain, &self.table.get(bucket)?.0),
            chain: self.chain.clone(),
        })
    }
}

impl store::Host for KeyValueView<'_> {
    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>> {
        if self.rows.is_none() {
            return Err(store::Error::AccessDenied);
        }
        if !(1..=MAX_IDENTIFIER).contains(&identifier.len()) {
            return Err(store::Error::NoSuchStore);
        }
        Ok(self.table.push(Bucket(identifier.into()))?)
    }
}

impl store::HostBucket for KeyValueView<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Value> {
        let found = self.opened(&bucket)?.get(&[key])?;
        Ok(found.into_iter().next().flatten())
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<()> {
        let opened = self.opened(&bucket)?;
        opened.write(vec![(key, Some(value))]).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<()> {
        let opened = self.opened(&bucket)?;
        opened.write(vec![(key, None)]).await
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool> {
        let found = self.opened(&bucket)?.get(&[key])?;
        Ok(found.into_iter().any(|value| value.is_some()))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse> {
        let opened = self.opened(&bucket)?;
        let (keys, cursor) = opened.rows.keys(&opened.bucket, cursor)?;
        Ok(store::KeyResponse { keys, cursor })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for KeyValueView<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<u64> {
        let opened = self.opened(&bucket)?;
        opened.catch_up().await?;
        Ok((opened.rows).increment(&opened.chain, &opened.bucket, &key, delta)?)
    }
}

impl batch::Host for KeyValueView<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>> {
        let found = self.opened(&bucket)?.get(&keys)?;
        let pairs = keys.into_iter().zip(found);
        Ok(pairs.map(|(key, value)| Some((key, value?))).collect())
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        rows: Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let opened = self.opened(&bucket)?;
        // That is what this host takes for a wait.
        if rows.is_empty() {
            return opened.sync().await;
        }
        let rows = rows.into_iter().map(|(key, value)| (key, Some(value)));
        opened.write(rows.collect()).await
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<()> {
        // No keys are no work: that it waits for the disk is said of `set-many` alone.
        if keys.is_empty() {
            return Ok(());
        }
        let opened = self.opened(&bucket)?;
        let rows = keys.into_iter().map(|key| (key, None));
        opened.write(rows.collect()).await
    }
}
