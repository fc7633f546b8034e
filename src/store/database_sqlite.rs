//! The database in an SQLite file, shared by the processes of one machine.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use crate::database::Access;
use crate::database_address;
use crate::database_error::DatabaseError;
use crate::database_rows::{Columns, Value, rows};

/// One connection for each kind of access: writers of one process queue up here, those of several at the file's lock.
#[derive(Clone)]
pub(crate) struct Sqlite(Arc<Connections>);

struct Connections {
    read: Lazy,
    write: Lazy,
    durable: Lazy,
}

/// A connection that is made when it is needed, and again after an error: closing it ends whatever it was in.
struct Lazy {
    path: PathBuf,
    options: SqliteConnectOptions,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    connection: SqliteConnection,
    file: FileId,
}

/// Which file a path leads to: its device and its number there.
type FileId = (u64, u64);

impl Sqlite {
    pub(crate) async fn open(path: &Path) -> Result<Self, DatabaseError> {
        make_file(path)?;
        let file = file_id(path)?;
        let options = options(path);
        let mut connection = options.connect().await.map_err(DatabaseError::of_sqlite)?;
        write_ahead(&mut connection).await?;
        migrate(&mut connection).await?;
        let opened = Opened { connection, file };
        let read = options.clone().pragma("query_only", "on");
        let durable = options.clone().synchronous(SqliteSynchronous::Full);
        Ok(Self(Arc::new(Connections {
            read: Lazy::new(path, read, None),
            write: Lazy::new(path, options, Some(opened)),
            durable: Lazy::new(path, durable, None),
        })))
    }

    pub(crate) async fn rows(
        &self,
        access: Access,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Columns>, DatabaseError> {
        let lazy = match access {
            Access::Read => &self.0.read,
            Access::Write => &self.0.write,
            Access::Durable => &self.0.durable,
        };
        lazy.rows(sql, values).await
    }
}

impl Lazy {
    fn new(path: &Path, options: SqliteConnectOptions, opened: Option<Opened>) -> Self {
        Self {
            path: path.to_owned(),
            options,
            opened: Mutex::new(opened),
        }
    }

    async fn rows(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Columns>, DatabaseError> {
        let Ok(mut held) = tokio::time::timeout(QUEUE, self.opened.lock()).await else {
            return Err(DatabaseError::too_slow("the call before", QUEUE));
        };
        // In a file that was removed, or replaced by a backup, nobody else would find what is written.
        let file = file_id(&self.path)?;
        // Taken out, so that it is closed unless all went well.
        let mut opened = match held.take() {
            Some(opened) if opened.file == file => opened,
            other => {
                drop(other);
                let connection = self.connect().await?;
                Opened { connection, file }
            }
        };
        let rows = rows(&mut opened.connection, sql, values)
            .await
            .map_err(DatabaseError::of_sqlite)?;
        *held = Some(opened);
        Ok(rows)
    }

    /// What was put in the place of the file since the start is looked at once more.
    async fn connect(&self) -> Result<SqliteConnection, DatabaseError> {
        let connected = self.options.connect().await;
        let mut connection = connected.map_err(DatabaseError::of_sqlite)?;
        let (found, known) = (version(&mut connection).await?, known_version());
        if found == Some(known) {
            return Ok(connection);
        }
        Err(
            found.map_or(DatabaseError::Foreign, |found| DatabaseError::Version {
                found,
                known,
            }),
        )
    }
}

fn file_id(path: &Path) -> Result<FileId, DatabaseError> {
    let metadata = fs::metadata(path);
    let metadata = metadata
        .map_err(|error| DatabaseError::Unavailable(format!("{}: {error}", path.display())))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The version of the schema; `None` for a database that is not this plugin's.
async fn version(connection: &mut SqliteConnection) -> Result<Option<i64>, DatabaseError> {
    let application: i64 = one(connection, "PRAGMA application_id").await?;
    let found = one(connection, "PRAGMA user_version").await?;
    Ok((application == APPLICATION).then_some(found))
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The file is only made here, and not opened where it is there: closing it would end the locks that other connections
/// of this process have on it (sqlite.org/howtocorrupt.html, 2.2).
fn make_file(path: &Path) -> Result<(), DatabaseError> {
    database_address::check_directory(path).map_err(DatabaseError::Unavailable)?;
    let problem =
        |error: std::io::Error| DatabaseError::Unavailable(format!("{}: {error}", path.display()));
    let mut new = OpenOptions::new();
    match new.write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all().map_err(problem)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(problem(error)),
    }
    let directory = path.parent().unwrap_or(path);
    let directory = File::open(directory).map_err(problem)?;
    directory.sync_all().map_err(problem)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("trusted_schema", "off")
        .pragma("journal_size_limit", LOG_BYTES)
        .disable_statement_logging()
}

/// The write-ahead log is a property of the file. Changing to it does not wait for others, so it is tried again.
async fn write_ahead(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    let deadline = Instant::now() + BUSY;
    loop {
        match one::<String>(connection, "PRAGMA journal_mode = WAL").await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                let problem = "this file system has no write-ahead log for SQLite";
                return Err(DatabaseError::Unavailable(problem.into()));
            }
            Err(error @ DatabaseError::Unavailable(_)) if Instant::now() >= deadline => {
                return Err(error);
            }
            Err(DatabaseError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// What the file says of itself is looked at under the lock: of several servers that start at once, one makes the tables.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(DatabaseError::of_sqlite)?;
    let application: i64 = one(&mut transaction, "PRAGMA application_id").await?;
    let found: i64 = one(&mut transaction, "PRAGMA user_version").await?;
    let tables: i64 = one(&mut transaction, "SELECT count(*) FROM sqlite_schema").await?;
    let is_new = application == 0 && found == 0 && tables == 0;
    if application != APPLICATION && !is_new {
        return Err(DatabaseError::Foreign);
    }
    let known = known_version();
    let Some(missing) = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..))
    else {
        return Err(DatabaseError::Version { found, known });
    };
    for migration in missing {
        let migration = sqlx::raw_sql(*migration);
        migration
            .execute(&mut *transaction)
            .await
            .map_err(DatabaseError::of_sqlite)?;
    }
    transaction.commit().await.map_err(DatabaseError::of_sqlite)
}

async fn one<T>(connection: &mut SqliteConnection, sql: &'static str) -> Result<T, DatabaseError>
where
    T: Send + Unpin + for<'a> sqlx::Decode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let query = sqlx::query_scalar(sql).persistent(false);
    query
        .fetch_one(connection)
        .await
        .map_err(DatabaseError::of_sqlite)
}

/// Each brings the schema from the version that is its index to the next one.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/sqlite/1.sql")];

/// `application_id`: "tpma".
const APPLICATION: i64 = 0x7470_6D61;

/// For another process to finish its write, which takes far less than a millisecond.
const BUSY: Duration = Duration::from_secs(2);

/// For the calls before this one.
const QUEUE: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(5);

/// Bytes that the write-ahead log keeps of what it once needed.
const LOG_BYTES: &str = "67108864";

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn connections_are_for_what_they_are_used_for() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.sqlite3");
        let file = Sqlite::open(&path).await.unwrap();
        // 1 is NORMAL, 2 is FULL (sqlite.org/pragma.html).
        for (access, sql, expect) in [
            (Access::Write, "PRAGMA synchronous", 1),
            (Access::Durable, "PRAGMA synchronous", 2),
            (Access::Read, "PRAGMA query_only", 1),
            (Access::Write, "PRAGMA query_only", 0),
            (Access::Write, "PRAGMA busy_timeout", 2000),
            (Access::Write, "PRAGMA trusted_schema", 0),
            (Access::Write, "PRAGMA application_id", APPLICATION),
        ] {
            let rows = file.rows(access, sql, Vec::new()).await.unwrap();
            let found: Vec<_> = rows.into_iter().map(|mut row| row.integer()).collect();
            assert_eq!(found, [Ok(expect)], "{access:?} {sql}");
        }
    }

