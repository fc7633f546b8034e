//! The database on real SQLite files and a real PostgreSQL server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod damage;
mod machines;
mod postgres;
mod postgres_outages;
mod processes;
mod sqlite;
mod suite;
mod suite_machines;
