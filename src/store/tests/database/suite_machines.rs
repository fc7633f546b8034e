//! What a database does, whichever it is: states of machines.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use store::{Database, StoredMachine};
use tokio::task::JoinSet;
use verify::Reason;

use crate::machines::{NOW, ek, key, odd_states, quarantine, records, resets, state};

/// Every rule about machines.
pub(crate) async fn every_rule(database: &Database) {
    what_is_written_is_read(database).await;
    who_has_not_read_the_last_does_not_write(database).await;
    keys_are_kept_with_the_state_or_not_at_all(database).await;
    no_update_is_lost(database).await;
    a_quarantine_lasts_until_it_is_accepted(database).await;
    a_quarantine_takes_the_agent_s_keys_with_it(database).await;
    a_forgotten_machine_is_a_new_one(database).await;
    quarantines_are_listed_in_pages(database).await;
    a_call_that_is_dropped_is_whole(database).await;
}

async fn stored(database: &Database, number: u32) -> StoredMachine {
    database.machine(&ek(number)).await.unwrap().unwrap()
}

async fn what_is_written_is_read(database: &Database) {
    let ek = ek(100);
    assert_eq!(database.machine(&ek).await.unwrap(), None);
    let mut revision = None;
    let reasons = Reason::ALL.iter().copied();
    let reasons: Vec<_> = reasons.filter(|reason| reason.quarantines()).collect();
    assert!(reasons.len() >= 4);
    for state in odd_states() {
        for reason in reasons.iter().copied().map(Some).chain([None]) {
            let quarantine = reason.map(|reason| {
                let mut quarantine = quarantine(reason);
                quarantine.observed = state.clone();
                quarantine
            });
            let wrote = database
                .replace(&ek, revision, &state, quarantine.as_ref())
                .await;
            assert!(wrote.unwrap());
            let found = database.machine(&ek).await.unwrap().unwrap();
            assert_eq!((&found.state, &found.quarantine), (&state, &quarantine));
            assert_ne!(Some(found.revision), revision);
            revision = Some(found.revision);
        }
    }
}

async fn who_has_not_read_the_last_does_not_write(database: &Database) {
    let ek = ek(101);
    let write = async |expected, resets| {
        let wrote = database.replace(&ek, expected, &state(resets), None).await;
        (wrote.unwrap(), stored_resets(database, &ek).await)
    };
    assert_eq!(write(Some(1), 1).await, (false, None), "there is none");
    assert_eq!(write(None, 2).await, (true, Some(2)));
    assert_eq!(write(None, 3).await, (false, Some(2)), "there is one");
    let first = stored(database, 101).await.revision;
    for wrong in [first - 1, first + 1, 0] {
        assert_eq!(write(Some(wrong), 4).await, (false, Some(2)), "{wrong}");
    }
    assert_eq!(write(Some(first), 5).await, (true, Some(5)));
    assert_eq!(
        write(Some(first), 6).await,
        (false, Some(5)),
        "was read before"
    );
}

async fn stored_resets(database: &Database, ek: &evidence::EkHash) -> Option<u32> {
    let machine = database.machine(ek).await.unwrap()?;
    machine.state.clock.map(|clock| clock.reset_count)
}

async fn keys_are_kept_with_the_state_or_not_at_all(database: &Database) {
    let ek = ek(102);
    let admit = async |expected, number| {
        let keys = [key(number), key(number + 1)];
        let records = records("admitted", &keys);
        let admitted = database
            .admit(&ek, expected, &state(number), &records)
            .await;
        admitted.unwrap()
    };
    let mut wrong = vec![Some(1)];
    let mut expected = None;
    for number in [10, 20, 30] {
        for &wrong in &wrong {
            assert!(!admit(wrong, 1000).await, "{wrong:?}");
        }
        assert!(admit(expected, number).await);
        assert_eq!(resets(database, &ek).await, number);
        wrong = vec![None, expected, Some(1)];
        wrong.dedup();
        expected = Some(stored(database, 102).await.revision);
    }
    for (number, expect) in [
        (1000, false),
        (1001, false),
        (10, true),
        (11, true),
        (20, true),
        (31, true),
        (31, false),
    ] {
        let found = database.consume_key("admitted", &key(number), NOW).await;
        assert_eq!(found.unwrap(), expect, "{number}");
    }
    let none = records("admitted", &[]);
    assert!(
        database
            .admit(&ek, expected, &state(40), &none)
            .await
            .unwrap()
    );
    assert_eq!(resets(database, &ek).await, 40);
    let many: Vec<_> = (0..70).map(key).collect();
    let expected = Some(stored(database, 102).await.revision);
    let many = records("admitted", &many);
    assert!(
        database
            .admit(&ek, expected, &state(41), &many)
            .await
            .unwrap()
    );
    for (number, expect) in [(5, false), (6, true), (69, true), (30, true), (30, false)] {
        let found = database.consume_key("admitted", &key(number), NOW).await;
        assert_eq!(found.unwrap(), expect, "{number} of many");
    }
}

