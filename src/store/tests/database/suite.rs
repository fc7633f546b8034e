//! What a database does, whichever it is: records of SVID keys and of composers.

use store::Database;
use tokio::task::JoinSet;

use crate::machines::{NOW, key, records};
use crate::suite_machines;

/// Every rule, on an empty database.
pub(crate) async fn every_rule(database: &Database) {
    a_key_is_consumed_once(database).await;
    a_key_expires_to_the_millisecond(database).await;
    of_several_at_once_each_takes_one(database).await;
    of_an_agent_the_last_64_count(database).await;
    identifiers_are_bytes(database).await;
    composers_come_and_go(database).await;
    suite_machines::every_rule(database).await;
    // Last: it empties what the others may have left.
    what_is_over_is_pruned(database).await;
}

async fn consume(database: &Database, agent: &str, number: u32) -> bool {
    let consumed = database.consume_key(agent, &key(number), NOW).await;
    consumed.unwrap()
}

async fn a_key_is_consumed_once(database: &Database) {
    let keys = [key(1), key(2), key(2)];
    database.keep_keys(&records("once", &keys)).await.unwrap();
    database
        .keep_keys(&records("other", &[key(3)]))
        .await
        .unwrap();
    database.keep_keys(&records("none", &[])).await.unwrap();
    for (agent, number, expect) in [
        ("nobody", 1, false),
        ("once", 3, false),
        ("other", 1, false),
        ("none", 0, false),
        ("once", 1, true),
        ("once", 1, false),
        ("once", 2, true),
        ("once", 2, true),
        ("once", 2, false),
        ("other", 3, true),
    ] {
        let found = consume(database, agent, number).await;
        assert_eq!(found, expect, "{agent}, key {number}");
    }
}

async fn a_key_expires_to_the_millisecond(database: &Database) {
    let keys = [key(1), key(1)];
    database.keep_keys(&records("late", &keys)).await.unwrap();
    for (now, expect) in [
        (NOW + 2, false),
        (NOW + 1, false),
        (NOW, true),
        (NOW, true),
        (NOW, false),
    ] {
        let found = database.consume_key("late", &key(1), now).await.unwrap();
        assert_eq!(found, expect, "{now}");
    }
}

async fn of_several_at_once_each_takes_one(database: &Database) {
    for round in 0..5 {
        let keys = [key(7); 5];
        database.keep_keys(&records("race", &keys)).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let database = database.clone();
            tasks.spawn(async move { consume(&database, "race", 7).await });
        }
        let taken = tasks
            .join_all()
            .await
            .into_iter()
            .filter(|&one| one)
            .count();
        assert_eq!(taken, keys.len(), "round {round}");
    }
}

async fn of_an_agent_the_last_64_count(database: &Database) {
    let numbers: Vec<u32> = (0..70).collect();
    let keys: Vec<_> = numbers.iter().map(|&number| key(number)).collect();
    for agent in ["bounded", "at once"] {
        database
            .keep_keys(&records("beside", &[key(1)]))
            .await
            .unwrap();
        match agent {
            "bounded" => {
                for one in &keys {
                    database.keep_keys(&records(agent, &[*one])).await.unwrap();
                }
            }
            _ => database.keep_keys(&records(agent, &keys)).await.unwrap(),
        }
        for &number in &numbers {
            let found = consume(database, agent, number).await;
            assert_eq!(found, number >= 6, "{agent}, key {number}");
        }
        assert!(consume(database, "beside", 1).await, "another agent's");
    }
}

async fn identifiers_are_bytes(database: &Database) {
    let long = "l".repeat(4096);
    let agents = [
        "a",
        "a\0",
        "A",
        "'; DROP TABLE svid_keys; --",
        "ä",
        "",
        &long,
    ];
    for (number, agent) in (0..).zip(agents) {
        let keys = [key(number)];
        database.keep_keys(&records(agent, &keys)).await.unwrap();
        database.register_composer(agent, NOW).await.unwrap();
    }
    for (number, agent) in (0..).zip(agents) {
        assert!(!consume(database, agent, number + 1).await, "{agent}");
        assert!(consume(database, agent, number).await, "{agent}");
        assert!(database.has_composer(agent, NOW).await.unwrap(), "{agent}");
        database.withdraw_composer(agent).await.unwrap();
        assert!(!database.has_composer(agent, NOW).await.unwrap(), "{agent}");
    }
}

async fn composers_come_and_go(database: &Database) {
    let has = async |instance| database.has_composer(instance, 0).await.unwrap();
    let week = Database::COMPOSER_DAYS * 24 * 60 * 60 * 1000;
    assert!(!has("one").await);
    for instance in ["one", "two"] {
        database.register_composer(instance, NOW).await.unwrap();
    }
    database.register_composer("two", NOW + 1).await.unwrap();
    for (instance, since_ms, expect) in [
        ("one", NOW, true),
        ("one", NOW + 1, false),
        ("two", NOW + 1, true),
        ("two", NOW + 2, false),
    ] {
        let found = database.has_composer(instance, since_ms).await.unwrap();
        assert_eq!(found, expect, "{instance}, since {since_ms}");
    }
    database.prune(NOW + week).await.unwrap();
    assert!(has("one").await && has("two").await);
    database.prune(NOW + week + 1).await.unwrap();
    assert!(!has("one").await, "not seen for longer");
    assert!(has("two").await, "was seen again");
    database.withdraw_composer("two").await.unwrap();
    assert!(!has("two").await);
}

async fn what_is_over_is_pruned(database: &Database) {
    for (now, expect) in [(NOW + 1, false), (NOW, true)] {
        database
            .keep_keys(&records("over", &[key(5)]))
            .await
            .unwrap();
        database.prune(now).await.unwrap();
        assert_eq!(consume(database, "over", 5).await, expect, "{now}");
    }
}
