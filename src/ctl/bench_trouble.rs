//! What goes on beside the honest load: streams that wait for ever, and streams that attack.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conformance::{Loaded, Reply};
use evidence::{Hash, PcrSelection, Proof, Response, Secret, limits};
use serde::Serialize;
use softtpm::{Key, KeyKind, Prover, TpmError};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::bench::Wire;
use crate::bench_fleet::{Fleet, Machine, address};
use crate::bench_load::{CLIENT_IP, Demand, Pace, refused};
use crate::bench_pki::Authority;
use crate::exit::Exit;
use crate::failure::Failure;

/// All that is done to a server at once.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// First messages that are answered, one for each stream that waits.
    pub(crate) idle: Vec<Vec<u8>>,
    pub(crate) hostile: Demand,
    pub(crate) attacks: Vec<Attack>,
}

/// One way to waste a server's time.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    name: &'static str,
    payload: Vec<u8>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    Wait,
    Respond(Vec<u8>),
    Cancel,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Done {
    /// Streams that waited when the load began.
    pub(crate) idle: usize,
    /// Attacks, what each was answered with, and how often.
    pub(crate) attacks: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// Attacks that were granted an identity.
    pub(crate) granted: usize,
}

/// Trouble under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Troubled {
    tasks: JoinSet<()>,
    waiting: Arc<AtomicUsize>,
    done: Arc<Mutex<Done>>,
}

impl Trouble {
    /// Whether there is any.
    pub(crate) fn is_any(&self) -> bool {
        !self.idle.is_empty() || self.hostile.streams > 0
    }

    /// Begins; returns once all waiting streams wait, or after [`SETTLING`].
    pub(crate) async fn begin(&self, server: &Arc<Loaded>) -> Troubled {
        let mut troubled = Troubled {
            tasks: JoinSet::new(),
            waiting: Arc::default(),
            done: Arc::default(),
        };
        for (index, payload) in self.idle.iter().cloned().enumerate() {
            let (server, waiting) = (Arc::clone(server), Arc::clone(&troubled.waiting));
            troubled
                .tasks
                .spawn(async move { wait_for_ever(&server, index, &payload, &waiting).await });
        }
        let all_wait = async {
            while troubled.waiting.load(Ordering::Relaxed) < self.idle.len() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SETTLING, all_wait).await.ok();
        let begun = troubled.waiting.load(Ordering::Relaxed);
        troubled.change(|done| done.idle = begun);
        let attacks = Arc::new(self.attacks.clone());
        for index in 0..self.hostile.streams {
            let (server, attacks) = (Arc::clone(server), Arc::clone(&attacks));
            let done = Arc::clone(&troubled.done);
            let pace = self.hostile.pace(index);
            troubled.tasks.spawn(async move {
                attack_for_ever(&server, index, pace, &attacks, &done).await;
            });
        }
        troubled
    }
}

impl Troubled {
    /// Stops everything and says what was done.
    pub(crate) async fn end(mut self) -> Done {
        self.tasks.shutdown().await;
        let mut done = Done::default();
        self.change(|all| done = std::mem::take(all));
        done
    }

