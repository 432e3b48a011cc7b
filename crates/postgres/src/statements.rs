//! What is asked of the database, each in one statement.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use hypervisor_store::{Fingerprint, Head, KeyId, RawRow};
use sqlx::PgConnection;
use tokio::time::{Instant, timeout_at};

use crate::{KEY, VALUE};

/// Bytes of a value up to which it comes with its row; longer ones are asked for one by one.
const INLINE: i64 = 64 << 10;
/// Bytes of the longest value that is written here. A longer one is somebody else's: it is not read, and does not open.
const LONGEST: i64 = VALUE as i64;
/// Bytes of long values that come with one page of rows: what is beyond comes with the next page.
const PAGE: i64 = 64 << 20;
/// Bytes a second that a value has to come or go with at least, beyond the time that every statement has.
const RATE: u64 = 8 << 20;

/// One statement: what it asks, and how it is answered.
pub(crate) trait Statement: Send + Sync + 'static {
    /// What comes back.
    type Answer: Send + 'static;

    /// Asks. `by`: when the answer has to be there, as far as it is short. `again`: nobody knows whether an earlier attempt was
    /// made.
    fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        again: bool,
    ) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

/// One row.
pub(crate) struct Get {
    pub table: String,
    pub key: Vec<u8>,
}

impl Statement for Get {
    type Answer = Option<RawRow>;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<Option<RawRow>, sqlx::Error> {
        let found: Option<(i64, i64, Option<Vec<u8>>)> = within(
            by,
            sqlx::query_as(
                "select version, octet_length(sealed)::bigint, case when octet_length(sealed) <= $3 then sealed end \
                 from hypervisor_rows where tab = $1 and key = $2",
            )
            .bind(&self.table)
            .bind(&self.key)
            .bind(INLINE)
            .fetch_optional(&mut *connection),
        )
        .await?;
        match found {
            Some(found) => whole(connection, (&self.table, &self.key), found, by).await,
            None => Ok(None),
        }
    }
}

/// Several rows, whose long values are no more together than those of one page.
pub(crate) struct GetAll {
    pub tables: Vec<String>,
    pub keys: Vec<Vec<u8>>,
}

/// The place in the question, from 1; version, length, and the value where it is short.
type Placed = (i64, i64, i64, Option<Vec<u8>>);

impl Statement for GetAll {
    type Answer = Vec<Option<RawRow>>;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<Self::Answer, sqlx::Error> {
        let is_short = |placed: &Placed| is_short(placed.3.as_ref());
        // Each is looked for by the primary key, whatever the planner thinks of the size of the table.
        let found = within(
            by,
            bounded(self.keys.len(), is_short, sqlx::query_as(
                "select q.place, r.version, octet_length(r.sealed)::bigint, case when octet_length(r.sealed) <= $3 then r.sealed end \
                 from unnest($1::text[], $2::bytea[]) with ordinality as q(tab, key, place) \
                 join lateral (select h.version, h.sealed from hypervisor_rows h \
                 where h.tab = q.tab and h.key = q.key limit 1) r on true",
            )
            .bind(&self.tables[..])
            .bind(&self.keys[..])
            .bind(INLINE)
            .fetch(&mut *connection)),
        )
        .await?;
        let mut rows = vec![None; self.keys.len()];
        let mut bytes = 0_i64;
        for (place, version, length, sealed) in found {
            let index = usize::try_from(place).unwrap_or_default().wrapping_sub(1);
            let asked = self.tables.get(index).zip(self.keys.get(index));
            let Some(((table, key), row)) = asked.zip(rows.get_mut(index)) else {
                return Err(too_much());
            };
            bytes = bytes.saturating_add(to_read(length, sealed.as_ref()));
            if bytes > PAGE {
                return Err(too_much());
            }
            *row = whole(connection, (table, key), (version, length, sealed), by).await?;
        }
        Ok(rows)
    }
}

/// Rows as they come: no more than `most`, and each as it was asked for. Whoever answers may be no PostgreSQL.
async fn bounded<T>(
    most: usize,
    is_asked_for: impl Fn(&T) -> bool,
    mut rows: Pin<Box<dyn Stream<Item = Result<T, sqlx::Error>> + Send + '_>>,
) -> Result<Vec<T>, sqlx::Error> {
    let mut taken = Vec::new();
    while let Some(row) = poll_fn(|cx| rows.as_mut().poll_next(cx)).await {
        let row = row?;
        if taken.len() >= most || !is_asked_for(&row) {
            return Err(too_much());
        }
        taken.push(row);
    }
    Ok(taken)
}

fn too_much() -> sqlx::Error {
    sqlx::Error::Protocol("it sends more than it was asked for".to_owned())
}

/// Whether a value that came with its row is as short as those are.
fn is_short(sealed: Option<&Vec<u8>>) -> bool {
    i64::try_from(sealed.map_or(0, Vec::len)).is_ok_and(|it| it <= INLINE)
}

