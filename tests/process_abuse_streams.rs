//! Abuse through gRPC: what agents can do to the streams that a host opens for them, all on its one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conformance::{AttestExchange, Loaded, Reply, Side};
use plugin::{Code, Status};
use softtpm::{Lies, Prover};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use verify::Reason;

use crate::process_abuse::{Scene, is_full};
use crate::process_abuse_wire::{ATTEST, DATA, Wire, attest_request, frame};
use crate::process_certificates::{Authority, ORDINARY};
use crate::process_grants::{certified, machine};
use crate::process_plugin::{
    LIMIT, Records, attest, challenge, configure, configured, decisions, field, verdict,
};
use crate::process_refusal_cases::lying;

const CLIENT_IP: &str = "x-forwarded-client-ip";

/// The longest that an honest machine may wait for its identity while others do what they can, on two busy cores and
/// without optimisation.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// An attestation that has its challenge and says no more.
async fn idle(server: &Loaded, payload: &[u8], address: &str) -> Result<AttestExchange, Status> {
    let mut exchange = server.attest(&[(CLIENT_IP, address)]).await?;
    exchange.payload(payload).await;
    challenge(&mut exchange).await?;
    Ok(exchange)
}

fn assert_refused<T>(outcome: Result<T, Status>, reason: Reason, code: Code) {
    let status = outcome.err().unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (code, reason.to_string().as_str())
    );
}

#[tokio::test]
async fn idle_streams_are_limited_and_end_at_their_deadline() {
    let count = if is_full() { 4000 } else { 1000 };
    // Long enough to begin them all.
    let seconds = count / 66;
    let limits = format!("max_streams = {count}\nmax_streams_per_client = 16");
    let text =
        format!("{limits}\nchallenge_timeout = \"{seconds}s\"\nattestation_timeout = \"5m\"");
    let mut scene = Scene::new(&text).await;
    let payload = machine().payload().unwrap();
    let address = |number: usize| format!("198.{}.{}.1", 18 + number / 4096, number / 16 % 256);
    let overloaded = |outcome| assert_refused(outcome, Reason::Overloaded, Code::ResourceExhausted);
    let mut waiting = Vec::new();
    for number in 0..count {
        if number == 16 {
            // tpm/J01: one client cannot take the places of all.
            overloaded(idle(&scene.server, &payload, &address(0)).await.map(drop));
        }
        waiting.push(
            idle(&scene.server, &payload, &address(number))
                .await
                .unwrap(),
        );
    }
    // tpm/J01: new ones are refused, honest or not; the host itself is served.
    overloaded(idle(&scene.server, &payload, "192.0.2.1").await.map(drop));
    overloaded(scene.attest().await.map(drop));
    assert_eq!(scene.server.health().await.unwrap(), 1);
    configure(&scene.server, &scene.records.enrolment(&limits)).await;
    // tpm/J01, tpm/A10: each ends at its deadline, and its place is free.
    for exchange in &mut waiting {
        let outcome = exchange.reply().await;
        assert_refused(outcome, Reason::Timeout, Code::DeadlineExceeded);
    }
    scene.unharmed("idle streams").await;
}

/// A challenge may be answered later than the runtime's own patience with a silent host.
#[tokio::test]
async fn a_long_challenge_timeout_is_kept() {
    if !is_full() {
        return;
    }
    let records = Records::new();
    let text = records.enrolment("challenge_timeout = \"2m\"\nattestation_timeout = \"3m\"");
    let server = configured(Side::Server, &text).await;
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let payload = prover.payload().unwrap();
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(&payload).await;
    let asked = challenge(&mut exchange).await.unwrap();
    sleep(Duration::from_secs(70)).await;
    exchange
        .respond(&prover.answer(&payload, &asked).unwrap())
        .await;
    verdict(&mut exchange).await.unwrap();
}

/// A message at twenty bytes a second; how long it was listened to.
async fn drip(wire: &mut Wire, stream: u32, message: &[u8]) -> Duration {
    let begin = Instant::now();
    for byte in message.chunks(1) {
        assert!(wire.send(&frame(DATA, 0, stream, byte)).await);
        let said = wire.frame_within(Duration::from_millis(50)).await;
        if said.is_some_and(|frame| frame.stream == stream && frame.ends()) {
            return begin.elapsed();
        }
    }
    panic!("a slow drip is listened to for ever")
}