/// tpm/H06: attestations of one machine at the same time.
async fn no_update_is_lost(database: &Database) {
    const TASKS: u32 = 8;
    const TIMES: u32 = 10;
    let ek = ek(103);
    assert!(database.replace(&ek, None, &state(0), None).await.unwrap());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let database = database.clone();
        tasks.spawn(async move {
            let agent = format!("racer {task}");
            let mut written = 0;
            while written < TIMES {
                let before = database.machine(&ek).await.unwrap().unwrap();
                let resets = before.state.clock.unwrap().reset_count + 1;
                let keys = [key(written)];
                let (revision, keys) = (Some(before.revision), records(&agent, &keys));
                let admitted = database.admit(&ek, revision, &state(resets), &keys).await;
                written += u32::from(admitted.unwrap());
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(resets(database, &ek).await, TASKS * TIMES);
    for task in 0..TASKS {
        let agent = format!("racer {task}");
        for number in 0..TIMES {
            let found = database.consume_key(&agent, &key(number), NOW).await;
            assert!(found.unwrap(), "{agent}, key {number}");
        }
    }
}

async fn a_quarantine_lasts_until_it_is_accepted(database: &Database) {
    let ek = ek(104);
    assert!(!database.accept(&ek, NOW).await.unwrap(), "is not known");
    assert!(database.replace(&ek, None, &state(1), None).await.unwrap());
    let before = stored(database, 104).await;
    let accepted = database.accept(&ek, before.revision).await;
    assert!(!accepted.unwrap(), "is in none");
    let quarantine = quarantine(Reason::CloneSuspected);
    let revision = Some(before.revision);
    let wrote = database
        .replace(&ek, revision, &before.state, Some(&quarantine))
        .await;
    assert!(wrote.unwrap());
    let held = stored(database, 104).await;
    assert_eq!(held.quarantine.as_ref(), Some(&quarantine));
    assert_eq!(held.state, before.state);
    let other = crate::machines::ek(1_000_104);
    for (ek, revision, why) in [
        (other, held.revision, "another one"),
        (ek, before.revision, "was written since"),
        (ek, held.revision + 1, "was never so"),
    ] {
        let accepted = database.accept(&ek, revision).await;
        assert!(!accepted.unwrap(), "{why}");
    }
    assert_eq!(stored(database, 104).await, held);
    assert!(database.accept(&ek, held.revision).await.unwrap());
    let after = stored(database, 104).await;
    assert_eq!((after.state, after.quarantine), (quarantine.observed, None));
    assert!(after.revision > held.revision);
    let again = database.accept(&ek, after.revision).await;
    assert!(!again.unwrap(), "is over");
    let stale = database
        .replace(&ek, Some(held.revision), &state(1), None)
        .await;
    assert!(!stale.unwrap(), "who read before it was accepted");
}

async fn a_quarantine_takes_the_agent_s_keys_with_it(database: &Database) {
    let ek = ek(106);
    let keys = [key(1), key(2)];
    let (its, other) = (records("held", &keys), records("beside it", &keys));
    database.keep_keys(&other).await.unwrap();
    assert!(database.admit(&ek, None, &state(1), &its).await.unwrap());
    let known = stored(database, 106).await;
    let quarantine = quarantine(Reason::CloneSuspected);
    let consume = async |agent, number| {
        let consumed = database.consume_key(agent, &key(number), NOW).await;
        consumed.unwrap()
    };
    for off in [-1, 1] {
        let stale = StoredMachine {
            revision: known.revision + off,
            ..known.clone()
        };
        let wrote = database.quarantine(&ek, &stale, &quarantine, "held").await;
        assert!(!wrote.unwrap(), "{off}");
    }
    assert_eq!(stored(database, 106).await, known);
    assert!(consume("held", 1).await, "who was too late takes none");
    let wrote = database.quarantine(&ek, &known, &quarantine, "held").await;
    assert!(wrote.unwrap());
    let held = stored(database, 106).await;
    assert_eq!(
        (held.state, held.quarantine),
        (known.state, Some(quarantine))
    );
    assert!(held.revision > known.revision);
    assert!(!consume("held", 2).await, "taken away");
    assert!(consume("beside it", 2).await, "another agent's");
    assert!(database.forget(&ek, None).await.unwrap());
}

async fn a_forgotten_machine_is_a_new_one(database: &Database) {
    let ek = ek(105);
    for revision in [None, Some(NOW)] {
        let forgotten = database.forget(&ek, revision).await;
        assert!(!forgotten.unwrap(), "is not known");
    }
    assert!(database.replace(&ek, None, &state(1), None).await.unwrap());
    let before = stored(database, 105).await;
    for off in [-1, 1] {
        let forgotten = database.forget(&ek, Some(before.revision + off)).await;
        assert!(!forgotten.unwrap(), "{off}");
    }
    assert_eq!(stored(database, 105).await, before);
    let revision = Some(before.revision);
    assert!(database.forget(&ek, revision).await.unwrap());
    assert_eq!(database.machine(&ek).await.unwrap(), None);
    assert!(!database.forget(&ek, revision).await.unwrap(), "is gone");
    let mut later = state(2);
    later.seen_ms += 1;
    assert!(database.replace(&ek, None, &later, None).await.unwrap());
    let stale = database
        .replace(&ek, Some(before.revision), &state(1), None)
        .await;
    assert!(!stale.unwrap(), "who read before it was forgotten");
    assert_eq!(stored(database, 105).await.state, later);
}

async fn quarantines_are_listed_in_pages(database: &Database) {
    let page = usize::try_from(Database::PAGE).unwrap();
    let first = 0x10_0000;
    let last = first + u32::try_from(page).unwrap();
    for number in first..=last {
        let quarantine = (number != first + 1).then(|| quarantine(Reason::AkChanged));
        let wrote = database
            .replace(&ek(number), None, &state(1), quarantine.as_ref())
            .await;
        assert!(wrote.unwrap());
    }
    let mut listed = Vec::new();
    let mut pages = 0;
    while let Some(page) = Some(database.quarantined(listed.last()).await.unwrap())
        && !page.is_empty()
    {
        pages += 1;
        for (ek, machine) in page {
            assert_eq!(
                Some(&machine),
                database.machine(&ek).await.unwrap().as_ref()
            );
            assert!(machine.quarantine.is_some());
            listed.push(ek);
        }
    }
    let expect = (first..=last).filter(|&number| number != first + 1);
    let expect: Vec<_> = expect.map(ek).collect();
    assert_eq!(listed, expect);
    assert_eq!((expect.len(), pages), (page, 1));
    let first_two = database.quarantined(Some(&listed[page - 3])).await.unwrap();
    assert_eq!(first_two.len(), 2, "past the third last");
    let extra = database
        .replace(
            &ek(last + 1),
            None,
            &state(1),
            Some(&quarantine(Reason::AkChanged)),
        )
        .await;
    assert!(extra.unwrap());
    assert_eq!(
        database.quarantined(None).await.unwrap().len(),
        page,
        "a full page"
    );
    for number in first..=last + 1 {
        database.forget(&ek(number), None).await.unwrap();
    }
    assert_eq!(database.quarantined(None).await.unwrap(), []);
}

/// SPIRE drops an attestation whose agent has gone, in the middle of whatever it does.
async fn a_call_that_is_dropped_is_whole(database: &Database) {
    for number in 0..40 {
        let ek = ek(200 + number);
        let keys = [key(number)];
        let (state, records) = (state(1), records("dropped", &keys));
        let polls = 1 + usize::try_from(number).unwrap();
        let outcome = polled(polls, database.admit(&ek, None, &state, &records)).await;
        // It is over when the next writer has its turn; on PostgreSQL, whose connections are several, soon after.
        database
            .keep_keys(&crate::machines::records("turn", &[]))
            .await
            .unwrap();
        let mut is_known = false;
        for _ in 0..100 {
            is_known = database.machine(&ek).await.unwrap().is_some();
            if is_known {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_known, "{number}: {outcome:?}");
        let found = database.consume_key("dropped", &key(number), NOW).await;
        assert!(found.unwrap(), "{number}");
    }
}

/// What a future has come to when it is dropped after so many looks.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        let look = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(outcome) = look {
            return Some(outcome);
        }
        tokio::task::yield_now().await;
    }
    None
}
