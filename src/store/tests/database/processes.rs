//! SQLite files that several processes share, some of which are killed, and one that a process may only read.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::{Database, DatabaseAddress, DatabaseError};
use tempfile::TempDir;

use crate::machines::{NOW, ek, file, key, records, resets, state};

/// Where the process that a test starts finds the database.
const PLACE: &str = "STORE_TEST_DATABASE";
/// Writes of one writer that is not killed.
const WRITES: u32 = 200;

/// This test again, in a process of its own, on a database.
fn start(program: &Path, test: &str, place: &Path, wrapper: &[&str]) -> Child {
    let program = program.to_str().unwrap();
    let line = [wrapper, &[program, "--exact", test, "--test-threads", "1"]].concat();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).env(PLACE, place);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Whether it ran, and nothing in it failed.
fn passed(process: Child) -> bool {
    let output = process.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    output.status.success() && told.contains("1 passed")
}

fn place() -> Option<DatabaseAddress> {
    let place = env::var(PLACE).ok()?;
    Some(DatabaseAddress::parse(&place, |_| None).unwrap())
}

/// Counts up on one machine, with a key for each number, against whoever else does.
async fn count_up(database: &Database, times: u32) {
    let mut written = 0;
    while written < times {
        let before = database.machine(&ek(1)).await.unwrap().unwrap();
        let number = before.state.clock.unwrap().reset_count + 1;
        let keys = [key(number)];
        let (revision, keys) = (Some(before.revision), records("agent", &keys));
        let admitted = database
            .admit(&ek(1), revision, &state(number), &keys)
            .await;
        written += u32::from(admitted.unwrap());
    }
}

/// The processes of the two tests below run this; by itself it is one of them alone.
#[tokio::test]
async fn a_writer_counts_up() {
    if let Some(address) = place() {
        let database = Database::open(&address).await.unwrap();
        return count_up(&database, WRITES).await;
    }
    let directory = TempDir::new().unwrap();
    let database = Database::open(&file(&directory)).await.unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(0), None)
            .await
            .unwrap()
    );
    count_up(&database, 20).await;
    assert_eq!(resets(&database, &ek(1)).await, 20);
}

#[tokio::test]
async fn processes_lose_no_update_and_find_no_lock() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(&file(&directory)).await.unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(0), None)
            .await
            .unwrap()
    );
    let program = env::current_exe().unwrap();
    let place = directory.path().join("store.sqlite3");
    let test = "processes::a_writer_counts_up";
    let writers = [0; 4].map(|_| start(&program, test, &place, &[]));
    assert_eq!(writers.map(passed), [true; 4]);
    assert_eq!(resets(&database, &ek(1)).await, 4 * WRITES);
}

/// A process that ends in the middle of anything leaves all of a write or nothing.
#[tokio::test]
async fn a_killed_writer_leaves_a_whole_database() {
    let rounds = if env::var_os("TPM_ATTESTOR_FULL").is_some() {
        200
    } else {
        25
    };
    let directory = TempDir::new().unwrap();
    let address = file(&directory);
    let database = Database::open(&address).await.unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(0), None)
            .await
            .unwrap()
    );
    drop(database);
    let program = env::current_exe().unwrap();
    let place = directory.path().join("store.sqlite3");
    let mut last = 0;
    for round in 0..rounds {
        let mut writer = start(&program, "processes::a_writer_counts_up", &place, &[]);
        tokio::time::sleep(Duration::from_millis(30 + round * 7 % 90)).await;
        writer.kill().unwrap();
        writer.wait().unwrap();
        let database = Database::open(&address).await.unwrap();
        let number = resets(&database, &ek(1)).await;
        assert!(number >= last, "round {round}");
        let has = async |number| {
            let consumed = database.consume_key("agent", &key(number), NOW).await;
            consumed.unwrap()
        };
        assert!(
            !has(number + 1).await,
            "round {round}: a key without its state"
        );
        if number > last {
            assert!(has(number).await, "round {round}: a state without its key");
        }
        last = number;
    }
    assert!(last > 0, "no writer wrote anything");
}

/// The process of the test below runs this; by itself it shows that what is refused there is allowed here.
#[tokio::test]
async fn a_reader_asks_to_write() {
    let directory = TempDir::new().unwrap();
    let (address, may_write) = match place() {
        Some(address) => (address, false),
        None => (file(&directory), true),
    };
    let outcome = match Database::open(&address).await {
        Ok(database) => database.keep_keys(&records("agent", &[key(1)])).await,
        Err(error) => Err(error),
    };
    let is_unavailable = matches!(outcome, Err(DatabaseError::Unavailable(_)));
    assert_eq!(
        (outcome.is_ok(), is_unavailable),
        (may_write, !may_write),
        "{outcome:?}"
    );
}

/// tpm/H07: what cannot be written is not used.
#[tokio::test]
async fn a_file_or_a_directory_that_is_read_only_is_told() {
    let directory = TempDir::new().unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    let place = below.join("store.sqlite3");
    let address = DatabaseAddress::parse(place.to_str().unwrap(), |_| None).unwrap();
    drop(Database::open(&address).await.unwrap());
    // Closing takes a moment, and removes the log.
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::read_dir(&below).unwrap().count() > 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Root may write everywhere.
    let program = directory.path().join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let wrapper = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
    ];
    let wrapper = if is_root { &wrapper[..] } else { &[] };
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (file_mode, directory_mode) in [(0o400, 0o700), (0o600, 0o500), (0o400, 0o500)] {
        for (path, mode) in [(&place, file_mode), (&below, directory_mode)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            if is_root {
                chown(path, Some(65534), Some(65534)).unwrap();
            }
        }
        let test = "processes::a_reader_asks_to_write";
        let reader = start(&program, test, &place, wrapper);
        assert!(passed(reader), "{file_mode:o} in {directory_mode:o}");
    }
    fs::set_permissions(&below, fs::Permissions::from_mode(0o700)).unwrap();
}
