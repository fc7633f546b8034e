//! Rows that this plugin does not write are damaged: never absent, and never something else.

use store::{Database, DatabaseError};
use verify::Reason;

use crate::machines::{ek, quarantine, state};

/// What is set in a row; bytes are between `<` and `>`, in hex.
const DAMAGES: [&str; 17] = [
    "ak = <>",
    "ak = <00>",
    "ak = <000b00>",
    "ak = <ffff0000000000000000000000000000000000000000000000000000000000000000>",
    "storage_root = <000b>",
    "clock = <0000000000000001000000010000000102>",
    "boot_ids = <0005aa>",
    "boot_ids = <0001ff>",
    "boot_ids = <0101>",
    "boot_ids = <000000000000000000000000000000000000>",
    "quarantine_reason = 'clone_suspected '",
    "quarantine_reason = 'timeout'",
    "quarantined_ms = NULL",
    "observed_ak = NULL",
    "observed_ms = NULL",
    "quarantine_reason = NULL",
    "quarantine_reason = NULL, quarantined_ms = NULL",
];

/// Damages rows one way after the other, by `run`, where bytes are written as `bytes` says.
pub(crate) async fn is_told(
    database: &Database,
    bytes: fn(&str) -> String,
    run: impl AsyncFn(String),
) {
    let ek = ek(500);
    let is_damaged = |error: &DatabaseError| matches!(error, DatabaseError::Corrupt(_));
    for damage in DAMAGES {
        let quarantine = quarantine(Reason::CloneSuspected);
        let wrote = database
            .replace(&ek, None, &state(1), Some(&quarantine))
            .await;
        assert!(wrote.unwrap());
        let set = match damage.split_once('<') {
            Some((before, rest)) => format!("{before}{}", bytes(rest.trim_end_matches('>'))),
            None => damage.to_owned(),
        };
        run(format!("UPDATE machines SET {set}")).await;
        let found = database.machine(&ek).await;
        assert!(found.as_ref().is_err_and(is_damaged), "{damage}: {found:?}");
        let listed = database.quarantined(None).await;
        if !damage.starts_with("quarantine_reason = NULL") {
            assert!(
                listed.as_ref().is_err_and(is_damaged),
                "{damage}: {listed:?}"
            );
        }
        if damage.starts_with("observed") {
            let accepted = database.accept(&ek, state(1).seen_ms).await;
            assert!(accepted.as_ref().is_err_and(is_damaged), "{damage}");
        }
        assert!(database.forget(&ek, None).await.unwrap(), "{damage}");
    }
    run("DROP TABLE svid_keys".into()).await;
    let consumed = database.consume_key("agent", &[0; 32], 0).await;
    assert!(consumed.is_err_and(|error| is_damaged(&error)), "no table");
    run("ALTER TABLE machines RENAME COLUMN ak TO attestation_key".into()).await;
    let found = database.machine(&ek).await;
    assert!(found.is_err_and(|error| is_damaged(&error)), "no column");
}