    fn change(&self, change: impl FnOnce(&mut Done)) {
        change(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Every attack there is. `stranger` is a machine that nobody knows.
pub(crate) fn attacks(
    mut stranger: Prover,
    fleet: &Fleet,
    wire: Wire,
) -> Result<Vec<Attack>, Failure> {
    let honest = fleet
        .payloads(1)
        .pop()
        .ok_or_else(|| failed(&"no machine"))?;
    let answer = forged(&mut stranger, wire).map_err(|error| failed(&error))?;
    let maze = maze(stranger)?;
    let attack = |name, payload, then| Attack {
        name,
        payload,
        then,
    };
    let nested = [br#"{"EK":"#.to_vec(), vec![b'['; limits::PAYLOAD - 64]].concat();
    Ok(vec![
        attack("noise", vec![0xA5; 4096], Then::Wait),
        attack("nested JSON", nested, Then::Wait),
        attack(
            "oversize payload",
            vec![b' '; limits::PAYLOAD + 1],
            Then::Wait,
        ),
        attack("maze of certificates", maze, Then::Wait),
        attack("forged proof", honest.clone(), Then::Respond(answer)),
        attack(
            "oversize response",
            honest.clone(),
            Then::Respond(vec![b' '; limits::RESPONSE + 1]),
        ),
        attack("cancelled", honest, Then::Cancel),
    ])
}

/// Waiting streams may take this long to be there.
const SETTLING: Duration = Duration::from_mins(1);
/// Addresses of streams that wait and that attack, apart from those of honest machines.
const IDLE: usize = 1 << 22;
const HOSTILE: usize = 1 << 23;

async fn wait_for_ever(server: &Loaded, index: usize, payload: &[u8], waiting: &AtomicUsize) {
    let address = address(IDLE + index);
    loop {
        if let Ok(mut exchange) = server.attest(&[(CLIENT_IP, &address)]).await {
            exchange.payload(payload).await;
            if matches!(exchange.reply().await, Ok(Reply::Challenge(_))) {
                waiting.fetch_add(1, Ordering::Relaxed);
                // Until the server is tired of it.
                exchange.reply().await.ok();
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn attack_for_ever(
    server: &Loaded,
    index: usize,
    mut pace: Pace,
    attacks: &[Attack],
    done: &Mutex<Done>,
) {
    let address = address(HOSTILE + index);
    // Streams begin with different attacks.
    for attack in attacks.iter().cycle().skip(index) {
        pace.next().await;
        let answer = attack.carry_out(server, &address).await;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.granted += usize::from(answer == GRANTED);
        let answers = done.attacks.entry(attack.name).or_default();
        // The server chooses the words, and a bad one must not fill the memory.
        if answers.len() < ANSWERS || answers.contains_key(&answer) {
            *answers.entry(answer).or_default() += 1;
        }
    }
}

impl Attack {
    /// What the server answers in the end.
    async fn carry_out(&self, server: &Loaded, address: &str) -> String {
        let mut exchange = match server.attest(&[(CLIENT_IP, address)]).await {
            Ok(exchange) => exchange,
            Err(status) => return refused(status),
        };
        exchange.payload(&self.payload).await;
        let mut reply = exchange.reply().await;
        if let (Ok(Reply::Challenge(_)), Then::Respond(response)) = (&reply, &self.then) {
            exchange.respond(response).await;
            reply = exchange.reply().await;
        }
        match reply {
            Ok(Reply::Attributes(_)) => GRANTED.to_owned(),
            Ok(Reply::Challenge(_)) => "challenged".to_owned(),
            Ok(_) => "nothing".to_owned(),
            Err(status) => refused(status),
        }
    }
}

/// An identity, for an attack.
const GRANTED: &str = "granted";
/// Different answers to one attack that are told apart.
const ANSWERS: usize = 16;

/// A first message whose certificate has as many ways up as fit, none of which leads anywhere: every intermediate has
/// issued every other one, and all signatures hold.
fn maze(mut stranger: Prover) -> Result<Vec<u8>, Failure> {
    let key = Key::generate(KeyKind::Rsa2048).map_err(|error| failed(&error))?;
    let authority = Authority::new("Maker of mazes", &key).map_err(|error| failed(&error))?;
    let count = u64::try_from(limits::INTERMEDIATES).unwrap_or_default();
    let twins = (1..=count).map(|serial| authority.twin(serial));
    stranger.intermediates = twins
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    let certificate = authority.certify(stranger.tpm.ek_key());
    stranger.certificate = Some(certificate.map_err(|error| failed(&error))?);
    Ok(Machine::new(stranger, 0)?.payload)
}

/// An answer that is well-formed, and wrong.
fn forged(stranger: &mut Prover, wire: Wire) -> Result<Vec<u8>, TpmError> {
    let response = match wire {
        Wire::First => Response::Secret(Secret::new(vec![0; 32])),
        Wire::Current => {
            let wanted = PcrSelection::new(Hash::Sha256, &[0, 1, 2, 3, 4, 5, 6, 7]);
            Response::Proof(Proof {
                evidence: stranger.tpm.quote(&[0; 32], &[wanted])?.encode(),
                log: None,
                proof: [0; 32],
            })
        }
    };
    Ok(response.encode().to_vec())
}

fn failed(error: &impl ToString) -> Failure {
    Failure::new(Exit::Internal, "bench_failed", error.to_string())
}