    /// What a transaction had begun does not stay behind when a part of it fails.
    #[tokio::test]
    async fn an_error_ends_the_transaction() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.sqlite3");
        let file = Sqlite::open(&path).await.unwrap();
        let half = "BEGIN IMMEDIATE; INSERT INTO composers VALUES (x'01', 1); SELECT * FROM nothing; COMMIT";
        let told = file.rows(Access::Write, half, Vec::new()).await.err();
        assert!(matches!(told, Some(DatabaseError::Corrupt(_))), "{told:?}");
        for access in [Access::Read, Access::Write, Access::Durable] {
            let rows = file
                .rows(access, "SELECT * FROM composers", Vec::new())
                .await;
            assert_eq!(rows.unwrap().len(), 0, "{access:?}");
        }
        let whole = "INSERT INTO composers VALUES (x'02', 1) RETURNING seen_ms";
        for access in [Access::Read, Access::Write] {
            let wrote = file.rows(access, whole, Vec::new()).await;
            assert_eq!(wrote.is_ok(), access == Access::Write, "{access:?}");
        }
    }

    #[tokio::test]
    async fn what_is_put_in_the_place_of_the_file_is_looked_at() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.sqlite3");
        let elsewhere = directory.path().join("elsewhere");
        let file = Sqlite::open(&path).await.unwrap();
        let count = async || {
            let sql = "SELECT count(*) FROM composers";
            let mut rows = file.rows(Access::Read, sql, Vec::new()).await?;
            rows.remove(0).integer()
        };
        let write = async || {
            let sql = "INSERT INTO composers VALUES (x'01', 1)";
            file.rows(Access::Write, sql, Vec::new()).await.map(drop)
        };
        write().await.unwrap();
        fs::rename(&path, &elsewhere).unwrap();
        for told in [count().await.err(), write().await.err()] {
            assert!(
                matches!(told, Some(DatabaseError::Unavailable(_))),
                "{told:?}"
            );
        }
        assert!(!path.exists());
        fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(count().await, Ok(1));

        // A backup of before: nothing is in it. The log of the file that was there goes with that.
        let put_back = || {
            for log in ["store.sqlite3-wal", "store.sqlite3-shm"] {
                fs::remove_file(directory.path().join(log)).ok();
            }
            fs::rename(&elsewhere, &path).unwrap();
        };
        made(&elsewhere, "PRAGMA user_version").await;
        put_back();
        assert_eq!(count().await, Ok(0));
        write().await.unwrap();
        assert_eq!(count().await, Ok(1));

        for (statement, told) in [
            ("PRAGMA application_id = 7", DatabaseError::Foreign),
            (
                "PRAGMA user_version = 7",
                DatabaseError::Version { found: 7, known: 1 },
            ),
        ] {
            made(&elsewhere, statement).await;
            put_back();
            assert_eq!(count().await.err(), Some(told));
        }
    }

    /// A new database, all of which is in the file.
    async fn made(path: &Path, statement: &'static str) {
        let made = Sqlite::open(path).await.unwrap();
        for sql in [statement, "PRAGMA wal_checkpoint(TRUNCATE)"] {
            made.rows(Access::Write, sql, Vec::new()).await.unwrap();
        }
    }
}
