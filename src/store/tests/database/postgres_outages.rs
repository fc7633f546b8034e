//! PostgreSQL that stops, hangs or is slow: calls fail in time, and the same handle works again afterwards.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use store::{Database, DatabaseError};
use tests::Postgres;

use crate::machines::{NOW, ek, key, records, resets, state};
use crate::postgres::address;

/// More than the longest call, for a machine that is busy.
const IN_TIME: Duration = Database::LONGEST_CALL.saturating_add(Duration::from_secs(1));

async fn fails_in_time(database: &Database, when: &str) {
    let begun = Instant::now();
    let keys = [key(1)];
    let records = records("agent", &keys);
    let [first, second, third] = [1, 2, 3].map(ek);
    let state = state(9);
    let outcomes = tokio::join!(
        database.admit(&first, None, &state, &records),
        database.machine(&second),
        database.accept(&third, 1)
    );
    assert!(begun.elapsed() < IN_TIME, "{when}: {:?}", begun.elapsed());
    let told = [outcomes.0.err(), outcomes.1.err(), outcomes.2.err()];
    for error in told {
        assert!(
            matches!(error, Some(DatabaseError::Unavailable(_))),
            "{when}: {error:?}"
        );
    }
}

/// Until a call works again, each of them with the error of an outage before that.
async fn recovers(database: &Database, when: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match database.machine(&ek(1)).await {
            Ok(_) => return,
            Err(DatabaseError::Unavailable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{when}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_is_used_again_when_it_is_back() {
    let mut server = Postgres::start();
    let database = Database::open(&address(&server.url("PASSWORD")))
        .await
        .unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(3), None)
            .await
            .unwrap()
    );
    for round in ["once", "twice"] {
        server.stop();
        fails_in_time(&database, round).await;
        server.start_again();
        recovers(&database, round).await;
        assert_eq!(resets(&database, &ek(1)).await, 3, "{round}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_used_again_when_it_goes_on() {
    let server = Postgres::start();
    let database = Database::open(&address(&server.url("PASSWORD")))
        .await
        .unwrap();
    assert!(
        database
            .replace(&ek(1), None, &state(3), None)
            .await
            .unwrap()
    );
    server.freeze();
    for when in ["first", "and more than there are connections"] {
        fails_in_time(&database, when).await;
    }
    server.thaw();
    recovers(&database, "after it hung").await;
    assert_eq!(resets(&database, &ek(1)).await, 3);
}

/// Somebody else's connection, with a transaction that has done this.
async fn somebody(server: &Postgres, sql: &'static str) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(server.port())
        .username("attestor")
        .password(Postgres::PASSWORD)
        .database("postgres");
    let mut connection = options.connect().await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    connection.execute(sql).await.unwrap();
    connection
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_not_waited_for_long() {
    let server = Postgres::start();
    let database = Database::open(&address(&server.url("PASSWORD")))
        .await
        .unwrap();
    let keys = [key(1)];
    let kept = database.keep_keys(&records("agent", &keys)).await;
    assert_eq!(kept, Ok(()));
    let mut somebody = somebody(&server, "LOCK TABLE tpm_attestor.svid_keys").await;
    let begun = Instant::now();
    let outcome = database.consume_key("agent", &key(1), NOW).await;
    assert!(begun.elapsed() < IN_TIME);
    assert!(
        matches!(outcome, Err(DatabaseError::Unavailable(_))),
        "{outcome:?}"
    );
    somebody.execute("COMMIT").await.unwrap();
    let found = database.consume_key("agent", &key(1), NOW).await;
    assert_eq!(found, Ok(true), "nobody took it");
}

#[tokio::test]
async fn who_waits_for_a_record_that_another_takes_gets_the_next() {
    let server = Postgres::start();
    let database = Database::open(&address(&server.url("PASSWORD")))
        .await
        .unwrap();
    let keys = [key(1), key(1)];
    let kept = database.keep_keys(&records("agent", &keys)).await;
    assert_eq!(kept, Ok(()));
    let take = "DELETE FROM tpm_attestor.svid_keys \
        WHERE id = (SELECT min(id) FROM tpm_attestor.svid_keys)";
    let mut another = somebody(&server, take).await;
    let consume = tokio::spawn({
        let database = database.clone();
        async move { database.consume_key("agent", &key(1), NOW).await }
    });
    waiters(&server, 1).await;
    another.execute("COMMIT").await.unwrap();
    assert_eq!(consume.await.unwrap(), Ok(true));
    let found = database.consume_key("agent", &key(1), NOW).await;
    assert_eq!(found, Ok(false));
}

/// The processes of connections that wait for a lock, when there are so many.
async fn waiters(server: &Postgres, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let found: Vec<_> = server.sql(waiting).lines().map(str::to_owned).collect();
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As when a network goes silent: nothing ever comes over these connections again.
#[tokio::test]
async fn connections_that_hang_in_a_statement_are_given_up() {
    let server = Postgres::start();
    let database = Database::open(&address(&server.url("PASSWORD")))
        .await
        .unwrap();
    let mut somebody = somebody(&server, "LOCK TABLE tpm_attestor.svid_keys").await;
    let calls = (0..4).map(|_| {
        let database = database.clone();
        tokio::spawn(async move { database.consume_key("agent", &key(1), NOW).await })
    });
    let calls: Vec<_> = calls.collect();
    let waiters = waiters(&server, 4).await;
    let signal = |name: &str| tests::run("kill", &[&[name.to_owned()], &waiters[..]].concat(), &[]);
    signal("-STOP");
    for call in calls {
        let outcome = call.await.unwrap();
        assert!(
            matches!(outcome, Err(DatabaseError::Unavailable(_))),
            "{outcome:?}"
        );
    }
    let found = database.machine(&ek(1)).await;
    signal("-CONT");
    assert_eq!(found, Ok(None), "while they still hang");
    somebody.execute("COMMIT").await.unwrap();
}
