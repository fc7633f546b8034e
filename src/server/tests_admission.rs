//! What is kept of a machine over several attestations of a soft TPM, by one server and by two at once.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use evidence::{AkTemplate, EkHash, SvidKeyTemplate};
use plugin::{Metrics, Plugin as _, Purpose};
use softtpm::{Generation, KeyKind, Prover, SoftTpm};
use store::{Database, DatabaseAddress, KeyRecords, StoredMachine};
use verify::{Attested, Enrolment, Grant, History, Quarantine, Reason, Rejection, begin};

use crate::admission::{ATTEMPTS, Candidate};
use crate::attestor::Attestor;
use crate::clock::now_ms;
use crate::composer_watch::ComposerWatch;
use crate::config::Settings;
use crate::decision::Decision;
use crate::entropy::SystemEntropy;
use crate::keeping::Keeping;
use crate::tests_store::{Place, run};

const CERTIFIED: &str = "svid_key:certified";

/// A server that keeps a store.
struct Server {
    settings: Settings,
    watch: ComposerWatch,
}

impl Server {
    async fn new(place: &Place, text: &str) -> Self {
        let text = format!("store = STORE\n{text}");
        let settings = place.attestor(&text, Purpose::Configure).await;
        Self {
            settings: settings.unwrap(),
            watch: ComposerWatch::default(),
        }
    }

    fn keeping(&self) -> &Keeping {
        self.settings.keeping.as_ref().unwrap()
    }

    /// Everything up to the proof.
    fn prove(&self, prover: &mut Prover) -> Result<Attested, Rejection> {
        let payload = prover.payload().unwrap();
        let (policy, anchors) = (&self.settings.policy, self.settings.anchors());
        let mut entropy = SystemEntropy::new();
        let (challenge, pending) = begin(&payload, policy, &anchors, 0, &mut entropy)?;
        pending.finish(&prover.answer(&payload, &challenge).unwrap())
    }

    /// An attestation that begins long enough after all before it to be no contemporary of theirs.
    fn candidate<'a>(&'a self, attested: &'a Attested) -> Candidate<'a> {
        Candidate {
            settings: &self.settings,
            attested,
            enrolment: Enrolment::Enrolled,
            begun_ms: now_ms() + 60_000,
        }
    }

    async fn admit(&self, prover: &mut Prover) -> Result<Grant, Reason> {
        let attested = self.prove(prover).unwrap();
        let admitted = self
            .candidate(&attested)
            .admit(&self.watch, &mut decision())
            .await;
        admitted.map_err(|rejection| rejection.reason)
    }

    async fn stored(&self, machine: &EkHash) -> Option<StoredMachine> {
        self.keeping().database.machine(machine).await.unwrap()
    }
}

fn decision() -> Decision {
    Decision::new(Metrics::nowhere(), None)
}

fn prover() -> Prover {
    let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    Prover::new(tpm, "example.org")
}

#[test]
fn what_a_machine_showed_and_its_keys_are_kept_before_it_is_granted() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let machine = prover.tpm.ek_hash();
        assert_eq!(server.stored(&machine).await, None);
        let grant = server.admit(&mut prover).await.unwrap();
        let stored = server.stored(&machine).await.unwrap();
        assert_eq!(
            stored.state.storage_root,
            prover.tpm.storage_root().unwrap().name()
        );
        assert_eq!(stored.quarantine, None);
        let spki_sha256 = server.prove(&mut prover).unwrap().svid_keys()[0].spki_sha256();
        let (agent_id, database) = (grant.agent_id(), &server.keeping().database);
        for expect in [true, false] {
            let consumed = database.consume_key(agent_id, &spki_sha256, now_ms()).await;
            assert_eq!(consumed, Ok(expect), "kept once");
        }
        server.admit(&mut prover).await.unwrap();
        assert!(server.stored(&machine).await.unwrap().revision > stored.revision);
        let later = now_ms() + 130_000;
        let consumed = database.consume_key(agent_id, &spki_sha256, later).await;
        assert_eq!(consumed, Ok(false), "for two minutes");
    });
}

