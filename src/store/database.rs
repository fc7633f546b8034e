//! The database between the servers and the CredentialComposers: certified SVID keys, and what is known of machines.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use evidence::EkHash;
use verify::{MachineState, Quarantine};

use crate::database_address::{DatabaseAddress, Place};
use crate::database_error::DatabaseError;
use crate::database_postgres::Postgres;
use crate::database_queries::{self as queries, Dialect, KEYS_OF_AN_AGENT};
use crate::database_rows::{Columns, Value};
use crate::database_sqlite::Sqlite;
use crate::machine_row::{self, StoredMachine};

/// An SQLite file or a PostgreSQL database. Clones share their connections.
///
/// Times are milliseconds since the epoch. Every call returns within [`Database::LONGEST_CALL`], in a runtime of tokio with
/// time and IO. A call that is no longer waited for still runs to its end: nothing is half done.
#[derive(Clone)]
pub struct Database(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// SVID keys of one agent that were certified, for which it may have an SVID until they expire.
#[derive(Debug, Clone, Copy)]
pub struct KeyRecords<'a> {
    /// The agent's SPIFFE ID.
    pub agent_id: &'a str,
    /// The SHA-256 of each key's SubjectPublicKeyInfo; of more than 64 the last.
    pub spki_sha256: &'a [[u8; 32]],
    /// From when on they count no more.
    pub expires_ms: i64,
}

/// What a statement needs of the connection that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// A loss of power may undo the last writes.
    Write,
    /// What is written survives a loss of power.
    Durable,
}

impl Database {
    /// After which a call fails.
    pub const LONGEST_CALL: Duration = Duration::from_secs(5);

    /// Machines that [`Database::quarantined`] returns at once.
    pub const PAGE: i64 = 256;

    /// Days after which [`Database::prune`] removes a composer that is not registered again.
    pub const COMPOSER_DAYS: i64 = 7;

    /// Connects, makes the file if it is an SQLite file that is not there, and brings the schema up to date. Several may
    /// do so at once. Fails if the database cannot be used now; afterwards it comes back by itself from an outage.
    pub async fn open(address: &DatabaseAddress) -> Result<Self, DatabaseError> {
        match address.place().clone() {
            Place::Sqlite(path) => {
                let opened = uninterrupted(async move { Sqlite::open(&path).await }).await;
                opened.map(|database| Self(Kind::Sqlite(database)))
            }
            Place::Postgres(server) => {
                let opened = uninterrupted(async move { Postgres::open(&server).await }).await;
                opened.map(|database| Self(Kind::Postgres(database)))
            }
        }
    }

    /// Writes down that these keys were certified. Of one agent the last 64 count.
    pub async fn keep_keys(&self, keys: &KeyRecords<'_>) -> Result<(), DatabaseError> {
        let values = keys.values().to_vec();
        let sql = self.dialect().keep_keys;
        self.rows(Access::Write, sql, values).await.map(drop)
    }

    /// Takes one record of this key, if there is one that has not expired. No two calls take the same one.
    pub async fn consume_key(
        &self,
        agent_id: &str,
        spki_sha256: &[u8; 32],
        now_ms: i64,
    ) -> Result<bool, DatabaseError> {
        let values = vec![bytes(agent_id), bytes(spki_sha256), Value::Integer(now_ms)];
        let sql = self.dialect().consume_key;
        self.did(Access::Write, sql, values).await
    }

    /// What is known of a machine.
    pub async fn machine(&self, ek: &EkHash) -> Result<Option<StoredMachine>, DatabaseError> {
        let values = vec![bytes(ek.as_bytes())];
        let rows = self.rows(Access::Read, queries::MACHINE, values).await?;
        let mut rows = rows.into_iter();
        rows.next()
            .map(|mut row| machine_row::stored(&mut row))
            .transpose()
    }

    /// Writes what is known of a machine, if nobody else has since `expected` was read (`None`: nothing was known).
    pub async fn replace(
        &self,
        ek: &EkHash,
        expected: Option<i64>,
        state: &MachineState,
        quarantine: Option<&Quarantine>,
    ) -> Result<bool, DatabaseError> {
        let access = if quarantine.is_some() {
            Access::Durable
        } else {
            Access::Write
        };
        let mut values = vec![bytes(ek.as_bytes())];
        values.extend(machine_row::values(state, quarantine));
        values.extend(expected.map(Value::Integer));
        let sql = expected.map_or(queries::INSERT, |_| queries::UPDATE);
        self.did(access, sql, values).await
    }

    /// Does what [`Database::replace`] does without a quarantine, and [`Database::keep_keys`] with it, or neither.
    pub async fn admit(
        &self,
        ek: &EkHash,
        expected: Option<i64>,
        state: &MachineState,
        keys: &KeyRecords<'_>,
    ) -> Result<bool, DatabaseError> {
        let dialect = self.dialect();
        let mut values = vec![bytes(ek.as_bytes())];
        values.extend(machine_row::values(state, None));
        values.extend(expected.map(Value::Integer));
        values.extend(keys.values());
        let sql = expected.map_or(dialect.admit_first, |_| dialect.admit_again);
        self.did(Access::Write, sql, values).await
    }

    /// Puts a machine into quarantine, if nobody has written it since it was read as `known`, and takes away what keys its
    /// agent was to have SVIDs for; or does neither.
    pub async fn quarantine(
        &self,
        ek: &EkHash,
        known: &StoredMachine,
        quarantine: &Quarantine,
        agent_id: &str,
    ) -> Result<bool, DatabaseError> {
        let mut values = vec![bytes(ek.as_bytes())];
        values.extend(machine_row::values(&known.state, Some(quarantine)));
        values.extend([Value::Integer(known.revision), bytes(agent_id)]);
        let sql = self.dialect().quarantine;
        self.did(Access::Durable, sql, values).await
    }

