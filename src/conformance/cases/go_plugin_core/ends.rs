//! What must not end the process, and how it ends.

use std::{
    fs,
    time::{Duration, Instant},
};

use plugin::proto::go_plugin::{Empty, grpc_controller_client::GrpcControllerClient};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::{
    case::{Stop, environment, failed, hold},
    handshake::Handshake,
    host::Host,
    role::Role,
    trial::{PATIENCE, Trial},
};

/// From Shutdown to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn survives(trial: &mut Trial, signal: Signal) -> Result<(), Stop> {
    let mut loaded = trial.configured().await?;
    let sent = loaded.process().signal(signal);
    sent.map_err(|error| environment("a signal", error))?;
    sleep(Duration::from_millis(150)).await;
    let runs = loaded.process().runs();
    hold(
        runs,
        || format!("it ended by {signal:?}"),
        "it goes on until Shutdown",
    )?;
    let health = loaded.health().await;
    let answers = !matches!(&health, Err(status) if status.code() == plugin::Code::Unavailable);
    hold(answers, || format!("{health:?}"), "it answers as before")
}

pub(super) async fn in_time(trial: &mut Trial) -> Result<(), Stop> {
    let unloaded = trial.configured().await?.unload().await;
    hold(
        unloaded.exit.is_some(),
        || "it runs 2 s after Shutdown".to_owned(),
        "it ends within 2 s of Shutdown",
    )
}

pub(super) async fn well(trial: &mut Trial) -> Result<(), Stop> {
    let unloaded = trial.configured().await?.unload().await;
    let status = unloaded.exit;
    let ended = status.is_some_and(|status| status.success());
    hold(
        ended,
        || format!("{status:?} after Shutdown"),
        "exit status 0 after Shutdown",
    )
}

/// Streams that nobody ends must not hold it.
pub(super) async fn with_calls_under_way(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    let mut server = None;
    let mut agent = None;
    match trial.role() {
        Role::Server => server = Some(trial.open(&loaded).await?),
        Role::Agent => agent = Some(trial.open_aid(&loaded).await?),
        Role::KeyManager | Role::CredentialComposer => {}
    }
    sleep(Duration::from_millis(50)).await;
    let unloaded = loaded.unload().await;
    drop((server, agent));
    hold(
        unloaded.exit.is_some(),
        || "it runs 2 s after Shutdown while a stream is open".to_owned(),
        "it ends within 2 s of Shutdown",
    )
}

/// The host is gone without a word: killed, or out of memory.
pub(super) async fn without_its_host(trial: &mut Trial) -> Result<(), Stop> {
    let mut process = trial.configured().await?.hang_up();
    let ended = process.exit_within(Duration::from_secs(5)).await;
    hold(
        ended.is_some(),
        || "it runs 5 s after its host is gone".to_owned(),
        "it ends when its host is gone",
    )
}

pub(super) async fn without_its_socket(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    let handshake = loaded.handshake().clone();
    loaded.unload().await;
    match handshake {
        Handshake::Unix(path) => hold(
            !path.exists(),
            || format!("{} is still there", path.display()),
            "the socket is gone after Shutdown",
        ),
        Handshake::Tcp(_) => Ok(()),
    }
}

pub(super) async fn without_children(trial: &mut Trial) -> Result<(), Stop> {
    let mark = format!("CONFORMANCE_TRIAL={}", trial.scratch().display());
    let subject = trial
        .subject()?
        .variable("CONFORMANCE_TRIAL", trial.scratch());
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load_with(&Host::new(), &subject).await?;
    if loaded
        .services()
        .iter()
        .any(|name| name == crate::trial::CONFIG)
    {
        trial.configure(&loaded, &text).await?;
    }
    loaded.unload().await;
    let left = marked(&mark);
    hold(
        left.is_empty(),
        || format!("processes {left:?}"),
        "no process is left",
    )
}

/// The processes with that variable in their environment.
fn marked(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has = |name: &String| {
        let environment = fs::read(format!("/proc/{name}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    let numbers = processes.map(|process| process.file_name().to_string_lossy().into_owned());
    numbers
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(has)
        .collect()
}

/// Shutdown may come without Deinit: a host that failed itself does so.
pub(super) async fn without_deinit(trial: &mut Trial) -> Result<(), Stop> {
    let mut loaded = trial.configured().await?;
    let asked = Instant::now();
    let mut controller = GrpcControllerClient::new(loaded.channel());
    // The answer may be lost with the connection.
    let answered = timeout(GRACE, controller.shutdown(Empty {})).await;
    answered
        .map_err(|_elapsed| failed("no answer to Shutdown", "an answer, or its end"))
        .ok();
    let left = GRACE.saturating_sub(asked.elapsed()).min(PATIENCE);
    let ended = loaded.process().exit_within(left).await;
    hold(
        ended.is_some(),
        || "it runs 2 s after Shutdown".to_owned(),
        "it ends within 2 s of Shutdown",
    )
}