/// Bytes of a value that are still to be read: none of one that came with its row, or is longer than any that is written.
fn to_read(length: i64, sealed: Option<&Vec<u8>>) -> i64 {
    match sealed {
        None if length <= LONGEST => length,
        _ => 0,
    }
}

/// A row with its value, which is asked for where it did not come with it; none where the row went meanwhile.
async fn whole(
    connection: &mut PgConnection,
    (table, key): (&str, &[u8]),
    (version, length, sealed): (i64, i64, Option<Vec<u8>>),
    by: Instant,
) -> Result<Option<RawRow>, sqlx::Error> {
    match sealed {
        Some(sealed) => Ok(Some(row(version, sealed))),
        None if length > LONGEST => Ok(Some(row(version, Vec::new()))),
        None => {
            let time = for_bytes(u64::try_from(length).unwrap_or_default());
            long(connection, table, key, Instant::now().max(by) + time).await
        }
    }
}

/// A row whose value is long.
async fn long(
    connection: &mut PgConnection,
    table: &str,
    key: &[u8],
    by: Instant,
) -> Result<Option<RawRow>, sqlx::Error> {
    let found: Option<(i64, Vec<u8>)> = within(
        by,
        sqlx::query_as("select version, sealed from hypervisor_rows where tab = $1 and key = $2")
            .bind(table)
            .bind(key)
            .fetch_optional(connection),
    )
    .await?;
    Ok(found.map(|(version, sealed)| row(version, sealed)))
}

/// Rows in the order of their keys.
pub(crate) struct Scan {
    pub table: String,
    pub prefix: Vec<u8>,
    pub after: Option<Vec<u8>>,
    pub limit: usize,
}

/// Key, version, length, and the value where it is short.
type Listed = (Vec<u8>, i64, i64, Option<Vec<u8>>);

impl Statement for Scan {
    type Answer = Vec<(Vec<u8>, RawRow)>;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<Self::Answer, sqlx::Error> {
        let is_listed = |row: &Listed| row.0.len() <= KEY && is_short(row.3.as_ref());
        let found = within(
            by,
            bounded(self.limit, is_listed, sqlx::query_as(
                "select key, version, octet_length(sealed)::bigint, case when octet_length(sealed) <= $6 then sealed end \
                 from hypervisor_rows \
                 where tab = $1 and key >= $2 and ($3::bytea is null or key < $3) and ($4::bytea is null or key > $4) \
                 and octet_length(key) <= 1024 order by key limit $5",
            )
            .bind(&self.table)
            .bind(&self.prefix)
            .bind(end(&self.prefix))
            .bind(&self.after)
            .bind(i64::try_from(self.limit).unwrap_or(i64::MAX))
            .bind(INLINE)
            .fetch(&mut *connection)),
        )
        .await?;
        let mut rows = Vec::with_capacity(found.len());
        let mut bytes = 0_i64;
        for (key, version, length, sealed) in found {
            let more = to_read(length, sealed.as_ref());
            bytes = bytes.saturating_add(more);
            if more > 0 && bytes > PAGE && !rows.is_empty() {
                break;
            }
            let found = (version, length, sealed);
            let row = whole(connection, (&self.table, &key), found, by).await?;
            // One that went meanwhile is gone.
            rows.extend(row.map(|row| (key, row)));
        }
        Ok(rows)
    }
}

/// What is seen of rows of all tables without their values.
pub(crate) struct Heads {
    pub table: String,
    pub key: Vec<u8>,
    pub limit: usize,
}

impl Statement for Heads {
    type Answer = Vec<Head>;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<Self::Answer, sqlx::Error> {
        type Listed = (String, Vec<u8>, i64, Vec<u8>);
        let is_listed = |row: &Listed| {
            row.0.len() <= KEY && row.1.len() <= KEY && row.3.len() <= size_of::<KeyId>()
        };
        let found = within(
            by,
            bounded(
                self.limit,
                is_listed,
                sqlx::query_as(
                    "select tab, key, version, substring(sealed from 1 for 8) from hypervisor_rows where (tab, key) > ($1, $2) \
                 and octet_length(tab) <= 1024 and octet_length(key) <= 1024 order by tab, key limit $3",
                )
                .bind(&self.table)
                .bind(&self.key)
                .bind(i64::try_from(self.limit).unwrap_or(i64::MAX))
                .fetch(connection),
            ),
        )
        .await?;
        let head = |(table, key, version, begins): Listed| Head {
            table,
            key,
            version: u64::try_from(version).unwrap_or_default(),
            begins,
        };
        Ok(found.into_iter().map(head).collect())
    }
}

/// The first key after all that begin with a prefix; none where every key comes before the end.
fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Changes, in the order of their rows.
#[derive(Default)]
pub(crate) struct Commit {
    pub tables: Vec<String>,
    pub keys: Vec<Vec<u8>>,
    pub expected: Vec<Option<i64>>,
    pub versions: Vec<Option<i64>>,
    pub sealed: Vec<Option<Vec<u8>>>,
    /// Where each stood in the order of the caller.
    pub places: Vec<i32>,
    pub durable: bool,
}