#[test]
fn who_is_refused_in_any_case_leaves_nothing_and_costs_no_look_up() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let attested = server.prove(&mut prover).unwrap();
        let mut candidate = server.candidate(&attested);
        candidate.enrolment = Enrolment::Absent;
        place.damage();
        for expect in [Reason::EkNotAllowed, Reason::DatabaseUnavailable] {
            let admitted = candidate.admit(&server.watch, &mut decision()).await;
            assert_eq!(admitted.unwrap_err().reason, expect);
            candidate.enrolment = Enrolment::Enrolled;
        }
    });
}

#[test]
fn without_a_store_nothing_is_kept() {
    run(async {
        let place = Place::new();
        let settings = place.attestor("", Purpose::Configure).await.unwrap();
        let server = Server {
            settings,
            watch: ComposerWatch::default(),
        };
        let mut prover = prover();
        let copy = prover.tpm.clone();
        prover.tpm.reset();
        assert!(server.admit(&mut prover).await.is_ok());
        prover.tpm = copy;
        let grant = server.admit(&mut prover).await.unwrap();
        assert!(!grant.selectors().contains(&CERTIFIED.to_owned()));
        assert!(!place.store().exists());
    });
}

#[test]
fn a_copy_brings_its_machine_into_quarantine_until_it_is_accepted() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let machine = prover.tpm.ek_hash();
        let mut copy = Prover::new(prover.tpm.clone(), "example.org");
        prover.tpm.reboot().unwrap();
        server.admit(&mut prover).await.unwrap();
        let known = server.stored(&machine).await.unwrap();
        assert_eq!(server.admit(&mut copy).await, Err(Reason::CloneSuspected));
        let stored = server.stored(&machine).await.unwrap();
        assert_eq!(stored.state, known.state, "what is known stays");
        let quarantine = stored.quarantine.clone().unwrap();
        assert_eq!(quarantine.reason, Reason::CloneSuspected);
        assert_eq!(
            quarantine.observed.clock.map(|clock| clock.reset_count),
            Some(copy.tpm.clock.reset_count)
        );
        for prover in [&mut prover, &mut copy] {
            assert_eq!(server.admit(prover).await, Err(Reason::Quarantined));
            assert_eq!(
                server.stored(&machine).await.as_ref(),
                Some(&stored),
                "tpm/H08"
            );
        }
        let database = &server.keeping().database;
        assert_eq!(database.accept(&machine, stored.revision).await, Ok(true));
        assert!(server.admit(&mut copy).await.is_ok());
    });
}

#[test]
fn a_refusal_that_is_of_one_attestation_alone_changes_nothing() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "unexpected_reset = \"refuse\"").await;
        let mut prover = prover();
        let machine = prover.tpm.ek_hash();
        server.admit(&mut prover).await.unwrap();
        let known = server.stored(&machine).await;
        prover.tpm.reset();
        assert_eq!(
            server.admit(&mut prover).await,
            Err(Reason::ResetUnexpected)
        );
        prover.generation = Generation::First;
        assert_eq!(server.admit(&mut prover).await, Err(Reason::Downgrade));
        assert_eq!(server.stored(&machine).await, known, "tpm/H08");
    });
}

#[test]
fn what_the_operator_accepts_is_told_and_kept_and_what_not_is_refused() {
    run(async {
        for (text, refused) in [
            ("", None),
            ("tpm_clear = \"quarantine\"", Some(Reason::TpmCleared)),
        ] {
            let place = Place::new();
            let server = Server::new(&place, text).await;
            let mut prover = prover();
            server.admit(&mut prover).await.unwrap();
            prover.tpm.clear().unwrap();
            prover.tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
            let admitted = server.admit(&mut prover).await;
            assert_eq!(admitted.as_ref().err().copied(), refused);
            if let Ok(grant) = admitted {
                assert_eq!(grant.changes(), [Reason::TpmCleared]);
                assert_eq!(server.admit(&mut prover).await.unwrap().changes(), []);
            }
        }
    });
}

