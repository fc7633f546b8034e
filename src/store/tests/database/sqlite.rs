//! SQLite files: how they are made, shared and refused.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use store::{Database, DatabaseAddress, DatabaseError};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::machines::{ek, file, key, records, resets, state};
use crate::{damage, suite};

async fn by_hand(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.create_if_missing(true).connect().await.unwrap()
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(connection).await.unwrap();
}

async fn refusal(address: &DatabaseAddress) -> DatabaseError {
    Database::open(address).await.unwrap_err()
}

#[tokio::test]
async fn every_rule_holds() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(&file(&directory)).await.unwrap();
    suite::every_rule(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_rule_holds_on_several_threads() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(&file(&directory)).await.unwrap();
    suite::every_rule(&database).await;
}

#[tokio::test]
async fn damaged_rows_are_told() {
    let directory = TempDir::new().unwrap();
    let address = file(&directory);
    let database = Database::open(&address).await.unwrap();
    let path = directory.path().join("store.sqlite3");
    let bytes = |hex: &str| format!("X'{hex}'");
    damage::is_told(&database, bytes, async |sql| {
        run(&mut by_hand(&path).await, &sql).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_is_the_owners_alone_and_keeps_what_it_holds() {
    let directory = TempDir::new().unwrap();
    let address = file(&directory);
    let database = Database::open(&address).await.unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(3), None)
            .await
            .unwrap()
    );
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    let expect = ["store.sqlite3", "store.sqlite3-shm", "store.sqlite3-wal"];
    assert_eq!(names, expect);
    let second = Database::open(&address).await.unwrap();
    assert_eq!(resets(&second, &ek(1)).await, 3);
    drop((database, second));
    let again = Database::open(&address).await.unwrap();
    assert_eq!(resets(&again, &ek(1)).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_may_make_the_file_at_once() {
    // Two that change a file to its write-ahead log at the same moment are rare.
    for round in 0..60 {
        let directory = TempDir::new().unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let address = file(&directory);
            tasks.spawn(async move {
                let database = Database::open(&address).await?;
                database.keep_keys(&records("agent", &[key(number)])).await
            });
        }
        for outcome in tasks.join_all().await {
            assert_eq!(outcome, Ok(()), "round {round}");
        }
        let database = Database::open(&file(&directory)).await.unwrap();
        for number in 0..8 {
            let found = database.consume_key("agent", &key(number), 0).await;
            assert!(found.unwrap(), "round {round}, key {number}");
        }
    }
}

/// As a server that is about to make the file.
#[tokio::test]
async fn who_makes_the_file_waits_for_another() {
    let directory = TempDir::new().unwrap();
    let mut other = by_hand(&directory.path().join("store.sqlite3")).await;
    for lock in ["BEGIN; SELECT * FROM sqlite_schema", "BEGIN EXCLUSIVE"] {
        run(&mut other, lock).await;
        let unlock = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            run(&mut other, "COMMIT").await;
        };
        let address = file(&directory);
        let (opened, ()) = tokio::join!(Database::open(&address), unlock);
        assert!(opened.is_ok(), "{lock}: {opened:?}");
    }
}

#[tokio::test]
async fn what_is_not_a_database_of_this_release_is_refused() {
    use DatabaseError::{Corrupt, Foreign, Version};
    let version = |found| Version { found, known: 1 };
    for (sql, expect) in [
        ("PRAGMA user_version = 2", version(2)),
        ("PRAGMA user_version = -1", version(-1)),
        ("PRAGMA application_id = 7", Foreign),
        ("PRAGMA application_id = 0", Foreign),
    ] {
        let directory = TempDir::new().unwrap();
        let address = file(&directory);
        drop(Database::open(&address).await.unwrap());
        let path = directory.path().join("store.sqlite3");
        run(&mut by_hand(&path).await, sql).await;
        assert_eq!(refusal(&address).await, expect, "{sql}");
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.sqlite3");
    run(&mut by_hand(&path).await, "CREATE TABLE their_own (x)").await;
    assert_eq!(refusal(&file(&directory)).await, Foreign);
    fs::write(&path, "[Unit]\nDescription=no database\n".repeat(99)).unwrap();
    let told = refusal(&file(&directory)).await;
    assert!(matches!(told, Corrupt(_)), "{told:?}");
}

#[tokio::test]
async fn damage_on_the_disk_is_no_absence() {
    let directory = TempDir::new().unwrap();
    let address = file(&directory);
    let path = directory.path().join("store.sqlite3");
    let database = Database::open(&address).await.unwrap();
    for number in 0..200 {
        let wrote = database.replace(&ek(number), None, &state(1), None).await;
        assert!(wrote.unwrap());
    }
    drop(database);
    run(&mut by_hand(&path).await, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let pages = fs::metadata(&path).unwrap().len() / 4096;
    let disk = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in 1..pages {
        disk.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    let found = match Database::open(&address).await {
        Ok(database) => database.machine(&ek(1)).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(found, Err(DatabaseError::Corrupt(_))), "{found:?}");
}

#[tokio::test]
async fn places_without_a_file_are_told() {
    let directory = TempDir::new().unwrap();
    let address = file(&directory);
    fs::create_dir(directory.path().join("store.sqlite3")).unwrap();
    let told = refusal(&address).await.to_string();
    assert!(told.contains("is a directory"), "{told}");
    drop(directory);
    let told = refusal(&address).await.to_string();
    assert!(told.contains("No such file"), "{told}");
}

#[tokio::test]
async fn who_finds_the_file_locked_waits_a_while_and_comes_back() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(&file(&directory)).await.unwrap();
    let keep = async || database.keep_keys(&records("agent", &[])).await;
    let read = async || database.machine(&ek(1)).await;
    let mut other = by_hand(&directory.path().join("store.sqlite3")).await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    let begun = Instant::now();
    let (outcome, read) = tokio::join!(keep(), read());
    assert!(
        matches!(outcome, Err(DatabaseError::Unavailable(_))),
        "{outcome:?}"
    );
    assert_eq!(read, Ok(None), "readers do not wait for a writer");
    assert!(begun.elapsed() < Database::LONGEST_CALL);
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        run(&mut other, "COMMIT").await;
    };
    let (outcome, ()) = tokio::join!(keep(), unlock);
    assert_eq!(outcome, Ok(()), "a short lock is waited for");
    assert_eq!(keep().await, Ok(()));
}
