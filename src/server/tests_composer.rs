//! The CredentialComposer over a real store: whose keys it accepts, once, and what it says of others.

use std::sync::Arc;

use evidence::SubjectKey;
use plugin::{Code, CredentialComposer as _, Metrics, Plugin as _, Purpose, Status};
use softtpm::{Key, KeyKind};
use store::KeyRecords;

use crate::clock::now_ms;
use crate::composer::Composer;
use crate::composer_config::Settings;
use crate::keeping::{COMPOSER_LIFETIME_MS, KEY_LIFETIME_MS, Keeping};
use crate::tests_store::{Place, run};

/// Settings in force, for the composer that has them.
struct Served {
    composer: Composer,
    settings: Arc<Settings>,
}

impl Served {
    async fn new(place: &Place, text: &str) -> Self {
        let settings = place.composer(text, Purpose::Configure).await.unwrap();
        let served = Self {
            composer: Composer::new(Metrics::nowhere()),
            settings: Arc::new(settings),
        };
        served.composer.apply(&served.settings).await.unwrap();
        served
    }

    fn keeping(&self) -> &Keeping {
        self.settings.keeping.as_ref().unwrap()
    }

    /// As the attestor does for this key of this agent, so long ago.
    async fn certify(&self, agent_id: &str, key: &SubjectKey, ago_ms: i64) {
        let keys = KeyRecords {
            agent_id,
            spki_sha256: &[*key.ek_hash().as_bytes()],
            expires_ms: now_ms() - ago_ms + KEY_LIFETIME_MS,
        };
        self.keeping().database.keep_keys(&keys).await.unwrap();
    }

    async fn compose(&self, id: &str, public_key: &[u8]) -> Result<(), Status> {
        let settings = Arc::clone(&self.settings);
        let (id, public_key) = (id.to_owned(), public_key.to_vec());
        self.composer
            .compose_agent_x509_svid(settings, id, public_key)
            .await
    }

    async fn is_registered(&self) -> bool {
        self.keeping().has_composer().await.unwrap()
    }
}

fn agent(digit: &str) -> String {
    format!("spiffe://example.org/spire/agent/tpm/{}", digit.repeat(64))
}

fn key(kind: KeyKind) -> SubjectKey {
    Key::generate(kind).unwrap().subject_key().clone()
}

fn is_mismatch(outcome: Result<(), Status>) -> bool {
    let status = outcome.unwrap_err();
    status.code() == Code::PermissionDenied
        && status.message() == "svid_key_mismatch: the SVID's key was not certified"
}

#[test]
fn a_certified_key_counts_once_for_its_agent() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, "store = STORE").await;
        let (one, two) = (agent("1"), agent("2"));
        let (first, second) = (key(KeyKind::P256), key(KeyKind::P384));
        served.certify(&one, &first, 0).await;
        served.certify(&one, &second, 0).await;
        served.certify(&one, &second, 1000).await;
        assert!(
            is_mismatch(served.compose(&two, &first.spki()).await),
            "another's"
        );
        assert!(
            is_mismatch(served.compose(&one, &key(KeyKind::P256).spki()).await),
            "another"
        );
        assert!(served.compose(&one, &first.spki()).await.is_ok());
        assert!(
            is_mismatch(served.compose(&one, &first.spki()).await),
            "used up"
        );
        for _ in 0..2 {
            assert!(
                served.compose(&one, &second.spki()).await.is_ok(),
                "certified twice"
            );
        }
        assert!(is_mismatch(served.compose(&one, &second.spki()).await));
    });
}

#[test]
fn a_certified_key_counts_for_two_minutes() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, "store = STORE").await;
        let (agent, key) = (agent("1"), key(KeyKind::P256));
        served.certify(&agent, &key, KEY_LIFETIME_MS).await;
        assert!(is_mismatch(served.compose(&agent, &key.spki()).await));
        served.certify(&agent, &key, KEY_LIFETIME_MS - 60_000).await;
        assert!(served.compose(&agent, &key.spki()).await.is_ok());
    });
}

