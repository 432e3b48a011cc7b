//! The tables in the database, which only ever go forward.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr};

/// The names of versions, and what makes each of the one before.
const VERSIONS: [(&str, &str); 2] = [
    ("rows", include_str!("migrations/0001_rows.sql")),
    ("retired", include_str!("migrations/0002_retired.sql")),
];
/// Whoever looks at the schema or changes it holds this: hosts that start at once do it one after the other. For as long as a
/// transaction, so that it works through a pooler too.
const LOCK: i64 = 0x6879_7065_7276_6973;
/// Which versions a database has; the library makes it.
const APPLIED: &str = "hypervisor_schema";

/// The version that this program knows.
pub(crate) const KNOWN: i64 = VERSIONS.len() as i64;

/// Why a schema cannot be used.
pub(crate) enum Refusal {
    /// It is of a newer program.
    Newer(i64),
    /// The database says why.
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// Brings the schema to the version that this program knows.
pub(crate) async fn bring_forward(connection: &mut PgConnection) -> Result<(), Refusal> {
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    let has = version(&mut transaction).await?;
    if has > KNOWN {
        return Err(Refusal::Newer(has));
    }
    if has < KNOWN {
        let done = migrator().run_direct(None, &mut *transaction, false).await;
        done.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
            other => sqlx::Error::Migrate(Box::new(other)),
        })?;
    }
    Ok(transaction.commit().await?)
}

/// The version that the database has; 0 where it has none yet.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(APPLIED)
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(0);
    }
    let newest = AssertSqlSafe(format!("select coalesce(max(version), 0) from {APPLIED}"));
    sqlx::query_scalar(newest).fetch_one(connection).await
}

fn migrator() -> Migrator {
    let of = |(number, (name, sql)): (i64, &(&'static str, &'static str))| {
        let sql = sql.into_sql_str();
        Migration::new(number, (*name).into(), MigrationType::Simple, sql, false)
    };
    let mut migrator = Migrator::with_migrations((1..).zip(&VERSIONS).map(of).collect());
    migrator.dangerous_set_table_name(APPLIED);
    // One that ends with the session would outlive it behind a pooler.
    migrator.set_locking(false);
    migrator
}