#[test]
fn the_selector_is_for_certified_keys_that_a_composer_of_this_server_enforces() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let Keeping {
            database, instance, ..
        } = server.keeping();
        let is_certified = async |prover: &mut Prover| {
            let grant = server.admit(prover).await.unwrap();
            grant.selectors().contains(&CERTIFIED.to_owned())
        };
        let mut prover = prover();
        assert!(!is_certified(&mut prover).await, "no composer");
        database
            .register_composer("another server", now_ms())
            .await
            .unwrap();
        assert!(!is_certified(&mut prover).await, "another server's");
        database
            .register_composer(instance.as_str(), now_ms())
            .await
            .unwrap();
        assert!(is_certified(&mut prover).await);
        let keys = mem::take(&mut prover.tpm.svid_keys);
        assert!(!is_certified(&mut prover).await, "no key");
        prover.tpm.svid_keys = keys;
        assert!(is_certified(&mut prover).await, "again");
        database.withdraw_composer(instance.as_str()).await.unwrap();
        assert!(!is_certified(&mut prover).await, "no longer");
    });
}

#[test]
fn nothing_is_written_where_the_composer_cannot_be_looked_for() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let machine = prover.tpm.ek_hash();
        place.sql("ALTER TABLE composers RENAME TO gone");
        assert_eq!(
            server.admit(&mut prover).await,
            Err(Reason::DatabaseUnavailable)
        );
        assert_eq!(server.stored(&machine).await, None);
        // Without a key nobody looks, and there is nothing to warn of.
        prover.tpm.svid_keys.clear();
        assert!(server.admit(&mut prover).await.is_ok());
        assert!(server.stored(&machine).await.is_some());
    });
}

#[test]
fn a_warning_is_for_keys_that_nobody_enforces() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let keys = mem::take(&mut prover.tpm.svid_keys);
        server.admit(&mut prover).await.unwrap();
        assert!(!server.watch.has_warned(), "no key");
        prover.tpm.svid_keys = keys;
        server.admit(&mut prover).await.unwrap();
        assert!(server.watch.has_warned());
    });
}

#[test]
fn a_key_that_was_admitted_gets_no_svid_once_its_machine_is_in_quarantine() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let mut copy = Prover::new(prover.tpm.clone(), "example.org");
        prover.tpm.reboot().unwrap();
        let spki_sha256 = server.prove(&mut prover).unwrap().svid_keys()[0].spki_sha256();
        let database = &server.keeping().database;
        for refused in [false, true] {
            let grant = server.admit(&mut prover).await.unwrap();
            if refused {
                assert_eq!(server.admit(&mut copy).await, Err(Reason::CloneSuspected));
            }
            let agent_id = grant.agent_id();
            let consumed = database.consume_key(agent_id, &spki_sha256, now_ms()).await;
            assert_eq!(consumed, Ok(!refused));
        }
    });
}

#[test]
fn an_attestor_removes_what_has_expired_without_a_composer() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let keys = |agent_id, expires_ms| KeyRecords {
            agent_id,
            spki_sha256: &[[1; 32], [2; 32]],
            expires_ms,
        };
        let database = server.keeping().database.clone();
        database.keep_keys(&keys("gone", now_ms())).await.unwrap();
        let live = keys("here", now_ms() + 60_000);
        database.keep_keys(&live).await.unwrap();
        let settings = Arc::new(server.settings);
        let attestor = Attestor::new(Metrics::nowhere());
        attestor.apply(&settings).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while place.sql("SELECT count(*) FROM svid_keys") != "2" {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let live = database.consume_key("here", &[1; 32], now_ms()).await;
        assert_eq!(live, Ok(true));
    });
}

/// Writes what is known of the machine once more, as another server on another thread would.
fn overtake(place: &Place, machine: EkHash, reason: Option<Reason>) {
    let address = DatabaseAddress::parse(&place.store().display().to_string(), |_| None);
    let address = address.unwrap();
    let work = async move {
        let database = Database::open(&address).await.unwrap();
        let StoredMachine {
            state, revision, ..
        } = database.machine(&machine).await.unwrap().unwrap();
        let quarantine = reason.map(|reason| Quarantine {
            reason,
            since_ms: 0,
            observed: state.clone(),
        });
        database
            .replace(&machine, Some(revision), &state, quarantine.as_ref())
            .await
    };
    assert_eq!(thread::spawn(|| run(work)).join().unwrap(), Ok(true));
}