/// tpm/A11: a byte now and then keeps no stream alive, whichever of the deadlines is the earlier.
#[tokio::test]
async fn a_slow_drip_ends_at_the_absolute_deadline() {
    let payload = machine().payload().unwrap();
    for (name, is_response, challenge_timeout, attestation_timeout) in [
        ("tpm/A11 payload", false, "5m", "1s"),
        ("tpm/A11 response", true, "5m", "1s"),
        ("tpm/A11 response, challenge", true, "1s", "5m"),
    ] {
        let text = format!(
            "challenge_timeout = \"{challenge_timeout}\"\nattestation_timeout = \"{attestation_timeout}\""
        );
        let mut scene = Scene::new("").await;
        configure(&scene.server, &scene.records.enrolment(&text)).await;
        let mut wire = Wire::open(&scene.server).await;
        let (stream, begin) = wire.request(ATTEST);
        wire.send(&begin).await;
        let dripped = if is_response {
            wire.send(&frame(DATA, 0, stream, &attest_request(1, &payload)))
                .await;
            wire.data(stream).await;
            drip(&mut wire, stream, &attest_request(2, &[b' '; 2000])).await
        } else {
            drip(&mut wire, stream, &attest_request(1, &payload)).await
        };
        let (least, most) = (Duration::from_millis(800), Duration::from_secs(10));
        assert!((least..most).contains(&dripped), "{name}: {dripped:?}");
        drop(wire);
        configure(&scene.server, &scene.records.enrolment("")).await;
        scene.unharmed(name).await;
        let log = scene.unload().await;
        let reasons: Vec<_> = decisions(&log)
            .iter()
            .map(|line| field(line, "reason"))
            .collect();
        assert_eq!(reasons, ["", "timeout", ""], "{name}");
    }
}

/// tpm/A13: cancelled before, while and after it is judged; each is told once, and no place stays taken.
#[tokio::test]
async fn attestations_cancelled_at_any_moment_leave_nothing() {
    let mut scene = Scene::new("max_streams = 4").await;
    let count = if is_full() { 3000 } else { 150 };
    let mut prover = machine();
    scene.records.enrol(prover.tpm.ek_hash());
    let payload = prover.payload().unwrap();
    for number in 0..count {
        let mut exchange = scene.server.attest(&[]).await.unwrap();
        exchange.payload(&payload).await;
        if number % 3 > 0
            && let Ok(asked) = challenge(&mut exchange).await
            && number % 3 > 1
        {
            exchange
                .respond(&prover.answer(&payload, &asked).unwrap())
                .await;
        }
        sleep(Duration::from_micros(number % 7 * 300)).await;
    }
    let begin = Instant::now();
    while scene.attest().await.is_err() {
        assert!(begin.elapsed() < LIMIT, "a place stays taken");
    }
    scene.unharmed("cancelled attestations").await;
    let log = scene.unload().await;
    let told: Vec<_> = decisions(&log)
        .into_iter()
        .map(|line| (field(line, "outcome"), field(line, "reason")))
        .collect();
    let expected = [
        ("granted", ""),
        ("abandoned", "client_closed"),
        ("refused", "client_closed"),
        ("refused", "overloaded"),
    ];
    assert!(
        told.iter().all(|told| expected.contains(told)),
        "tpm/A13 {told:?}"
    );
    assert!(told.contains(&expected[1]), "tpm/A13: none was abandoned");
}

/// What a hostile agent does over and over.
#[derive(Clone, Copy, Debug)]
enum Hostile {
    Garbage,
    TooLarge,
    Silent,
    Cancels,
    Guesses,
    LargeAnswer,
    HalfCloses,
    OutOfTurn,
}

const HOSTILE: [Hostile; 8] = [
    Hostile::Garbage,
    Hostile::TooLarge,
    Hostile::Silent,
    Hostile::Cancels,
    Hostile::Guesses,
    Hostile::LargeAnswer,
    Hostile::HalfCloses,
    Hostile::OutOfTurn,
];

impl Hostile {
    /// Once. What comes of it is the other tests' matter; none may get an identity.
    async fn act(self, server: &Loaded, prover: &mut Prover) {
        let Ok(mut exchange) = server.attest(&[]).await else {
            return;
        };
        let payload = prover.payload().unwrap();
        match self {
            Self::Garbage => exchange.payload(&vec![b'['; 60_000]).await,
            Self::TooLarge => exchange.payload(&vec![b' '; 4 << 20]).await,
            Self::OutOfTurn => exchange.respond(&payload).await,
            _ => exchange.payload(&payload).await,
        }
        match self {
            Self::Cancels => return,
            Self::HalfCloses => exchange.close(),
            Self::Silent => {
                // Ends at the deadline of the challenge, or is dropped before.
                timeout(Duration::from_millis(200), refusal(&mut exchange))
                    .await
                    .ok();
                return;
            }
            Self::Guesses | Self::LargeAnswer => {
                let Ok(asked) = challenge(&mut exchange).await else {
                    return;
                };
                let answer = match self {
                    Self::Guesses => prover.answer(&payload, &asked).unwrap(),
                    _ => vec![b' '; evidence::limits::RESPONSE],
                };
                exchange.respond(&answer).await;
            }
            Self::Garbage | Self::TooLarge | Self::OutOfTurn => {}
        }
        refusal(&mut exchange).await;
    }
}

/// Reads to the refusal.
async fn refusal(exchange: &mut AttestExchange) -> Status {
    loop {
        match exchange.reply().await {
            Ok(Reply::Challenge(_)) => {}
            Ok(other) => panic!("{other:?} for a hostile agent"),
            Err(status) => return status,
        }
    }
}

/// Hostile agents at work until told to stop.
struct Horde {
    stop: Arc<AtomicBool>,
    agents: Vec<JoinHandle<usize>>,
}