/// RFC 3279, section 2.3.1: a key in RSA has NULL parameters, which some leave out.
#[test]
fn a_key_is_the_same_however_it_is_encoded() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, "store = STORE").await;
        let (agent, rsa) = (agent("1"), SubjectKey::rsa(&[0xc5; 256], 65537).unwrap());
        let spki = rsa.spki();
        let without = {
            let at = spki
                .windows(4)
                .position(|part| part == [1, 1, 5, 0])
                .unwrap();
            let mut bytes = [&spki[..at + 2], &spki[at + 4..]].concat();
            // SEQUENCE of 2 + 2 + length bytes, SEQUENCE of the algorithm.
            assert_eq!((bytes[1], bytes[5]), (0x82, 13));
            bytes[3] -= 2;
            bytes[5] -= 2;
            bytes
        };
        served.certify(&agent, &rsa, 0).await;
        assert!(served.compose(&agent, &without).await.is_ok());
        assert!(
            is_mismatch(served.compose(&agent, &spki).await),
            "it was the same"
        );
    });
}

#[test]
fn others_ids_are_no_affair_and_ids_that_only_look_right_are_refused() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, "store = STORE").await;
        let key = key(KeyKind::P256);
        let spki = key.spki();
        for id in [
            "spiffe://example.org/spire/agent/join_token/abc",
            "spiffe://example.org/spire/agent/x509pop/abc",
            "spiffe://example.com/spire/agent/tpm/abc",
        ] {
            assert!(served.compose(id, &spki).await.is_ok(), "{id}");
            assert!(served.compose(id, b"no key").await.is_ok(), "{id}");
        }
        for id in [
            "spiffe://example.org/spire/agent/tpm/abc".to_owned(),
            agent("A"),
            format!("{}/x", agent("1")),
            format!("{}?", agent("1")),
            agent("1").to_uppercase(),
        ] {
            // Not even a record of it would help.
            served.certify(&id, &key, 0).await;
            assert!(is_mismatch(served.compose(&id, &spki).await), "{id}");
        }
        for key in [&b"no key"[..], &[], &[&spki[..], &[0]].concat()] {
            assert!(
                is_mismatch(served.compose(&agent("1"), key).await),
                "{key:?}"
            );
        }
    });
}

#[test]
fn who_observes_refuses_no_key_but_a_store_that_fails_is_an_error_all_the_same() {
    run(async {
        let place = Place::new();
        let observes = "store = STORE\nsvid_keys = \"observe\"";
        let served = [
            Served::new(&place, observes).await,
            Served::new(&place, "store = STORE").await,
        ];
        let spki = key(KeyKind::P256).spki();
        for id in [agent("1"), agent("A"), "no ID".to_owned()] {
            assert!(served[0].compose(&id, &spki).await.is_ok(), "{id}");
            assert!(served[0].compose(&id, b"no key").await.is_ok(), "{id}");
            assert!(is_mismatch(served[1].compose(&id, &spki).await), "{id}");
        }
        place.damage();
        for served in &served {
            let status = served.compose(&agent("1"), &spki).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            let expect = "database_unavailable: the store of machine states cannot be used";
            assert_eq!(status.message(), expect);
            let other = "spiffe://example.org/spire/agent/x509pop/abc";
            assert!(served.compose(other, &spki).await.is_ok());
        }
    });
}

#[test]
fn settings_that_were_only_validated_let_no_tpm_agent_pass() {
    run(async {
        let place = Place::new();
        let settings = place
            .composer("store = STORE", Purpose::Validate)
            .await
            .unwrap();
        let composer = Composer::new(Metrics::nowhere());
        let key = key(KeyKind::P256).spki();
        let composed = composer
            .compose_agent_x509_svid(Arc::new(settings), agent("1"), key)
            .await;
        assert_eq!(composed.unwrap_err().code(), Code::Internal);
    });
}

#[test]
fn it_is_registered_while_it_enforces() {
    run(async {
        let place = Place::new();
        let (requires, observes) = ("store = STORE", "store = STORE\nsvid_keys = \"observe\"");
        for (text, expect) in [
            (observes, false),
            (requires, true),
            (observes, false),
            (requires, true),
        ] {
            assert_eq!(
                Served::new(&place, text).await.is_registered().await,
                expect
            );
        }
        let settings = place.composer(requires, Purpose::Configure).await.unwrap();
        place.damage();
        let applied = Composer::new(Metrics::nowhere())
            .apply(&Arc::new(settings))
            .await;
        assert_eq!(applied.unwrap_err().code(), Code::Unavailable);
    });
}

