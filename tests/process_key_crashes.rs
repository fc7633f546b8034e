//! Crashes of the agent's KeyManager: at places between two steps, and whenever it is killed. No key in use is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use conformance::{Loaded, Subject};
use plugin::KeyType;
use plugin::proto::key_manager::PublicKey;
use tests::{Signal, binary};

use crate::process_abuse::is_full;
use crate::process_key_machine::{IDS, KeyMachine, files, generate, list, named, signs};
use crate::process_plugin::{LIMIT, TRUST_DOMAIN, host, unload};

/// A KeyManager that crashes at the place that is written to the file.
async fn crashing(machine: &KeyMachine, fault: &PathBuf) -> Loaded {
    let subject = Subject::key_manager(binary("examples/crashing-key-manager"));
    let subject = subject.variable("TPM_ATTESTOR_FAULT", fault);
    let loaded = host().load(&subject).await.unwrap();
    let text = machine.data("");
    loaded.configure(Some(TRUST_DOMAIN), &text).await.unwrap();
    loaded
}

/// Asks for a key and gets none, for the process ends.
async fn crash(keys: &mut Loaded, id: &str) {
    let manager = keys.key_manager();
    let made = manager.generate_key(id, KeyType::EcP256).await;
    made.unwrap_err();
    let status = keys.process().exit_within(LIMIT).await.unwrap();
    assert!(!status.success());
}

/// Only whole files, and nothing that was set aside.
fn only_keys(machine: &KeyMachine, ids: &[&str]) {
    let expected: Vec<_> = ids.iter().map(|id| format!("{id}.json")).collect();
    assert_eq!(files(&machine.keys()), expected);
}

#[tokio::test]
async fn a_crash_between_two_steps_leaves_the_old_key_or_the_new_one() {
    for (fault, is_new) in [
        ("before_persist", false),
        ("before_rename", false),
        ("before_reply", true),
    ] {
        let machine = KeyMachine::new();
        let place = machine.keys().with_extension("fault");
        let mut keys = crashing(&machine, &place).await;
        let pair = [generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await];
        let before = fs::read(machine.file(IDS[0])).unwrap();
        fs::write(&place, fault).unwrap();
        crash(&mut keys, IDS[0]).await;
        assert!(!place.exists(), "{fault}: it was that place");
        drop(keys);
        let after = fs::read(machine.file(IDS[0])).unwrap();
        assert_eq!(after != before, is_new, "{fault}");

        let keys = machine.key_manager("").await;
        only_keys(&machine, &IDS);
        let listed = list(&keys).await;
        assert_eq!(listed[IDS[1]], pair[1], "{fault}");
        assert_eq!(listed[IDS[0]] != pair[0], is_new, "{fault}");
        for key in listed.values() {
            signs(&keys, key).await;
        }
        let next = generate(&keys, IDS[0]).await;
        assert_eq!(list(&keys).await, named([&next, &pair[1]]), "{fault}");
        unload(keys).await;
        machine.leaves_nothing_in_the_tpm();
    }
}

/// The first key of an agent that crashed is not half there.
#[tokio::test]
async fn a_crash_at_the_first_key_leaves_none_or_a_whole_one() {
    for (fault, count) in [
        ("before_persist", 0),
        ("before_rename", 0),
        ("before_reply", 1),
    ] {
        let machine = KeyMachine::new();
        let place = machine.keys().with_extension("fault");
        let mut keys = crashing(&machine, &place).await;
        fs::write(&place, fault).unwrap();
        crash(&mut keys, IDS[0]).await;
        drop(keys);
        let keys = machine.key_manager("").await;
        only_keys(&machine, &IDS[..count]);
        assert_eq!(list(&keys).await.len(), count, "{fault}");
        unload(keys).await;
    }
}

/// How often the process is killed.
fn rounds() -> u64 {
    if is_full() { 200 } else { 10 }
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_no_key_and_leaves_no_half_one() {
    let machine = KeyMachine::new();
    let mut known: BTreeMap<String, PublicKey> = BTreeMap::new();
    let (mut made, mut interrupted) = (0, 0);
    for round in 0..rounds() {
        let mut keys = machine.key_manager("").await;
        for name in files(&machine.keys()) {
            let is_whole = IDS.iter().any(|id| name == format!("{id}.json"));
            assert!(is_whole, "round {round}: {name}");
        }
        let listed = list(&keys).await;
        // What was being made when the process was killed, if anything, is the old key or the new one.
        let differ: Vec<_> = IDS
            .into_iter()
            .filter(|id| listed.get(*id) != known.get(*id))
            .collect();
        assert!(differ.len() <= 1, "round {round}: {differ:?}");
        assert!(
            known.keys().all(|id| listed.contains_key(id)),
            "round {round}"
        );
        interrupted += differ.len();
        for key in listed.values() {
            signs(&keys, key).await;
        }
        known = listed;

        let manager = keys.key_manager();
        let rotating = async {
            let mut confirmed = BTreeMap::new();
            for id in IDS.into_iter().cycle() {
                match manager.generate_key(id, KeyType::EcP256).await {
                    Ok(key) => confirmed.insert(id.to_owned(), key),
                    Err(_killed) => break,
                };
            }
            confirmed
        };
        let process = keys.process();
        let killing = async {
            tokio::time::sleep(Duration::from_millis(40 + round * 37 % 60)).await;
            process.signal(Signal::KILL).unwrap();
            process.exit_within(LIMIT).await.unwrap();
        };
        let (confirmed, ()) = tokio::join!(rotating, killing);
        made += confirmed.len();
        known.extend(confirmed);
    }
    assert!(made > 0, "keys were made between the kills");
    let keys = machine.key_manager("").await;
    for key in list(&keys).await.values() {
        signs(&keys, key).await;
    }
    let log = unload(keys).await;
    assert!(!log.iter().any(|entry| entry.level == "error"), "{log:?}");
    println!("{made} keys were confirmed, {interrupted} were there without");
    machine.leaves_nothing_in_the_tpm();
}
