//! Why a database could not be used, in words for the operator: no password, and nothing that a database server says.

use std::time::Duration;

/// A database that did not do what was asked. Whether a write that fails with [`DatabaseError::Unavailable`] took
/// place is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It cannot be reached, read or written now; it may be later.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// It holds what this plugin did not write, or cannot be read as a database.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// A newer release has changed its schema.
    #[error(
        "the database has schema version {found}, and this release knows versions up to {known}"
    )]
    Version {
        /// What the database has.
        found: i64,
        /// The last one that this release knows.
        known: i64,
    },
    /// Another application's tables are where this plugin's should be.
    #[error("the database belongs to another application")]
    Foreign,
}

impl DatabaseError {
    /// A value in a row that this plugin does not write.
    pub(crate) fn damaged(what: &str) -> Self {
        Self::Corrupt(what.to_owned())
    }

    pub(crate) fn too_slow(what: &str, limit: Duration) -> Self {
        Self::Unavailable(format!("{what} took longer than {limit:?}"))
    }

    pub(crate) fn of_sqlite(error: sqlx::Error) -> Self {
        let told = match error {
            sqlx::Error::Database(told) => told,
            other => return Self::of_client(other),
        };
        let code: i32 = told
            .code()
            .and_then(|code| code.parse().ok())
            .unwrap_or_default();
        // SQLite's own sentence: it may name a table or a column, never a value.
        let sentence = format!("{} (SQLite {code})", told.message().escape_debug());
        match code & PRIMARY {
            SQLITE_ERROR | SQLITE_CORRUPT | SQLITE_CONSTRAINT | SQLITE_NOTADB => {
                Self::Corrupt(sentence)
            }
            _ => Self::Unavailable(sentence),
        }
    }

    pub(crate) fn of_postgres(error: sqlx::Error) -> Self {
        let told = match error {
            sqlx::Error::Database(told) => told,
            other => return Self::of_client(other),
        };
        let code = told.code().unwrap_or_default();
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let known = STATES.iter().find(|(state, _)| *state == code);
        let meaning = known.map_or("PostgreSQL refuses", |(_, meaning)| meaning);
        let sentence = format!("{meaning} (SQLSTATE {code})");
        if DAMAGED.iter().any(|class| code.starts_with(class)) {
            Self::Corrupt(sentence)
        } else {
            Self::Unavailable(sentence)
        }
    }

    fn of_client(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => {
                Self::Unavailable(error.to_string().escape_debug().to_string())
            }
            sqlx::Error::Tls(error) => {
                Self::Unavailable(format!("TLS: {}", error.to_string().escape_debug()))
            }
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection in time".into()),
            sqlx::Error::WorkerCrashed => Self::Unavailable("the connection has ended".into()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::damaged("a column has another type")
            }
            _ => Self::Unavailable("the answer was not understood".into()),
        }
    }
}

/// The part of a result code that is not an extension (sqlite.org/rescode.html).
const PRIMARY: i32 = 0xFF;
const SQLITE_ERROR: i32 = 1;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_NOTADB: i32 = 26;

/// Conditions of PostgreSQL (its manual, appendix A) that an operator can do something about.
const STATES: [(&str, &str); 15] = [
    ("08P01", "PostgreSQL does not understand the connection"),
    ("23502", "a row is incomplete"),
    ("23514", "a row has a value that none may have"),
    (
        "25006",
        "PostgreSQL takes no writes: it is a standby, or read-only",
    ),
    ("28000", "PostgreSQL does not let the user in"),
    ("28P01", "PostgreSQL does not take the password"),
    ("3D000", "PostgreSQL has no such database"),
    ("3F000", "the schema tpm_attestor is gone"),
    ("42501", "the user lacks a privilege"),
    ("42P01", "a table is missing"),
    ("42703", "a column is missing"),
    ("53300", "PostgreSQL has too many connections"),
    ("57014", "PostgreSQL gave up: it took too long"),
    ("57P01", "PostgreSQL is shutting down"),
    ("57P03", "PostgreSQL is starting or shutting down"),
];

/// Classes and conditions that say that the tables are not as this plugin made them.
const DAMAGED: [&str; 7] = ["22", "23", "3F000", "42703", "42804", "42P01", "XX00"];