/// As Configure does, but for putting the settings into force.
async fn configure(
    composer: &Composer,
    place: &Place,
    text: &str,
) -> Result<Arc<Settings>, Status> {
    let settings = place.composer(text, Purpose::Configure).await.unwrap();
    let settings = Arc::new(settings);
    composer.apply(&settings).await.map(|()| settings)
}

const REQUIRES: &str = "store = STORE";
const OBSERVES: &str = "store = STORE\nsvid_keys = \"observe\"";

/// Both stores' own view.
async fn are_registered(places: &[Place; 2]) -> [bool; 2] {
    let mut registered = [false; 2];
    for (registered, place) in registered.iter_mut().zip(places) {
        let settings = place.composer(OBSERVES, Purpose::Configure).await.unwrap();
        *registered = settings.keeping.unwrap().has_composer().await.unwrap();
    }
    registered
}

#[test]
fn a_store_that_is_left_holds_no_registration() {
    run(async {
        let places = [Place::new(), Place::new()];
        let composer = Composer::new(Metrics::nowhere());
        let mut last = None;
        for (at, text, expect) in [
            (0, REQUIRES, [true, false]),
            (1, OBSERVES, [false, false]),
            (0, REQUIRES, [true, false]),
            (1, REQUIRES, [false, true]),
            (1, REQUIRES, [false, true]),
            (0, OBSERVES, [false, false]),
        ] {
            let settings = configure(&composer, &places[at], text).await.unwrap();
            assert_eq!(are_registered(&places).await, expect, "{at} {text}");
            // What the last settings have not stopped doing yet.
            if let Some(last) = last.replace(settings) {
                composer.registration.renew(&last).await;
            }
            assert_eq!(
                are_registered(&places).await,
                expect,
                "{at} {text}, renewed"
            );
        }
    });
}

#[test]
fn settings_that_do_not_come_into_force_leave_the_registration_where_it_was() {
    run(async {
        let places = [Place::new(), Place::new()];
        let composer = Composer::new(Metrics::nowhere());
        let kept = configure(&composer, &places[0], REQUIRES).await.unwrap();
        let settings = places[1].composer(REQUIRES, Purpose::Configure).await;
        places[1].damage();
        let applied = composer.apply(&Arc::new(settings.unwrap())).await;
        assert_eq!(applied.unwrap_err().code(), Code::Unavailable);
        assert!(kept.keeping.as_ref().unwrap().has_composer().await.unwrap());
    });
}

#[test]
fn a_store_that_cannot_be_left_is_not_left() {
    run(async {
        let places = [Place::new(), Place::new()];
        let composer = Composer::new(Metrics::nowhere());
        let _kept = configure(&composer, &places[0], REQUIRES).await.unwrap();
        places[0].damage();
        for text in [REQUIRES, OBSERVES] {
            let applied = configure(&composer, &places[1], text).await;
            assert_eq!(applied.unwrap_err().code(), Code::Unavailable, "{text}");
        }
        let settings = places[1].composer(OBSERVES, Purpose::Configure).await;
        let keeping = settings.unwrap().keeping.unwrap();
        assert!(!keeping.has_composer().await.unwrap());
    });
}

#[test]
fn a_registration_that_is_not_renewed_counts_no_more() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, OBSERVES).await;
        let Keeping {
            database, instance, ..
        } = served.keeping();
        for (ago_ms, expect) in [
            (COMPOSER_LIFETIME_MS - 60_000, true),
            (COMPOSER_LIFETIME_MS + 1, false),
        ] {
            let seen_ms = now_ms() - ago_ms;
            let registered = database.register_composer(instance.as_str(), seen_ms);
            registered.await.unwrap();
            assert_eq!(served.is_registered().await, expect, "{ago_ms}");
        }
    });
}

#[test]
fn upkeep_registers_anew_and_removes_what_has_expired() {
    run(async {
        let place = Place::new();
        let served = Served::new(&place, REQUIRES).await;
        let Keeping {
            database, instance, ..
        } = served.keeping();
        database
            .register_composer("gone for years", 0)
            .await
            .unwrap();
        database.withdraw_composer(instance.as_str()).await.unwrap();
        served.composer.registration.renew(&served.settings).await;
        assert!(served.is_registered().await);
        assert!(!database.has_composer("gone for years", 0).await.unwrap());
    });
}
