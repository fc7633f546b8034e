//! The database in PostgreSQL, shared by several servers.

use std::time::Duration;

use log::LevelFilter;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres as Driver};
use tokio::time::timeout;

use crate::database_error::DatabaseError;
use crate::database_rows::{Columns, Value, rows};

/// A small pool of connections, which are made when they are needed and tried before they are used again.
#[derive(Clone)]
pub(crate) struct Postgres(PgPool);

impl Postgres {
    pub(crate) async fn open(server: &PgConnectOptions) -> Result<Self, DatabaseError> {
        let server = server.clone().disable_statement_logging();
        // By hand first: the pool would try again for as long as it may, and not say why.
        let Ok(connected) = timeout(CONNECT, server.connect()).await else {
            return Err(DatabaseError::too_slow("the connection", CONNECT));
        };
        let mut connection = connected.map_err(DatabaseError::of_postgres)?;
        let Ok(migrated) = timeout(MIGRATE, migrate(&mut connection)).await else {
            return Err(DatabaseError::too_slow("the migration", MIGRATE));
        };
        migrated?;
        drop(connection);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .idle_timeout(IDLE)
            .acquire_slow_level(LevelFilter::Off)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(drop) })
            });
        Ok(Self(pool.connect_lazy_with(server)))
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Columns>, DatabaseError> {
        let mut connection = self.0.acquire().await.map_err(DatabaseError::of_postgres)?;
        match timeout(STATEMENT, rows(&mut *connection, sql, values)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                close(connection);
                Err(DatabaseError::of_postgres(error))
            }
            Err(_elapsed) => {
                close(connection);
                Err(DatabaseError::too_slow("a statement", STATEMENT))
            }
        }
    }
}

/// A connection that had an error is not asked whether it still works: that question may have no answer.
fn close(connection: PoolConnection<Driver>) {
    drop(connection.detach());
}

/// Of several servers that start at once, the one with the lock makes the tables.
async fn migrate(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let mut transaction = connection
        .begin()
        .await
        .map_err(DatabaseError::of_postgres)?;
    transaction
        .execute(LOCK)
        .await
        .map_err(DatabaseError::of_postgres)?;
    let state: (bool, bool, bool) = sqlx::query_as(STATE)
        .fetch_one(&mut *transaction)
        .await
        .map_err(DatabaseError::of_postgres)?;
    claim(&mut transaction, state).await?;
    let found: i64 = sqlx::query_scalar("SELECT version FROM schema_version")
        .fetch_one(&mut *transaction)
        .await
        .map_err(DatabaseError::of_postgres)?;
    raise(&mut transaction, found).await?;
    transaction
        .commit()
        .await
        .map_err(DatabaseError::of_postgres)
}

/// Finds our schema, or makes it where there is none; by [`STATE`].
async fn claim(
    transaction: &mut PgConnection,
    state: (bool, bool, bool),
) -> Result<(), DatabaseError> {
    match state {
        (_, true, _) => transaction
            .execute(USE)
            .await
            .map_err(DatabaseError::of_postgres)?,
        (true, false, true) => return Err(DatabaseError::Foreign),
        (true, false, false) => transaction
            .execute(BEGIN)
            .await
            .map_err(DatabaseError::of_postgres)?,
        (false, ..) => {
            transaction
                .execute(CREATE)
                .await
                .map_err(DatabaseError::of_postgres)?;
            transaction
                .execute(BEGIN)
                .await
                .map_err(DatabaseError::of_postgres)?
        }
    };
    Ok(())
}

/// Makes what the schema lacks of this program's version.
async fn raise(transaction: &mut PgConnection, found: i64) -> Result<(), DatabaseError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let Some(missing) = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..))
    else {
        return Err(DatabaseError::Version { found, known });
    };
    for migration in missing {
        transaction
            .execute(*migration)
            .await
            .map_err(DatabaseError::of_postgres)?;
    }
    sqlx::query("UPDATE schema_version SET version = $1 WHERE version < $1")
        .bind(known)
        .execute(&mut *transaction)
        .await
        .map_err(DatabaseError::of_postgres)?;
    Ok(())
}

/// Each brings the schema from the version that is its index to the next one.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/postgres/1.sql")];

/// "tpma", until the end of the transaction. A server that holds it is about to make tables.
const LOCK: &str = "SET LOCAL statement_timeout = '2s'; SELECT pg_advisory_xact_lock(1953525089)";

/// Whether there is a schema of ours, whether it says its version, and whether anything is in it.
const STATE: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'tpm_attestor'), \
     to_regclass('tpm_attestor.schema_version') IS NOT NULL, \
     EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('tpm_attestor'))";

const CREATE: &str = "CREATE SCHEMA tpm_attestor";

const USE: &str = "SET LOCAL search_path = tpm_attestor";

const BEGIN: &str = "SET LOCAL search_path = tpm_attestor; \
     CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (0)";

/// For every connection. The server's own limits are below ours, so that it can say what took too long.
const SESSION: &str = "SET search_path = tpm_attestor; SET statement_timeout = '1500ms'; \
     SET lock_timeout = '1500ms'; SET idle_in_transaction_session_timeout = '5s'";

/// Connections at once. A call holds one for a millisecond or two.
const CONNECTIONS: u32 = 4;

/// To wait for a connection, made or free.
const CONNECT: Duration = Duration::from_millis(2500);

/// For one statement.
const STATEMENT: Duration = Duration::from_secs(2);

/// For the migration, and for that of a server which was faster.
const MIGRATE: Duration = Duration::from_millis(2400);

/// After which a connection that nobody uses is closed.
const IDLE: Duration = Duration::from_mins(10);