impl Horde {
    fn new(server: &Arc<Loaded>, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let agents = HOSTILE.iter().cycle().take(count).map(|&hostile| {
            let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut prover = lying(machine(), Lies::none().guess(&[1; 32]));
                let mut acts = 0;
                while !stop.load(Ordering::Relaxed) {
                    hostile.act(&server, &mut prover).await;
                    acts += 1;
                    tokio::task::yield_now().await;
                }
                acts
            })
        });
        Self {
            agents: agents.collect(),
            stop,
        }
    }

    /// How often they acted.
    async fn end(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut acts = Vec::new();
        for agent in self.agents {
            acts.push(agent.await.unwrap());
        }
        acts
    }
}

/// The waits of honest machines, each enrolled and new, in order of length.
async fn honest_waits(server: &Loaded, records: &Records, count: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let mut prover = machine();
        records.enrol(prover.tpm.ek_hash());
        let begin = Instant::now();
        attest(server, &mut prover).await.unwrap();
        waits.push(begin.elapsed());
    }
    waits.sort_unstable();
    waits
}

#[tokio::test]
async fn hostile_streams_harm_no_honest_ones() {
    let count = if is_full() { 2000 } else { 60 };
    let scene = Scene::new("").await;
    let Scene {
        records, server, ..
    } = &scene;
    let horde = Horde::new(server, 64);
    let configured = AtomicBool::new(false);
    let configuring = async {
        while !configured.load(Ordering::Relaxed) {
            configure(server, &records.enrolment("")).await;
            let bad = server
                .validate(Some("example.org"), "hash_path = \"/nowhere\"")
                .await;
            assert!(!bad.unwrap().valid);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let attesting = async {
        let waits = honest_waits(server, records, count).await;
        configured.store(true, Ordering::Relaxed);
        waits
    };
    let (waits, ()) = tokio::join!(attesting, configuring);
    let acts = horde.end().await;
    assert!(acts.iter().all(|acts| *acts > 0), "{acts:?}");
    assert!(*waits.last().unwrap() < MOST_WAIT, "{waits:?}");
    let mut scene = scene;
    scene.unharmed("hostile streams").await;
}

/// tpm/J02: the dearest chains that a payload can ask for, and as many of them as there is room for.
#[tokio::test]
async fn costly_chains_make_honest_machines_wait_little() {
    let authorities: Vec<_> = (0..40).map(|_| Authority::new("Maker")).collect();
    let records = Records::new();
    for authority in &authorities[..32] {
        records.trust(&authority.certificate);
    }
    let honest_authority = Authority::new("Other Maker");
    records.trust(&honest_authority.certificate);
    let server = Arc::new(configured(Side::Server, &records.anchors("")).await);
    let stop = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = (0..32)
        .map(|_| {
            let mut prover = machine();
            // Issued by nobody who is trusted, in the name of thirty-two who are.
            let spki = prover.tpm.ek_key().spki();
            prover.certificate = Some(authorities[32].certify(&spki, &ORDINARY));
            prover.intermediates = authorities[34..38]
                .iter()
                .map(|authority| authority.certificate.clone())
                .collect();
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut refused = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut exchange = server.attest(&[]).await.unwrap();
                    exchange.payload(&prover.payload().unwrap()).await;
                    let status = refusal(&mut exchange).await;
                    assert!(
                        status.code() == Code::PermissionDenied
                            || status.code() == Code::ResourceExhausted,
                        "{status}"
                    );
                    refused += 1;
                }
                refused
            })
        })
        .collect();
    let mut waits = Vec::new();
    for _ in 0..if is_full() { 500 } else { 20 } {
        let mut prover = certified(machine(), &honest_authority);
        let begin = Instant::now();
        attest(&server, &mut prover).await.unwrap();
        waits.push(begin.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    for agent in hostile {
        assert!(
            agent.await.unwrap() > 0,
            "tpm/J02: every hostile agent was heard"
        );
    }
    assert!(
        waits.iter().all(|wait| *wait < MOST_WAIT),
        "tpm/J02 {waits:?}"
    );
}

/// Deinit and Shutdown while sixty-four streams are in all their phases.
#[tokio::test]
async fn it_leaves_in_time_with_every_stream_open() {
    let scene = Scene::new("").await;
    let payload = machine().payload().unwrap();
    let mut open = Vec::new();
    for number in 0..64 {
        let mut exchange = scene.server.attest(&[]).await.unwrap();
        if number % 4 > 0 {
            exchange.payload(&payload).await;
        }
        if number % 4 > 1 {
            challenge(&mut exchange).await.unwrap();
        }
        if number % 4 > 2 {
            exchange
                .respond(&vec![b' '; evidence::limits::RESPONSE])
                .await;
        }
        open.push(exchange);
    }
    scene.unload().await;
    for exchange in &mut open {
        // All have ended, none well.
        loop {
            match exchange.reply().await {
                Err(_) | Ok(Reply::End) => break,
                Ok(Reply::Challenge(_)) => {}
                Ok(other) => panic!("{other:?}"),
            }
        }
    }
}