    /// The first machines in quarantine past `after`, at most [`Database::PAGE`], in the order of their EK hashes.
    pub async fn quarantined(
        &self,
        after: Option<&EkHash>,
    ) -> Result<Vec<(EkHash, StoredMachine)>, DatabaseError> {
        let after = after.map_or(&[][..], |ek| ek.as_bytes());
        let values = vec![bytes(after), Value::Integer(Self::PAGE)];
        let rows = self
            .rows(Access::Read, queries::QUARANTINED, values)
            .await?;
        let parse = |mut row| {
            Ok((
                machine_row::ek_hash(&mut row)?,
                machine_row::stored(&mut row)?,
            ))
        };
        rows.into_iter().map(parse).collect()
    }

    /// Ends a quarantine: what the machine showed then is its state from now on. False if it is in none, or was written since
    /// this revision was read.
    pub async fn accept(&self, ek: &EkHash, revision: i64) -> Result<bool, DatabaseError> {
        let values = vec![bytes(ek.as_bytes()), Value::Integer(revision)];
        self.did(Access::Durable, queries::ACCEPT, values).await
    }

    /// Removes what is known of a machine, which may then come as a new one. False if nothing was, or it was written since
    /// this revision was read. Without one, which is for a row that cannot be read, whatever is there is removed.
    pub async fn forget(&self, ek: &EkHash, revision: Option<i64>) -> Result<bool, DatabaseError> {
        let mut values = vec![bytes(ek.as_bytes())];
        values.extend(revision.map(Value::Integer));
        let sql = revision.map_or(queries::FORGET_ANY, |_| queries::FORGET);
        self.did(Access::Durable, sql, values).await
    }

    /// Writes down that a server process has a composer that consumes keys.
    pub async fn register_composer(
        &self,
        instance: &str,
        now_ms: i64,
    ) -> Result<(), DatabaseError> {
        let values = vec![bytes(instance), Value::Integer(now_ms)];
        let sql = queries::REGISTER_COMPOSER;
        self.rows(Access::Write, sql, values).await.map(drop)
    }

    /// Writes down that it has none any more.
    pub async fn withdraw_composer(&self, instance: &str) -> Result<(), DatabaseError> {
        let values = vec![bytes(instance)];
        let sql = queries::WITHDRAW_COMPOSER;
        self.rows(Access::Write, sql, values).await.map(drop)
    }

    /// Whether it has, by a registration that is no older than `since_ms`.
    pub async fn has_composer(&self, instance: &str, since_ms: i64) -> Result<bool, DatabaseError> {
        let values = vec![bytes(instance), Value::Integer(since_ms)];
        self.did(Access::Read, queries::COMPOSER, values).await
    }

    /// Removes records that have expired, and composers that were not seen for [`Database::COMPOSER_DAYS`]. Machines stay.
    pub async fn prune(&self, now_ms: i64) -> Result<(), DatabaseError> {
        let now = vec![Value::Integer(now_ms)];
        self.rows(Access::Write, queries::PRUNE_KEYS, now).await?;
        let since = now_ms.saturating_sub(Self::COMPOSER_DAYS * MS_PER_DAY);
        let since = vec![Value::Integer(since)];
        let sql = queries::PRUNE_COMPOSERS;
        self.rows(Access::Write, sql, since).await.map(drop)
    }

    fn dialect(&self) -> &'static Dialect {
        match self.0 {
            Kind::Sqlite(_) => &queries::SQLITE,
            Kind::Postgres(_) => &queries::POSTGRES,
        }
    }

    /// Whether a statement returned a row.
    async fn did(
        &self,
        access: Access,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<bool, DatabaseError> {
        let rows = self.rows(access, sql, values).await?;
        Ok(!rows.is_empty())
    }

    async fn rows(
        &self,
        access: Access,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Columns>, DatabaseError> {
        match self.0.clone() {
            Kind::Sqlite(file) => {
                uninterrupted(async move { file.rows(access, sql, values).await }).await
            }
            Kind::Postgres(server) => {
                uninterrupted(async move { server.rows(sql, values).await }).await
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Kind::Sqlite(_) => "Database(SQLite)",
            Kind::Postgres(_) => "Database(PostgreSQL)",
        })
    }
}

impl KeyRecords<'_> {
    fn values(&self) -> [Value; 3] {
        let first = self.spki_sha256.len().saturating_sub(KEYS_OF_AN_AGENT);
        let keys = self.spki_sha256.get(first..).unwrap_or_default();
        [
            bytes(self.agent_id),
            bytes(keys.as_flattened()),
            Value::Integer(self.expires_ms),
        ]
    }
}

/// Runs a call to its end, whatever becomes of who waits for it, and waits no longer than for the longest call.
async fn uninterrupted<T: Send + 'static>(
    call: impl Future<Output = Result<T, DatabaseError>> + Send + 'static,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(Database::LONGEST_CALL, tokio::spawn(call)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_ended)) => Err(DatabaseError::Unavailable("the call was ended".into())),
        Err(_elapsed) => Err(DatabaseError::too_slow("the call", Database::LONGEST_CALL)),
    }
}

fn bytes(value: impl AsRef<[u8]>) -> Value {
    Value::Bytes(Some(value.as_ref().to_vec()))
}

const MS_PER_DAY: i64 = 24 * 60 * 60 * 1000;
