//! What the runtime needs of whoever keeps rows for components.

use std::sync::Arc;

use super::outgoing::Chain;

/// A value; none is no row.
pub type Value = Option<Vec<u8>>;

/// The rows of one component, in buckets. Nobody else's are to be had through it.
///
/// Names of buckets and keys were not checked. What cannot be done says why by a [`RowsError`]. All of it is quick but [`sync`](Self::sync), which is called where a thread may wait.
pub trait Rows: Send + Sync + 'static {
    /// The bucket that a component means by a name in a call: of some there is one for each client.
    fn bucket(&self, chain: &Chain, name: &Arc<str>) -> Arc<str>;

    /// The values of some keys, in their order.
    fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Value>, RowsError>;

    /// Some keys of a bucket, each once, and where the next ones begin, if there are more. `after` is what an earlier call gave.
    fn keys(
        &self,
        bucket: &str,
        after: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), RowsError>;

    /// Writes all of these rows or none; `chain` is the call that causes it. They are read at once, and reach the disk in a while.
    fn write(
        &self,
        chain: &Chain,
        bucket: &str,
        rows: Vec<(String, Value)>,
    ) -> Result<(), RowsError>;

    /// Adds to a number, which is kept in decimal digits and begins at 0; gives the sum.
    fn increment(
        &self,
        chain: &Chain,
        bucket: &str,
        key: &str,
        delta: u64,
    ) -> Result<u64, RowsError>;

    /// Whether so much was written that is not on the disk that whoever writes more is to [`sync`](Self::sync) first.
    fn is_behind(&self) -> bool;

    /// Returns when all that was written before has reached the disk.
    fn sync(&self) -> Result<(), RowsError>;
}

/// Why rows are not read or written. The text is for the component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowsError(pub String);

impl RowsError {
    /// An error with a fixed text.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}