/// Why changes were not made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// The row of this change has another version.
    Conflict(usize),
    /// Versions of new rows have to be higher than this.
    Behind(u64),
    /// A value is under a key that nobody writes under any more.
    Retired,
}

impl Statement for Commit {
    type Answer = Result<(), NotMade>;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        again: bool,
    ) -> Result<Self::Answer, sqlx::Error> {
        let bytes: usize = self.sealed.iter().flatten().map(Vec::len).sum();
        let by = by + for_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let answer: Result<(Option<i32>, Option<i64>), _> = within(
            by,
            sqlx::query_as(
                "select conflict, floor from hypervisor_commit($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(&self.tables[..])
            .bind(&self.keys[..])
            .bind(&self.expected[..])
            .bind(&self.versions[..])
            .bind(&self.sealed[..])
            .bind(&self.places[..])
            .bind(self.durable)
            .bind(again)
            .fetch_one(connection),
        )
        .await;
        match answer {
            Ok((Some(place), _)) => {
                let place = usize::try_from(place).unwrap_or_default();
                Ok(Err(NotMade::Conflict(place)))
            }
            Ok((None, Some(floor))) => {
                let floor = u64::try_from(floor).unwrap_or_default();
                Ok(Err(NotMade::Behind(floor)))
            }
            Ok((None, None)) => Ok(Ok(())),
            Err(error) => match not_made(&error) {
                Some(why) => Ok(Err(why)),
                None => Err(error),
            },
        }
    }
}

/// Why the schema itself takes no changes: the version of the row that was here before, to which the new one's is not higher; or
/// what is retired.
fn not_made(error: &sqlx::Error) -> Option<NotMade> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    match &*error.code()? {
        "HV001" => error.message().parse().ok().map(NotMade::Behind),
        "HV002" => Some(NotMade::Retired),
        _ => None,
    }
}

/// Takes no value from here on that begins so.
pub(crate) struct Retire(pub KeyId);

impl Statement for Retire {
    type Answer = ();

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<(), sqlx::Error> {
        let retire = sqlx::query("select hypervisor_retire($1)").bind(&self.0[..]);
        within(by, retire.execute(connection)).await.map(drop)
    }
}

/// Brings everything that was committed before to the disk. It writes something: what writes nothing waits for nothing.
pub(crate) struct Flush;

impl Statement for Flush {
    type Answer = ();

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<(), sqlx::Error> {
        let done = sqlx::query(
            "select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'hypervisor', '')",
        )
        .execute(connection);
        within(by, done).await.map(drop)
    }
}

/// Deletes a table's rows.
pub(crate) struct Clear(pub String);

impl Statement for Clear {
    type Answer = ();

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<(), sqlx::Error> {
        let delete = sqlx::query("delete from hypervisor_rows where tab = $1").bind(&self.0);
        within(by, delete.execute(connection)).await.map(drop)
    }
}

/// The database's clock.
pub(crate) struct Now;

impl Statement for Now {
    type Answer = u64;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<u64, sqlx::Error> {
        let micros =
            sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
                .fetch_one(connection);
        let micros: i64 = within(by, micros).await?;
        Ok(u64::try_from(micros).unwrap_or_default())
    }
}

/// Whether there is any row.
pub(crate) struct Used;

impl Statement for Used {
    type Answer = bool;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<bool, sqlx::Error> {
        let used = sqlx::query_scalar("select exists (select 1 from hypervisor_rows)")
            .fetch_one(connection);
        within(by, used).await
    }
}

/// What tells whether a table has changed.
pub(crate) struct Sum(pub String);

impl Statement for Sum {
    type Answer = Fingerprint;

    async fn ask(
        &self,
        connection: &mut PgConnection,
        by: Instant,
        _: bool,
    ) -> Result<Fingerprint, sqlx::Error> {
        let sum = sqlx::query_as(
            "select count(*), coalesce(sum(version), 0)::text from hypervisor_rows where tab = $1",
        )
        .bind(&self.0)
        .fetch_one(connection);
        let (rows, versions): (i64, String) = within(by, sum).await?;
        Ok(Fingerprint {
            rows: u64::try_from(rows).unwrap_or_default(),
            versions: versions.parse().unwrap_or_default(),
            keys: 0,
        })
    }
}

fn row(version: i64, sealed: Vec<u8>) -> RawRow {
    RawRow {
        // One that is not a version is given as one that does not open.
        version: u64::try_from(version).unwrap_or_default(),
        sealed,
    }
}

fn for_bytes(bytes: u64) -> Duration {
    Duration::from_secs(bytes / RATE)
}

/// What `future` gives, or that it did not come in time.
pub(crate) async fn within<T>(
    by: Instant,
    future: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout_at(by, future).await.map_err(late)?
}