/// What becomes of an attestation that another server overtakes so often, with this quarantine; and how often it is judged.
async fn overtaken(
    (server, place): (&Server, &Place),
    prover: &mut Prover,
    times: usize,
    reason: Option<Reason>,
) -> (Result<Grant, Reason>, usize) {
    let machine = prover.tpm.ek_hash();
    let attested = server.prove(prover).unwrap();
    let candidate = server.candidate(&attested);
    let judged = AtomicUsize::new(0);
    let judge = |history: &History, now_ms: i64| {
        if judged.fetch_add(1, Ordering::Relaxed) < times {
            overtake(place, machine, reason);
        }
        candidate.judge(history, now_ms)
    };
    let settled = candidate
        .settle(server.keeping(), judge, &mut decision())
        .await;
    (
        settled.map_err(|rejection| rejection.reason),
        judged.into_inner(),
    )
}

#[test]
fn who_is_overtaken_judges_again_and_gives_up_in_the_end() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        server.admit(&mut prover).await.unwrap();
        for (times, expect) in [
            (0, None),
            (1, None),
            (ATTEMPTS - 1, None),
            (ATTEMPTS, Some(Reason::StateConflict)),
        ] {
            let (settled, judged) = overtaken((&server, &place), &mut prover, times, None).await;
            assert_eq!(settled.err(), expect, "{times}");
            assert_eq!(judged, ATTEMPTS.min(times + 1), "{times}");
        }
    });
}

#[test]
fn a_quarantine_that_comes_in_between_holds() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        server.admit(&mut prover).await.unwrap();
        let reason = Some(Reason::CloneSuspected);
        let (settled, _) = overtaken((&server, &place), &mut prover, 1, reason).await;
        assert_eq!(settled, Err(Reason::Quarantined), "tpm/H06");
    });
}

#[test]
fn a_copy_that_is_overtaken_brings_its_machine_into_quarantine_all_the_same() {
    run(async {
        let place = Place::new();
        let server = Server::new(&place, "").await;
        let mut prover = prover();
        let mut copy = Prover::new(prover.tpm.clone(), "example.org");
        prover.tpm.reboot().unwrap();
        server.admit(&mut prover).await.unwrap();
        let (settled, judged) = overtaken((&server, &place), &mut copy, 1, None).await;
        assert_eq!((settled, judged), (Err(Reason::CloneSuspected), 2));
        let stored = server.stored(&prover.tpm.ek_hash()).await.unwrap();
        assert_eq!(stored.quarantine.unwrap().reason, Reason::CloneSuspected);
    });
}

#[test]
fn attestations_at_once_lose_no_update() {
    run(async {
        let place = Place::new();
        let servers = [Server::new(&place, "").await, Server::new(&place, "").await];
        let mut prover = prover();
        let machine = prover.tpm.ek_hash();
        servers[0].admit(&mut prover).await.unwrap();
        let before = servers[0].stored(&machine).await.unwrap().revision;
        let proofs = [servers[0].prove(&mut prover), servers[1].prove(&mut prover)];
        let [one, other] = proofs.map(Result::unwrap);
        let (mut first, mut second) = (decision(), decision());
        let admit = async |server: &Server, attested: &Attested, decision: &mut Decision| {
            let mut candidate = server.candidate(attested);
            candidate.begun_ms = now_ms() - 1000;
            candidate.admit(&server.watch, decision).await
        };
        let (one, other) = tokio::join!(
            admit(&servers[0], &one, &mut first),
            admit(&servers[1], &other, &mut second)
        );
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        let after = servers[1].stored(&machine).await.unwrap().revision;
        assert_eq!(after, before + 2, "tpm/H06");
    });
}
